//! Verbs of the FileManager: on files of datastores that are no disks.

use super::task::{self, Repeat};
use super::{Moref, Session, fault};
use crate::error::{Context, Error, Kind, Result};
use crate::transport::soap::Element;

/// Deletes a file. One that is gone is deleted.
///
/// # Errors
/// What the server answers.
pub async fn delete(session: Session, datacenter: Moref, path: String) -> Result<()> {
    let attempt = async {
        let Some(files) = session.content().file_manager.clone() else {
            return Err(Error::new(
                Kind::Unsupported,
                "the server has no FileManager",
            ));
        };
        let arguments = vec![
            Element::new("name").text(&path),
            Element::moref("datacenter", &datacenter),
        ];
        let again = Repeat::Always;
        task::perform(
            &session,
            &files,
            "DeleteDatastoreFile_Task",
            arguments,
            again,
        )
        .await
    };
    match attempt.await {
        Err(error) if fault::is_file_gone(&error) => Ok(()),
        outcome => outcome
            .map(drop)
            .with_context(|| format!("delete file {path}")),
    }
}

//! Folders of the inventory.

use super::{Moref, Session, names, property};
use crate::error::{Context, Error, Kind, Result};
use crate::transport::soap::Element;

/// Goes down `path` from the VM folder as far as it exists; what is missing below.
pub(super) async fn find(
    session: &Session,
    vm_folder: Moref,
    path: &str,
) -> Result<(Moref, Vec<String>)> {
    let mut at = vm_folder;
    let mut names = names::path(path);
    while let Some(name) = names.next() {
        match child_folder(session, &at, &name).await? {
            Some(folder) => at = folder,
            None => {
                let missing = std::iter::once(name).chain(names);
                return Ok((at, missing.collect()));
            }
        }
    }
    Ok((at, Vec::new()))
}

/// Makes the folders `names`, one below the other; the last one.
pub(super) async fn make(session: &Session, parent: Moref, names: &[String]) -> Result<Moref> {
    let mut at = parent;
    for name in names {
        at = make_folder(session, &at, name)
            .await
            .with_context(|| format!("create folder {name:?} in {at}"))?;
    }
    Ok(at)
}

async fn make_folder(session: &Session, parent: &Moref, name: &str) -> Result<Moref> {
    let arguments = vec![Element::inventory_name("name", name)];
    let made = session.call_idempotent(parent, "CreateFolder", arguments);
    match made.await {
        Ok(answer) => super::returned(&answer),
        // Somebody else was faster, or the answer was lost: that folder is as good.
        Err(error) if error.kind() == Kind::Exists => {
            child_folder(session, parent, name).await?.ok_or(error)
        }
        Err(error) => Err(error),
    }
}

async fn child_folder(session: &Session, parent: &Moref, name: &str) -> Result<Option<Moref>> {
    match child(session, parent, name).await? {
        Some(found) if found.kind == "Folder" => Ok(Some(found)),
        Some(found) => Err(Error::new(
            Kind::Exists,
            format!("{name:?} is a {}, not a folder", found.kind),
        )),
        None => Ok(None),
    }
}

/// What is called `name` right below `parent`.
pub(super) async fn child(session: &Session, parent: &Moref, name: &str) -> Result<Option<Moref>> {
    let escaped = names::escape(name);
    let found = find_child(session, parent, &escaped).await?;
    if found.is_some() || escaped == name {
        return Ok(found);
    }
    // The API reference does not say which of the two forms FindChild takes.
    let Some(found) = find_child(session, parent, name).await? else {
        return Ok(None);
    };
    let is_it = property::read(session, &found, &["name"]).await?.name() == name;
    Ok(is_it.then_some(found))
}

async fn find_child(session: &Session, parent: &Moref, text: &str) -> Result<Option<Moref>> {
    let index = session
        .content()
        .search_index
        .clone()
        .ok_or_else(|| Error::new(Kind::Unsupported, "the server has no search index"))?;
    let answer = session
        .call_idempotent(
            &index,
            "FindChild",
            vec![
                Element::moref("entity", parent),
                Element::new("name").text(text),
            ],
        )
        .await
        .with_context(|| format!("look up {text:?} in {parent}"))?;
    Ok(answer.child("returnval").and_then(Moref::from_node))
}

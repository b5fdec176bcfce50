//! Verbs of the VirtualDiskManager: on disk files that no virtual machine has attached.

use super::fault::{self, Passes};
use super::task::{self, Repeat};
use super::{Moref, Session};
use crate::error::{Context, Error, Kind, Result};
use crate::transport::soap::Element;
use crate::volume::{AdapterType, DiskType};

/// The directory part of a datastore path (`[ds1] volume-1/` of `[ds1] volume-1/a.vmdk`).
pub fn folder_of(path: &str) -> &str {
    match (path.rfind('/'), path.find("] ")) {
        (Some(slash), _) => &path[..=slash],
        (None, Some(bracket)) => &path[..bracket + 2],
        (None, None) => "",
    }
}

/// The datastore's name in a datastore path.
pub fn datastore_of(path: &str) -> Option<&str> {
    path.strip_prefix('[')?
        .split_once(']')
        .map(|(name, _)| name)
}

/// Renames a disk within its datastore; its UUID and contents stay.
///
/// # Errors
/// [`Kind::Unsupported`] where the datastore cannot (vVol).
pub async fn rename(session: Session, datacenter: Moref, from: String, to: String) -> Result<()> {
    let what = format!("move disk {from} to {to}");
    let arguments = vec![
        Element::new("sourceName").text(&from),
        Element::moref("sourceDatacenter", &datacenter),
        Element::new("destName").text(&to),
        Element::moref("destDatacenter", &datacenter),
        Element::new("force").text(false),
    ];
    let again = Repeat::WhereUndone;
    verb(session, "MoveVirtualDisk_Task", arguments, what, again).await
}

/// Copies a disk into another allocation type. Always with a full specification: without one
/// the server makes the copy preallocated and busLogic.
///
/// # Errors
/// [`Kind::NoSpace`] and what else the server answers.
pub async fn copy(
    session: Session,
    datacenter: Moref,
    from: String,
    to: String,
    disk_type: DiskType,
    adapter: AdapterType,
) -> Result<()> {
    let what = format!("copy disk {from} to {to} as {disk_type}");
    let specification = Element::typed("destSpec", "VirtualDiskSpec")
        .with_text(
            "diskType",
            match disk_type {
                DiskType::Thin => "thin",
                DiskType::Thick => "preallocated",
                DiskType::EagerZeroedThick => "eagerZeroedThick",
            },
        )
        .with_text(
            "adapterType",
            match adapter {
                AdapterType::Ide => "ide",
                AdapterType::BusLogic => "busLogic",
                // VirtualDiskManager knows no others: every other SCSI kind is an LSI Logic to it.
                AdapterType::LsiLogic | AdapterType::LsiLogicSas | AdapterType::ParaVirtual => {
                    "lsiLogic"
                }
            },
        );
    let arguments = vec![
        Element::new("sourceName").text(&from),
        Element::moref("sourceDatacenter", &datacenter),
        Element::new("destName").text(&to),
        Element::moref("destDatacenter", &datacenter),
        specification,
        Element::new("force").text(false),
    ];
    let mut busy = session.shared.retries.busy();
    loop {
        let arguments = arguments.clone();
        let (session_now, method) = (session.clone(), "CopyVirtualDisk_Task");
        let error = match verb(session_now, method, arguments, what.clone(), Repeat::Never).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if fault::passes(&error, session.stage) == Passes::No {
            return Err(error);
        }
        session.pause(&mut busy, error).await?;
        // What the failed copy left would be in the way.
        match delete(session.clone(), datacenter.clone(), to.clone()).await {
            Err(error) if !fault::is_file_gone(&error) => return Err(error),
            _ => {}
        }
    }
}

/// Grows a disk; the new blocks of an eager-zeroed disk are zeroed, too.
///
/// # Errors
/// [`Kind::NoSpace`] and what else the server answers.
pub async fn extend(
    session: Session,
    datacenter: Moref,
    name: String,
    capacity: u64,
    disk_type: DiskType,
) -> Result<()> {
    if !capacity.is_multiple_of(1024) {
        return Err(Error::new(
            Kind::InvalidArgument,
            format!("a disk is extended to a multiple of 1024 bytes, not to {capacity}"),
        ));
    }
    let what = format!("extend disk {name} to {capacity} bytes");
    let arguments = vec![
        Element::new("name").text(&name),
        Element::moref("datacenter", &datacenter),
        Element::new("newCapacityKb").text(capacity / 1024),
        Element::new("eagerZero").text(disk_type == DiskType::EagerZeroedThick),
    ];
    let again = Repeat::WhereUndone;
    verb(session, "ExtendVirtualDisk_Task", arguments, what, again).await
}

/// Deletes a disk with all its files.
///
/// # Errors
/// What the server answers.
pub async fn delete(session: Session, datacenter: Moref, name: String) -> Result<()> {
    let what = format!("delete disk {name}");
    let arguments = vec![
        Element::new("name").text(&name),
        Element::moref("datacenter", &datacenter),
    ];
    // Where it happened and the answer was lost, there is nothing any more to be deleted again.
    let (method, again) = ("DeleteVirtualDisk_Task", Repeat::Always);
    match verb(session.clone(), method, arguments, what, again).await {
        Err(error) if error.is_retryable() && error.fault().is_none() => {
            // The task came to nobody knows what: the disk itself tells.
            match uuid(session, datacenter, name).await {
                Err(gone) if fault::is_file_gone(&gone) => Ok(()),
                _ => Err(error),
            }
        }
        outcome => outcome,
    }
}

/// The UUID in a disk's descriptor, which is read from the datastore: a proof that the disk is there.
///
/// # Errors
/// [`Kind::NotFound`] when there is no such disk.
pub async fn uuid(session: Session, datacenter: Moref, name: String) -> Result<String> {
    let what = format!("look for disk {name}");
    let Some(disks) = session.content().virtual_disk_manager.clone() else {
        return Err(
            Error::new(Kind::Unsupported, "the server has no VirtualDiskManager").context(what),
        );
    };
    let arguments = vec![
        Element::new("name").text(&name),
        Element::moref("datacenter", &datacenter),
    ];
    let answer = session
        .call_idempotent(&disks, "QueryVirtualDiskUuid", arguments)
        .await
        .context(what)?;
    Ok(answer.text_at("returnval").unwrap_or_default().to_owned())
}

async fn verb(
    session: Session,
    method: &str,
    arguments: Vec<Element>,
    what: String,
    repeat: Repeat,
) -> Result<()> {
    let Some(disks) = session.content().virtual_disk_manager.clone() else {
        return Err(
            Error::new(Kind::Unsupported, "the server has no VirtualDiskManager").context(what),
        );
    };
    let done = task::perform(&session, &disks, method, arguments, repeat).await;
    done.map(drop).context(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datastore_path_has_a_datastore_and_a_folder() {
        assert_eq!(folder_of("[ds1] volume-1/a.vmdk"), "[ds1] volume-1/");
        assert_eq!(folder_of("[ds1] a.vmdk"), "[ds1] ");
        assert_eq!(datastore_of("[ds 1] volume-1/a.vmdk"), Some("ds 1"));
        assert_eq!(datastore_of("a.vmdk"), None);
    }
}

//! Verbs of the VirtualDiskManager: on disk files that no virtual machine has attached.

use super::{Moref, Session, task};
use crate::error::{Context, Error, Kind, Result};
use crate::transport::soap::{Element, Node};
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
    verb(session, "MoveVirtualDisk_Task", arguments, what).await
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
    verb(session, "CopyVirtualDisk_Task", arguments, what).await
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
    verb(session, "ExtendVirtualDisk_Task", arguments, what).await
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
    let again = Session::call_idempotent;
    verb_by(again, session, "DeleteVirtualDisk_Task", arguments, what).await
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

async fn verb(session: Session, method: &str, arguments: Vec<Element>, what: String) -> Result<()> {
    verb_by(Session::call, session, method, arguments, what).await
}

async fn verb_by(
    call: impl AsyncFn(&Session, &Moref, &str, Vec<Element>) -> Result<Node>,
    session: Session,
    method: &str,
    arguments: Vec<Element>,
    what: String,
) -> Result<()> {
    let Some(disks) = session.content().virtual_disk_manager.clone() else {
        return Err(
            Error::new(Kind::Unsupported, "the server has no VirtualDiskManager").context(what),
        );
    };
    let attempt = async {
        let answer = call(&session, &disks, method, arguments).await?;
        task::finish(&session, &super::returned(&answer)?).await
    };
    attempt.await.map(drop).context(what)
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

//! The sizes of disks that a server can make.

use crate::error::{Error, Kind, Result};
use crate::volume::AdapterType;
use crate::vsphere::backing::Backing;
use crate::vsphere::device::Disk;
use crate::vsphere::machine::{FIRST_WITH_LARGER_DISKS, LARGEST_DISK_OF_VMX_08};

/// Servers count in KiB (`capacityInKB`, `newCapacityKb`).
const UNIT: u64 = 1024;

/// The next size from `bytes` on that a server can be asked for.
pub(super) fn makeable(bytes: u64) -> u64 {
    bytes.checked_next_multiple_of(UNIT).unwrap_or(bytes)
}

/// # Errors
/// [`Kind::InvalidArgument`] for a disk that is too large for its controller.
pub(super) fn require_adapter(capacity: u64, adapter: AdapterType) -> Result<()> {
    // VMware's knowledge base, 2058287: no disks above 2 TiB on BusLogic controllers.
    if adapter != AdapterType::BusLogic || capacity <= LARGEST_DISK_OF_VMX_08 {
        return Ok(());
    }
    let most = LARGEST_DISK_OF_VMX_08;
    let message = format!("a {adapter} controller takes disks of {most} bytes, not of {capacity}");
    Err(Error::new(Kind::InvalidArgument, message).remedy("choose another adapter type"))
}

/// # Errors
/// [`Kind::Unsupported`] for a disk that is too large for the backing's virtual hardware.
pub(super) fn require_hardware(capacity: u64, backing: &Backing) -> Result<()> {
    let known = backing.hardware.as_deref();
    let version = known.and_then(|text| text.strip_prefix("vmx-")?.parse::<u32>().ok());
    let is_old = version.is_some_and(|version| version < FIRST_WITH_LARGER_DISKS);
    if !is_old || capacity <= LARGEST_DISK_OF_VMX_08 {
        return Ok(());
    }
    Err(Error::new(
        Kind::Unsupported,
        format!(
            "{} has hardware version {}, with disks of at most {LARGEST_DISK_OF_VMX_08} bytes, \
             and {capacity} are needed",
            backing.name,
            known.unwrap_or_default()
        ),
    )
    .with_object(&backing.moref.value)
    .remedy("upgrade its virtual hardware to vmx-10 or newer"))
}

/// Sizes are rounded up by datastores, never down.
///
/// # Errors
/// [`Kind::Fault`] for a new machine whose only disk is smaller than `capacity`.
pub(super) fn require_made(disks: &[Disk], capacity: u64) -> Result<()> {
    match disks {
        [disk] if !disk.holds(capacity) => Err(Error::new(
            Kind::Fault,
            format!(
                "the server made a disk of {} bytes, asked for were {capacity}",
                disk.capacity
            ),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_make_whole_kibibytes() {
        assert_eq!(makeable(10_290 * 512), 10_290 * 512);
        assert_eq!(makeable(10_291 * 512), 10_292 * 512);
        assert_eq!(makeable(0), 0);
        assert_eq!(makeable(u64::MAX), u64::MAX);
    }
}

//! Volumes: which one is meant, and where a new backing goes.

use super::sized::{self, Growing};
use super::text::{self, LONGEST_NAME, LONGEST_PATH, LONGEST_VALUE, invalid, unknown};
use crate::error::Result;
use crate::volume::{AdapterType, DiskType, Placement, Volume};
use std::ffi::c_char;

/// How a virtual disk's blocks are allocated. A later version may add numbers.
pub type vmdk_disk_type = i32;

/// As recorded in the backup; thin for a new volume.
pub const VMDK_DISK_TYPE_DEFAULT: vmdk_disk_type = 0;
/// Blocks are allocated when first written.
pub const VMDK_DISK_TYPE_THIN: vmdk_disk_type = 1;
/// All blocks are allocated at creation and zeroed when first written ("preallocated").
pub const VMDK_DISK_TYPE_THICK: vmdk_disk_type = 2;
/// All blocks are allocated and zeroed at creation.
pub const VMDK_DISK_TYPE_EAGER_ZEROED_THICK: vmdk_disk_type = 3;

/// The virtual controller a disk hangs on. A later version may add numbers.
pub type vmdk_adapter_type = i32;

/// As recorded in the backup; LSI Logic for a new volume.
pub const VMDK_ADAPTER_TYPE_DEFAULT: vmdk_adapter_type = 0;
/// LSI Logic parallel SCSI.
pub const VMDK_ADAPTER_TYPE_LSI_LOGIC: vmdk_adapter_type = 1;
/// BusLogic parallel SCSI.
pub const VMDK_ADAPTER_TYPE_BUS_LOGIC: vmdk_adapter_type = 2;
/// LSI Logic SAS.
pub const VMDK_ADAPTER_TYPE_LSI_LOGIC_SAS: vmdk_adapter_type = 3;
/// VMware paravirtual SCSI.
pub const VMDK_ADAPTER_TYPE_PARA_VIRTUAL: vmdk_adapter_type = 4;
/// IDE.
pub const VMDK_ADAPTER_TYPE_IDE: vmdk_adapter_type = 5;

/// A key and its value. This structure has no size field and never grows.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct vmdk_pair {
    /// Not NULL, not empty.
    pub key: *const c_char,
    /// Not NULL.
    pub value: *const c_char,
}

/// A virtual disk owned by a storage agent, and the virtual machine that holds it: its backing.
/// The backing is known by moref, id and name; at least one of the three is needed, and everything
/// that is given must agree with the virtual machine that is found, else the operation fails as
/// VMDK_STATUS_INVALID_ARGUMENT before anything changes. An id agrees with the instance UUID or with
/// the extraConfig key "cinder.volume.id". datacenter and folder, where given, bound the search: a
/// machine elsewhere is not the backing. A machine that is or may be the backing and is disconnected,
/// orphaned, inaccessible or invalid is VMDK_STATUS_INVALID_STATE.
///
/// Everything from size_bytes on is for a backing that has to be made or a disk that has to be
/// restored. Each part of the placement but folder is a name or a managed object reference. Names
/// are plain: the escapes of the inventory ("%2f") are the library's concern.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct vmdk_volume {
    /// sizeof(vmdk_volume).
    pub struct_size: usize,
    /// The backing's name in the inventory, up to 80 characters; NULL = not given.
    pub name: *const c_char,
    /// The volume's UUID ("3f2504e0-4f89-41d3-9a0c-0305e82c3301"): the backing's instance UUID and
    /// the disk's UUID; NULL = not given.
    pub id: *const c_char,
    /// The backing's managed object reference ("vm-42"); NULL = not given.
    pub moref: *const c_char,
    /// The size in bytes, a multiple of 512; 0 = as it is, or as recorded in the backup.
    pub size_bytes: u64,
    /// VMDK_DISK_TYPE_...; 0 = as recorded, or thin.
    pub disk_type: vmdk_disk_type,
    /// VMDK_ADAPTER_TYPE_...; 0 = as recorded, or LSI Logic.
    pub adapter_type: vmdk_adapter_type,
    /// The device key of the disk, where the backing has more than one; 0 = not given.
    pub disk_key: i32,
    /// How many pairs extra_config has.
    pub extra_config_count: u32,
    /// Keys and values for the extraConfig of a new backing; NULL where there are none.
    pub extra_config: *const vmdk_pair,
    /// The id of the storage profile (SPBM) of a new backing; NULL = none.
    pub storage_profile: *const c_char,
    /// The datacenter; NULL = the only one.
    pub datacenter: *const c_char,
    /// The cluster or host; NULL = any whose hosts reach the datastore.
    pub compute: *const c_char,
    /// The resource pool; NULL = the root pool of the cluster or host.
    pub resource_pool: *const c_char,
    /// The datastore; NULL = an accessible one with room.
    pub datastore: *const c_char,
    /// The path below the datacenter's VM folder ("volumes/gold"), created where it does not exist;
    /// NULL = the VM folder, or wherever the backing is. Within one name of the path, "%2f" is a
    /// slash, "%5c" a backslash and "%25" a percent sign.
    pub folder: *const c_char,
}

// SAFETY: pointers, and integers of eight bytes or in pairs of four.
unsafe impl Growing for vmdk_volume {
    const NAME: &'static str = "vmdk_volume";
}

/// More pairs than any virtual machine has.
const MOST_PAIRS: u32 = 4096;

/// The volume at `volume`.
///
/// # Safety
/// `volume` is NULL or readable for as many bytes as its size field says; its strings and pairs are
/// valid during the call.
pub(super) unsafe fn read(volume: *const vmdk_volume) -> Result<Volume> {
    // SAFETY: the same promise.
    let vmdk_volume {
        struct_size: _,
        name,
        id,
        moref,
        size_bytes,
        disk_type,
        adapter_type,
        disk_key,
        extra_config_count,
        extra_config,
        storage_profile,
        datacenter,
        compute,
        resource_pool,
        datastore,
        folder,
    } = unsafe { sized::read(volume) }?;
    // SAFETY: the caller's promise is the one each of these asks for.
    let volume = unsafe {
        Volume {
            name: text::name(name, "volume.name", LONGEST_NAME)?.unwrap_or_default(),
            id: text::name(id, "volume.id", LONGEST_NAME)?,
            moref: text::name(moref, "volume.moref", LONGEST_NAME)?,
            disk_key: (disk_key != 0).then_some(disk_key),
            size_bytes,
            disk_type: self::disk_type(disk_type)?,
            adapter_type: self::adapter_type(adapter_type)?,
            storage_profile: text::name(storage_profile, "volume.storage_profile", LONGEST_NAME)?,
            placement: Placement {
                datacenter: text::name(datacenter, "volume.datacenter", LONGEST_NAME)?,
                compute: text::name(compute, "volume.compute", LONGEST_NAME)?,
                resource_pool: text::name(resource_pool, "volume.resource_pool", LONGEST_NAME)?,
                datastore: text::name(datastore, "volume.datastore", LONGEST_NAME)?,
                folder: text::name(folder, "volume.folder", LONGEST_PATH)?,
            },
            extra_config: pairs(extra_config, extra_config_count)?,
        }
    };
    volume.validate()?;
    Ok(volume)
}

/// # Safety
/// `pairs` has `count` pairs of strings that are valid as [`text::optional`] asks.
unsafe fn pairs(pairs: *const vmdk_pair, count: u32) -> Result<Vec<(String, String)>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    if count > MOST_PAIRS {
        return Err(invalid(format!(
            "volume.extra_config_count is {count}; at most {MOST_PAIRS} are taken"
        )));
    }
    if pairs.is_null() {
        return Err(invalid("volume.extra_config is NULL"));
    }
    (0..count as usize)
        .map(|at| {
            // SAFETY: the caller promises `count` pairs; their alignment is not relied on.
            let pair = unsafe { pairs.add(at).read_unaligned() };
            let field = |part| format!("volume.extra_config[{at}].{part}");
            // SAFETY: the caller's promise.
            let (key, value) = unsafe {
                (
                    text::required(pair.key, &field("key"), LONGEST_NAME)?,
                    text::optional(pair.value, &field("value"), LONGEST_VALUE)?,
                )
            };
            let value = value.ok_or_else(|| invalid(format!("{} is NULL", field("value"))))?;
            Ok((key.to_owned(), value.to_owned()))
        })
        .collect()
}

fn disk_type(number: vmdk_disk_type) -> Result<Option<DiskType>> {
    match number {
        VMDK_DISK_TYPE_DEFAULT => Ok(None),
        VMDK_DISK_TYPE_THIN => Ok(Some(DiskType::Thin)),
        VMDK_DISK_TYPE_THICK => Ok(Some(DiskType::Thick)),
        VMDK_DISK_TYPE_EAGER_ZEROED_THICK => Ok(Some(DiskType::EagerZeroedThick)),
        _ => Err(unknown("volume.disk_type", number)),
    }
}

fn adapter_type(number: vmdk_adapter_type) -> Result<Option<AdapterType>> {
    match number {
        VMDK_ADAPTER_TYPE_DEFAULT => Ok(None),
        VMDK_ADAPTER_TYPE_LSI_LOGIC => Ok(Some(AdapterType::LsiLogic)),
        VMDK_ADAPTER_TYPE_BUS_LOGIC => Ok(Some(AdapterType::BusLogic)),
        VMDK_ADAPTER_TYPE_LSI_LOGIC_SAS => Ok(Some(AdapterType::LsiLogicSas)),
        VMDK_ADAPTER_TYPE_PARA_VIRTUAL => Ok(Some(AdapterType::ParaVirtual)),
        VMDK_ADAPTER_TYPE_IDE => Ok(Some(AdapterType::Ide)),
        _ => Err(unknown("volume.adapter_type", number)),
    }
}

//! The caller's functions as a [`BackupService`]: behind this file nobody knows that C is there.

mod reader;
mod writer;

use super::guard::outward;
use super::service::{
    VMDK_FORMAT_RAW, VMDK_FORMAT_STREAM, VMDK_SERVICE_EXISTS, VMDK_SERVICE_NO_SPACE,
    VMDK_SERVICE_NOT_FOUND, vmdk_backup_request, vmdk_service_callbacks,
};
use super::text::{invalid, to_c};
use crate::error::{Error, Kind, Result};
use crate::service::{BackupReader, BackupRequest, BackupService, BackupWriter, Format, Staging};
use reader::CallbackReader;
use std::ptr;
use writer::CallbackWriter;

/// A table of functions that was found complete.
pub(super) struct CallbackService {
    table: vmdk_service_callbacks,
}

// SAFETY: the header says that operations on several threads may call the functions at once.
unsafe impl Send for CallbackService {}
// SAFETY: the same.
unsafe impl Sync for CallbackService {}

/// The first buffer for metadata, and more than this library's own metadata ever needs.
const METADATA_BUFFER: usize = 64 << 10;

impl CallbackService {
    /// # Errors
    /// [`Kind::InvalidArgument`] for a table that can neither keep backups nor give them back, or
    /// whose functions do not go together.
    pub(super) fn new(table: vmdk_service_callbacks) -> Result<Self> {
        let vmdk_service_callbacks {
            struct_size: _,
            user_data: _,
            free: _,
            create,
            write,
            set_metadata,
            commit,
            abort,
            open,
            read,
            get_metadata,
            close,
            backup_file,
            restore_file,
            write_at,
            write_zeros,
            read_at,
            next_data,
        } = table;
        let by_file = backup_file.is_some() || restore_file.is_some();
        let raw = write_at.is_some() || read_at.is_some();
        let by_stream = write.is_some() || read.is_some() || raw;
        let writes = write.is_some() || write_at.is_some() || backup_file.is_some();
        let reads = read.is_some() || read_at.is_some() || restore_file.is_some();
        let rules = [
            (
                writes || reads,
                "write, write_at, read, read_at, backup_file and restore_file are all NULL",
            ),
            (
                !(by_file && by_stream),
                "a service works on streams (write, read) or on files (backup_file, restore_file)",
            ),
            (write.is_none() || create.is_some(), "write needs create"),
            (
                create.is_none() || writes,
                "create needs write, write_at or backup_file",
            ),
            (
                create.is_some() == commit.is_some() && create.is_some() == abort.is_some(),
                "create, commit and abort need each other",
            ),
            (
                set_metadata.is_none() || create.is_some(),
                "set_metadata needs create",
            ),
            (read.is_none() || open.is_some(), "read needs open"),
            (
                open.is_none() || reads,
                "open needs read, read_at or restore_file",
            ),
            (
                write_at.is_none() || create.is_some(),
                "write_at needs create",
            ),
            (
                write_zeros.is_none() || write_at.is_some(),
                "write_zeros needs write_at",
            ),
            (read_at.is_none() || open.is_some(), "read_at needs open"),
            (
                next_data.is_none() || read_at.is_some(),
                "next_data needs read_at",
            ),
            (
                open.is_some() == close.is_some(),
                "open and close need each other",
            ),
            (
                get_metadata.is_none() || open.is_some(),
                "get_metadata needs open",
            ),
        ];
        for (kept, rule) in rules {
            if !kept {
                return Err(invalid(format!("vmdk_service_callbacks: {rule}")));
            }
        }
        Ok(CallbackService { table })
    }
}

impl Drop for CallbackService {
    fn drop(&mut self) {
        if let Some(free) = self.table.free {
            // SAFETY: nothing of the table is called after this.
            outward(|| unsafe { free(self.table.user_data) });
        }
    }
}

impl BackupService for CallbackService {
    fn staging(&self) -> Staging {
        if self.table.backup_file.is_some() || self.table.restore_file.is_some() {
            Staging::File
        } else {
            Staging::Stream
        }
    }

    fn create<'a>(&'a self, request: &BackupRequest<'_>) -> Result<Box<dyn BackupWriter + 'a>> {
        let backup_id = to_c(request.backup_id, "the backup's id")?;
        let volume_id = to_c(request.volume_id, "the volume's id")?;
        let mut writer = ptr::null_mut();
        if let Some(create) = self.table.create {
            let request = vmdk_backup_request {
                struct_size: size_of::<vmdk_backup_request>(),
                backup_id: backup_id.as_ptr(),
                volume_id: volume_id.as_ptr(),
                capacity: request.capacity,
                format: match request.format {
                    Format::Stream => VMDK_FORMAT_STREAM,
                    Format::Raw => VMDK_FORMAT_RAW,
                },
                reserved: 0,
            };
            // SAFETY: the request, its strings and the output are valid during the call.
            let returned =
                outward(|| unsafe { create(self.table.user_data, &request, &mut writer) });
            outcome("create", returned)?;
        } else if self.table.backup_file.is_none() {
            return Err(lacking("create"));
        }
        Ok(Box::new(CallbackWriter {
            table: &self.table,
            writer,
            backup_id,
            over: false,
        }))
    }

    fn open<'a>(&'a self, backup_id: &str) -> Result<Box<dyn BackupReader + 'a>> {
        let backup_id = to_c(backup_id, "the backup's id")?;
        let mut reader = ptr::null_mut();
        let mut length = 0;
        if let Some(open) = self.table.open {
            // SAFETY: the string and the outputs are valid during the call.
            let returned = outward(|| unsafe {
                open(
                    self.table.user_data,
                    backup_id.as_ptr(),
                    &mut length,
                    &mut reader,
                )
            });
            outcome("open", returned)?;
        } else if self.table.restore_file.is_none() {
            return Err(lacking("open"));
        }
        Ok(Box::new(CallbackReader {
            table: &self.table,
            reader,
            backup_id,
            length,
        }))
    }
}

fn outcome(callback: &str, returned: i32) -> Result<()> {
    let kind = match returned {
        0 => return Ok(()),
        VMDK_SERVICE_NOT_FOUND => Kind::NotFound,
        VMDK_SERVICE_EXISTS => Kind::Exists,
        VMDK_SERVICE_NO_SPACE => Kind::NoSpace,
        _ => Kind::Service,
    };
    let what = match kind {
        Kind::NotFound => "the service has no such backup",
        Kind::Exists => "the service has a backup of that id already",
        Kind::NoSpace => "the service is full",
        _ => "the service failed",
    };
    Err(Error::new(
        kind,
        format!("{what}: its {callback} callback returned {returned}"),
    )
    .with_callback(returned.into()))
}

fn lacking(callback: &str) -> Error {
    Error::new(
        Kind::Unsupported,
        format!("the service has no {callback} callback"),
    )
}

#[cfg(test)]
mod tests;

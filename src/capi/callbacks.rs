//! The caller's functions as a [`BackupService`]: behind this file nobody knows that C is there.

use super::guard::outward;
use super::service::{
    VMDK_FORMAT_RAW, VMDK_FORMAT_STREAM, VMDK_SERVICE_EXISTS, VMDK_SERVICE_NO_SPACE,
    VMDK_SERVICE_NOT_FOUND, vmdk_backup_request, vmdk_service_callbacks,
};
use super::text::{invalid, path_to_c, to_c};
use crate::error::{Error, Kind, Result};
use crate::service::{BackupReader, BackupRequest, BackupService, BackupWriter, Format, Staging};
use bytes::Bytes;
use std::ffi::{CString, c_void};
use std::ops::Range;
use std::path::Path;
use std::ptr;

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

/// Longer metadata is none.
const LONGEST_METADATA: usize = 1 << 20;

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

struct CallbackWriter<'a> {
    table: &'a vmdk_service_callbacks,
    writer: *mut c_void,
    backup_id: CString,
    over: bool,
}

impl BackupWriter for CallbackWriter<'_> {
    fn write(&mut self, bytes: &Bytes) -> Result<()> {
        let write = self.table.write.ok_or_else(|| lacking("write"))?;
        // SAFETY: `writer` is what create made; the bytes are valid during the call.
        let returned = outward(|| unsafe {
            write(
                self.table.user_data,
                self.writer,
                bytes.as_ptr().cast(),
                bytes.len(),
            )
        });
        outcome("write", returned)
    }

    fn write_at(&mut self, offset: u64, bytes: &Bytes) -> Result<()> {
        let write_at = self.table.write_at.ok_or_else(|| lacking("write_at"))?;
        // SAFETY: `writer` is what create made; the bytes are valid during the call.
        let returned = outward(|| unsafe {
            write_at(
                self.table.user_data,
                self.writer,
                offset,
                bytes.as_ptr().cast(),
                bytes.len(),
            )
        });
        outcome("write_at", returned)
    }

    fn zeros(&mut self, range: Range<u64>) -> Result<()> {
        let Some(write_zeros) = self.table.write_zeros else {
            return Ok(());
        };
        let (offset, length) = (range.start, range.end - range.start);
        // SAFETY: `writer` is what create made.
        let returned =
            outward(|| unsafe { write_zeros(self.table.user_data, self.writer, offset, length) });
        outcome("write_zeros", returned)
    }

    fn write_file(&mut self, path: &Path) -> Result<()> {
        let backup_file = self.table.backup_file;
        let backup_file = backup_file.ok_or_else(|| lacking("backup_file"))?;
        let path = path_to_c(path)?;
        // SAFETY: `writer` is what create made, or NULL; the strings are valid during the call.
        let returned = outward(|| unsafe {
            backup_file(
                self.table.user_data,
                self.writer,
                self.backup_id.as_ptr(),
                path.as_ptr(),
            )
        });
        outcome("backup_file", returned)
    }

    fn set_metadata(&mut self, metadata: &str) -> Result<()> {
        let Some(set_metadata) = self.table.set_metadata else {
            return Ok(());
        };
        let text = to_c(metadata, "the metadata")?;
        // SAFETY: `writer` is what create made; the text is valid during the call.
        let returned = outward(|| unsafe {
            set_metadata(
                self.table.user_data,
                self.writer,
                text.as_ptr(),
                metadata.len(),
            )
        });
        outcome("set_metadata", returned)
    }

    fn commit(mut self: Box<Self>) -> Result<()> {
        if let Some(commit) = self.table.commit {
            // SAFETY: `writer` is what create made, and is not used again unless this fails.
            let returned = outward(|| unsafe { commit(self.table.user_data, self.writer) });
            outcome("commit", returned)?;
        }
        self.over = true;
        Ok(())
    }
}

impl Drop for CallbackWriter<'_> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        if let Some(abort) = self.table.abort {
            // SAFETY: `writer` is what create made, and is not used again.
            outward(|| unsafe { abort(self.table.user_data, self.writer) });
        }
    }
}

struct CallbackReader<'a> {
    table: &'a vmdk_service_callbacks,
    reader: *mut c_void,
    backup_id: CString,
    length: u64,
}

impl BackupReader for CallbackReader<'_> {
    fn length(&self) -> u64 {
        self.length
    }

    fn metadata(&mut self) -> Result<Option<String>> {
        let Some(get_metadata) = self.table.get_metadata else {
            return Ok(None);
        };
        let mut buffer = vec![0_u8; METADATA_BUFFER];
        loop {
            let mut length = 0;
            // SAFETY: `reader` is what open made; the buffer has as many bytes as is said.
            let returned = outward(|| unsafe {
                get_metadata(
                    self.table.user_data,
                    self.reader,
                    buffer.as_mut_ptr().cast(),
                    buffer.len(),
                    &mut length,
                )
            });
            outcome("get_metadata", returned)?;
            if length == 0 {
                return Ok(None);
            }
            if length > LONGEST_METADATA {
                return Err(Error::new(
                    Kind::Corrupt,
                    format!("the service's metadata has {length} bytes"),
                ));
            }
            if length <= buffer.len() {
                buffer.truncate(length);
                return String::from_utf8(buffer)
                    .map(Some)
                    .map_err(|_| Error::new(Kind::Corrupt, "the service's metadata is not UTF-8"));
            }
            buffer.resize(length, 0);
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let read = self.table.read.ok_or_else(|| lacking("read"))?;
        let mut length = 0;
        // SAFETY: `reader` is what open made; the buffer has as many bytes as is said.
        let returned = outward(|| unsafe {
            read(
                self.table.user_data,
                self.reader,
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                &mut length,
            )
        });
        outcome("read", returned)?;
        if length > buffer.len() {
            return Err(Error::new(
                Kind::Service,
                format!(
                    "the service's read callback says it read {length} bytes into a buffer of {}",
                    buffer.len()
                ),
            ));
        }
        Ok(length)
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let read_at = self.table.read_at.ok_or_else(|| lacking("read_at"))?;
        // SAFETY: `reader` is what open made; the buffer has as many bytes as is said.
        let returned = outward(|| unsafe {
            read_at(
                self.table.user_data,
                self.reader,
                offset,
                buffer.as_mut_ptr().cast(),
                buffer.len(),
            )
        });
        outcome("read_at", returned)
    }

    fn next_data(&mut self, offset: u64) -> Result<Option<Range<u64>>> {
        let Some(next_data) = self.table.next_data else {
            return Ok((offset < self.length).then_some(offset..self.length));
        };
        let (mut start, mut length) = (0, 0);
        // SAFETY: `reader` is what open made; the outputs are valid during the call.
        let returned = outward(|| unsafe {
            next_data(
                self.table.user_data,
                self.reader,
                offset,
                &mut start,
                &mut length,
            )
        });
        outcome("next_data", returned)?;
        if length == 0 {
            return Ok(None);
        }
        match start.checked_add(length) {
            Some(end) if start >= offset && end <= self.length => Ok(Some(start..end)),
            _ => Err(Error::new(
                Kind::Service,
                format!(
                    "the service's next_data callback says {length} bytes at {start}, asked from \
                     {offset} of {}",
                    self.length
                ),
            )),
        }
    }

    fn read_file(&mut self, path: &Path) -> Result<()> {
        let restore_file = self.table.restore_file;
        let restore_file = restore_file.ok_or_else(|| lacking("restore_file"))?;
        let path = path_to_c(path)?;
        // SAFETY: `reader` is what open made, or NULL; the strings are valid during the call.
        let returned = outward(|| unsafe {
            restore_file(
                self.table.user_data,
                self.reader,
                self.backup_id.as_ptr(),
                path.as_ptr(),
            )
        });
        outcome("restore_file", returned)
    }
}

impl Drop for CallbackReader<'_> {
    fn drop(&mut self) {
        if let Some(close) = self.table.close {
            // SAFETY: `reader` is what open made, and is not used again.
            outward(|| unsafe { close(self.table.user_data, self.reader) });
        }
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

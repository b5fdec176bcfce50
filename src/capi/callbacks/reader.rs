//! The caller's functions for a backup being read.

use super::{METADATA_BUFFER, lacking, outcome};
use crate::capi::guard::outward;
use crate::capi::service::vmdk_service_callbacks;
use crate::capi::text::path_to_c;
use crate::error::{Error, Kind, Result};
use crate::service::{BackupReader, LONGEST_METADATA};
use std::ffi::{CString, c_void};
use std::ops::Range;
use std::path::Path;

pub(super) struct CallbackReader<'a> {
    pub(super) table: &'a vmdk_service_callbacks,
    pub(super) reader: *mut c_void,
    pub(super) backup_id: CString,
    pub(super) length: u64,
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

//! The caller's functions for a backup being written.

use super::{lacking, outcome};
use crate::capi::guard::outward;
use crate::capi::service::vmdk_service_callbacks;
use crate::capi::text::{path_to_c, to_c};
use crate::error::Result;
use crate::service::{BackupWriter, check_metadata};
use bytes::Bytes;
use std::ffi::{CString, c_void};
use std::ops::Range;
use std::path::Path;

pub(super) struct CallbackWriter<'a> {
    pub(super) table: &'a vmdk_service_callbacks,
    pub(super) writer: *mut c_void,
    pub(super) backup_id: CString,
    pub(super) over: bool,
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
        check_metadata(metadata)?;
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

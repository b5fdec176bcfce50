//! Disks in files: converted, and looked at.

use super::cancel::{self, vmdk_cancel};
use super::error::vmdk_error;
use super::guard::{guard_apart, outward};
use super::operation::{progress_fn, vmdk_progress_callback, with_progress_value};
use super::service::{format_of, vmdk_format};
use super::sized::{self, Growing, Output};
use super::status::vmdk_status;
use super::summary::vmdk_summary;
use super::text::{self, LONGEST_PATH, invalid, unknown};
use crate::error::{Error, Kind, Result};
use crate::ops::{ConvertOptions, InspectOptions, SourceFormat, convert, inspect};
use crate::vmdk::Compression;
use std::cell::Cell;
use std::ffi::{CString, c_char, c_void};
use std::mem::MaybeUninit;
use std::path::PathBuf;
use std::time::Duration;

/// How hard a stream is compressed. A later version may add numbers.
pub type vmdk_compression = i32;

/// As fast as it goes.
pub const VMDK_COMPRESSION_FAST: vmdk_compression = 0;
/// Some per cent smaller, for half again the time.
pub const VMDK_COMPRESSION_BALANCED: vmdk_compression = 1;
/// As small as other tools make it.
pub const VMDK_COMPRESSION_SMALL: vmdk_compression = 2;

/// What a disk in a file is. A later version may add numbers.
pub type vmdk_source_format = i32;

/// What its bytes say: a stream-optimized VMDK, or a raw disk where they say nothing. Other known
/// formats (qcow2, VHD, VHDX, VDI, other kinds of VMDK, compressed files, archives ...) are
/// VMDK_STATUS_UNSUPPORTED, and the message names them; what may be a stream or a raw disk is
/// VMDK_STATUS_INVALID_ARGUMENT.
pub const VMDK_SOURCE_PROBE: vmdk_source_format = 0;
/// A stream-optimized VMDK.
pub const VMDK_SOURCE_STREAM: vmdk_source_format = 1;
/// A raw disk, whatever its bytes look like. State it for every disk whose contents others write,
/// such as a volume of a virtual machine: its user can make it look like any format.
pub const VMDK_SOURCE_RAW: vmdk_source_format = 2;

/// How a disk in a file is converted.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct vmdk_convert_options {
    /// sizeof(vmdk_convert_options).
    pub struct_size: usize,
    /// A file or block device. Required.
    pub source: *const c_char,
    /// A file that does not exist, or, for a raw disk, a block device at least as large. Needed.
    pub target: *const c_char,
    /// What the target is to be: VMDK_FORMAT_...
    pub format: vmdk_format,
    /// Of a stream: VMDK_COMPRESSION_...
    pub compression: vmdk_compression,
    /// Told of progress: bytes written of a stream, or read of one; NULL = not wanted.
    pub progress: vmdk_progress_callback,
    /// Passed to progress.
    pub progress_user_data: *mut c_void,
    /// Ends the conversion when thrown; NULL = none.
    pub cancel: *const vmdk_cancel,
    /// It ends as VMDK_STATUS_CANCELLED when it takes longer than this, in milliseconds; 0 = no limit.
    pub deadline_ms: u64,
    /// What the source is: VMDK_SOURCE_...; 0 = what its bytes say.
    pub source_format: vmdk_source_format,
    /// Must be 0.
    pub reserved: u32,
}

// SAFETY: pointers, pairs of four-byte integers, a function that may be NULL, and eight bytes.
unsafe impl Growing for vmdk_convert_options {
    const NAME: &'static str = "vmdk_convert_options";
}

/// Converts a disk in a file from raw to stream-optimized, or back, on all processors and in
/// constant memory. The target appears, whole and on stable storage, when all is done; a stream
/// is proven whole on the way.
///
/// A source of another format is VMDK_STATUS_UNSUPPORTED. A raw disk that anybody else wrote to is
/// converted safely only where source_format says that it is one.
///
/// Blocks until then. On success *summary_out (NULL = not wanted) is written: capacity,
/// stream_length and populated. On failure there is no target; a block device is in any state.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmdk_convert(
    options: *const vmdk_convert_options,
    summary_out: *mut vmdk_summary,
    error_out: Option<&mut MaybeUninit<*mut vmdk_error>>,
) -> vmdk_status {
    guard_apart(error_out, || {
        let returned = Cell::new(0);
        // SAFETY: the header asks for structures of the size they say, whose strings and functions
        // are valid during the call.
        let (options, summary) = unsafe {
            let summary = Output::new(summary_out)?;
            let options: vmdk_convert_options = sized::read(options)?;
            (options.convert(&returned)?, summary)
        };
        let done = convert(options).map_err(|error| with_progress_value(error, returned.get()))?;
        summary.write(&done.into());
        Ok(())
    })
}

impl vmdk_convert_options {
    /// # Safety
    /// Strings, function and switch are valid during the call.
    unsafe fn convert(self, returned: &Cell<i32>) -> Result<ConvertOptions<'_>> {
        let vmdk_convert_options {
            struct_size: _,
            source,
            target,
            format,
            compression,
            progress,
            progress_user_data,
            cancel,
            deadline_ms,
            source_format,
            reserved,
        } = self;
        require_zero(reserved)?;
        // SAFETY: the caller's promise is the one each of these asks for.
        unsafe {
            Ok(ConvertOptions {
                source: PathBuf::from(text::required(source, "source", LONGEST_PATH)?),
                source_format: source_format_of(source_format)?,
                target: PathBuf::from(text::required(target, "target", LONGEST_PATH)?),
                format: format_of(format)?,
                compression: match compression {
                    VMDK_COMPRESSION_FAST => Compression::Fast,
                    VMDK_COMPRESSION_BALANCED => Compression::Balanced,
                    VMDK_COMPRESSION_SMALL => Compression::Small,
                    other => return Err(unknown("compression", other)),
                },
                deadline: (deadline_ms != 0).then(|| Duration::from_millis(deadline_ms)),
                progress: progress_fn(progress, progress_user_data, returned),
                cancel: cancel::switch(cancel)?,
            })
        }
    }
}

fn source_format_of(number: vmdk_source_format) -> Result<SourceFormat> {
    match number {
        VMDK_SOURCE_PROBE => Ok(SourceFormat::Probe),
        VMDK_SOURCE_STREAM => Ok(SourceFormat::Stream),
        VMDK_SOURCE_RAW => Ok(SourceFormat::Raw),
        other => Err(unknown("source_format", other)),
    }
}

fn require_zero(reserved: u32) -> Result<()> {
    match reserved {
        0 => Ok(()),
        _ => Err(invalid("reserved is not 0")),
    }
}

/// Receives what was found of a disk: a JSON text that ends with a NUL, which length does not
/// count, valid during the call.
pub type vmdk_inspected_callback =
    Option<unsafe extern "C-unwind" fn(user_data: *mut c_void, json: *const c_char, length: usize)>;

/// How a disk in a file is looked at.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct vmdk_inspect_options {
    /// sizeof(vmdk_inspect_options).
    pub struct_size: usize,
    /// A file or block device. Needed.
    pub path: *const c_char,
    /// Called once, on the calling thread, with what was found. Needed.
    pub inspected: vmdk_inspected_callback,
    /// Passed to inspected.
    pub inspected_user_data: *mut c_void,
    /// As in vmdk_convert_options.
    pub progress: vmdk_progress_callback,
    /// As in vmdk_convert_options.
    pub progress_user_data: *mut c_void,
    /// As in vmdk_convert_options.
    pub cancel: *const vmdk_cancel,
    /// As in vmdk_convert_options.
    pub source_format: vmdk_source_format,
    /// Must be 0.
    pub reserved: u32,
}

// SAFETY: pointers, functions that may be NULL, and a pair of four-byte integers.
unsafe impl Growing for vmdk_inspect_options {
    const NAME: &'static str = "vmdk_inspect_options";
}

/// Looks at a disk in a file, the whole of it, and tells in JSON what it is: "format"
/// ("streamOptimized" or "raw"), "capacity" in bytes, "allocation" (of each 256th of the disk, how
/// many per cent are not all zero, or no hole of a raw file), and of a stream, in "stream": version,
/// grain_bytes, layout ("end" or "front"), create_type, cid, adapter_type, hardware_version, uuid,
/// length, flaw (null, or offset, kind and message of the flaw nearest to the start), and where
/// there is no flaw: sha256, sha1, content_digest, grains, populated, in_order, normal (whether
/// ESXi takes it as it is). A later version may add fields. A flaw in a stream is no failure of the
/// call; a file of another format is VMDK_STATUS_UNSUPPORTED, by name. Blocks until all is done.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmdk_inspect(
    options: *const vmdk_inspect_options,
    error_out: Option<&mut MaybeUninit<*mut vmdk_error>>,
) -> vmdk_status {
    guard_apart(error_out, || {
        let returned = Cell::new(0);
        // SAFETY: the header asks for as many bytes as struct_size says.
        let options: vmdk_inspect_options = unsafe { sized::read(options) }?;
        let vmdk_inspect_options {
            struct_size: _,
            path,
            inspected,
            inspected_user_data,
            progress,
            progress_user_data,
            cancel,
            source_format,
            reserved,
        } = options;
        require_zero(reserved)?;
        let function = inspected.ok_or_else(|| invalid("inspected is NULL"))?;
        // SAFETY: the header asks for strings, functions and a switch that are valid during the call.
        let options = unsafe {
            InspectOptions {
                path: PathBuf::from(text::required(path, "path", LONGEST_PATH)?),
                source_format: source_format_of(source_format)?,
                progress: progress_fn(progress, progress_user_data, &returned),
                cancel: cancel::switch(cancel)?,
            }
        };
        let found = inspect(options).map_err(|error| with_progress_value(error, returned.get()))?;
        let json = serde_json::to_string(&found)
            .ok()
            .and_then(|json| CString::new(json).ok())
            .ok_or_else(|| Error::new(Kind::Io, "what was found cannot be told in JSON"))?;
        let length = json.as_bytes().len();
        // SAFETY: the header asks for a function that takes these on this thread.
        outward(|| unsafe { function(inspected_user_data, json.as_ptr(), length) });
        Ok(())
    })
}

//! The version of the library that is linked.

use std::ffi::{CStr, c_char};

/// The major version that this header belongs to.
pub const VMDK_VERSION_MAJOR: i32 = 0;
/// The minor version that this header belongs to.
pub const VMDK_VERSION_MINOR: i32 = 1;
/// The patch version that this header belongs to.
pub const VMDK_VERSION_PATCH: i32 = 0;

const VERSION: &CStr =
    match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => c"",
    };

/// The version of the library at run time ("0.1.0"), which may be newer than this header. The
/// string is static: never free it. Callable from any thread and from callbacks.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn vmdk_version() -> *const c_char {
    VERSION.as_ptr()
}

const CODEC: &CStr = if cfg!(feature = "igzip") {
    c"isa-l"
} else {
    c"libdeflate"
};

/// What compresses streams at VMDK_COMPRESSION_FAST in the library at run time: "isa-l" (built
/// with nasm, autoconf, automake and libtool) or "libdeflate". A
/// later version may have others. The string is static: never free it. Callable from any thread
/// and from callbacks.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn vmdk_codec() -> *const c_char {
    CODEC.as_ptr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_and_the_package_agree_on_the_version() {
        let header = format!("{VMDK_VERSION_MAJOR}.{VMDK_VERSION_MINOR}.{VMDK_VERSION_PATCH}");
        assert_eq!(VERSION.to_str(), Ok(header.as_str()));
    }

    #[test]
    fn the_codec_is_the_engines() {
        assert_eq!(CODEC.to_str(), Ok(crate::vmdk::CODEC));
    }
}

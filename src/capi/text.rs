//! Strings and outputs at the border: checked before anything believes them.

use crate::error::{Error, Kind, Result};
use std::ffi::{CString, c_char};
use std::mem::MaybeUninit;
use std::path::Path;

/// The longest name, id, user name or address taken, in bytes.
pub(super) const LONGEST_NAME: usize = 1024;

/// The longest path taken, in bytes (Linux's PATH_MAX, less its NUL).
pub(super) const LONGEST_PATH: usize = 4095;

/// The longest password or configuration value taken, in bytes.
pub(super) const LONGEST_VALUE: usize = 65_535;

/// The string at `text`, or `None` for NULL; `field` is how errors call it.
///
/// # Safety
/// `text` is NULL or readable up to its NUL or `longest` bytes, and stays so and unchanged for `'a`.
pub(super) unsafe fn optional<'a>(
    text: *const c_char,
    field: &str,
    longest: usize,
) -> Result<Option<&'a str>> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller promises `longest` bytes or a NUL before them.
    let length = unsafe { libc::strnlen(text, longest + 1) };
    if length > longest {
        return Err(invalid(format!("{field} is longer than {longest} bytes")));
    }
    // SAFETY: `length` bytes without a NUL were just read there.
    let bytes = unsafe { std::slice::from_raw_parts(text.cast::<u8>(), length) };
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(invalid(format!("{field} is not UTF-8"))),
    }
}

/// The string at `text`, which must be there and not be empty.
///
/// # Safety
/// As [`optional`].
pub(super) unsafe fn required<'a>(
    text: *const c_char,
    field: &str,
    longest: usize,
) -> Result<&'a str> {
    // SAFETY: the same promise.
    match unsafe { optional(text, field, longest) }? {
        None => Err(invalid(format!("{field} is NULL"))),
        Some("") => Err(invalid(format!("{field} is empty"))),
        Some(text) => Ok(text),
    }
}

/// As [`optional`], owned, where an empty string cannot be meant.
///
/// # Safety
/// As [`optional`].
pub(super) unsafe fn name(
    text: *const c_char,
    field: &str,
    longest: usize,
) -> Result<Option<String>> {
    // SAFETY: the same promise.
    match unsafe { optional(text, field, longest) }? {
        Some("") => Err(invalid(format!(
            "{field} is empty (NULL means that it is not given)"
        ))),
        text => Ok(text.map(str::to_owned)),
    }
}

/// The output that `name` must be.
pub(super) fn output<'a, T>(
    out: Option<&'a mut MaybeUninit<T>>,
    name: &str,
) -> Result<&'a mut MaybeUninit<T>> {
    out.ok_or_else(|| invalid(format!("{name} is NULL")))
}

/// A yes or no from C: any non-zero number is a yes.
pub(super) fn flag(value: u32) -> bool {
    value != 0
}

/// `text` for a callback.
pub(super) fn to_c(text: &str, field: &str) -> Result<CString> {
    CString::new(text).map_err(|_| invalid(format!("{field} contains a NUL byte")))
}

/// `path` for a callback.
pub(super) fn path_to_c(path: &Path) -> Result<CString> {
    use std::os::unix::ffi::OsStrExt;
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| invalid(format!("the path {} contains a NUL byte", path.display())))
}

/// `text` in an array of `N` bytes, cut at a character where it is too long, then NULs.
pub(super) fn inline<const N: usize>(text: &str) -> [c_char; N] {
    let mut end = text.len().min(N.saturating_sub(1));
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut array = [0; N];
    for (to, from) in array.iter_mut().zip(&text.as_bytes()[..end]) {
        *to = c_char::from_ne_bytes([if *from == 0 { b' ' } else { *from }]);
    }
    array
}

pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::new(Kind::InvalidArgument, message)
}

/// A number that no version of this library knew, or that a later one does.
pub(super) fn unknown(field: &str, number: i32) -> Error {
    if number < 0 {
        return invalid(format!("{field} is {number}"));
    }
    Error::new(
        Kind::Unsupported,
        format!("{field} is {number}, which this library does not know"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], longest: usize) -> Result<Option<&str>> {
        // SAFETY: every test passes bytes with a NUL or at least `longest` + 1 of them.
        unsafe { optional(bytes.as_ptr().cast(), "f", longest) }
    }

    #[test]
    fn a_string_is_utf_8_and_no_longer_than_it_may_be() {
        assert_eq!(read(b"abc\0", 3).unwrap(), Some("abc"));
        assert!(read(b"abcd\0", 3).is_err());
        assert!(read(b"abcdwithout end", 3).is_err());
        assert!(read(b"\xff\0", 3).is_err());
    }

    #[test]
    fn an_inline_text_is_cut_at_a_character_and_ended() {
        let text: [c_char; 4] = inline("abé");
        assert_eq!(text.map(|c| c as u8), [b'a', b'b', 0, 0]);
        let text: [c_char; 5] = inline("abé");
        assert_eq!(text.map(|c| c as u8), [b'a', b'b', 0xc3, 0xa9, 0]);
    }
}

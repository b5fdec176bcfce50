//! Structures that grow: their first field is the size the caller compiled with.

use super::text::invalid;
use crate::error::{Error, Kind, Result};

/// A structure of the header that begins with its size.
///
/// # Safety
/// `repr(C)`, begins with `struct_size: usize`, and every bit pattern is a value. Without padding where pointers have 64
/// bits, so that all of a caller's bytes are fields.
pub(super) unsafe trait Growing: Copy {
    /// Its C name.
    const NAME: &'static str;
}

/// No structure of any version is as large; a size beyond it was never a size.
const LARGEST: usize = 1 << 16;

/// Sizes step by the smallest alignment of any such structure: a size between would cut a field.
const STEP: usize = align_of::<usize>();

/// Reads what the caller has of a `T`: an older caller's missing fields are 0; a newer caller's
/// further fields must be 0, since this library would not do what they ask.
///
/// # Safety
/// `from` is NULL or readable for as many bytes as its first field says.
pub(super) unsafe fn read<T: Growing>(from: *const T) -> Result<T> {
    // SAFETY: the same promise.
    let size = unsafe { size_of_caller(from) }?;
    let mut value = std::mem::MaybeUninit::<T>::zeroed();
    // SAFETY: `size` bytes are readable by the caller's promise, `size_of::<T>()` writable.
    unsafe {
        std::ptr::copy_nonoverlapping(
            from.cast::<u8>(),
            value.as_mut_ptr().cast::<u8>(),
            size.min(size_of::<T>()),
        );
    }
    for at in size_of::<T>()..size {
        // SAFETY: `at` is below `size`.
        if unsafe { from.cast::<u8>().add(at).read() } != 0 {
            return Err(Error::new(
                Kind::Unsupported,
                format!("{} sets a field that this library does not know", T::NAME),
            )
            .remedy("use a library at least as new as the header"));
        }
    }
    // SAFETY: every bit pattern is a value of a `Growing`.
    Ok(unsafe { value.assume_init() })
}

/// Where a result goes: checked before the work, written after it.
pub(super) struct Output<T> {
    to: *mut T,
    size: usize,
}

impl<T: Growing> Output<T> {
    /// The structure at `to`; NULL = not wanted.
    ///
    /// # Safety
    /// `to` is NULL or writable for as many bytes as its first field says, until the call returns.
    pub(super) unsafe fn new(to: *mut T) -> Result<Self> {
        let size = if to.is_null() {
            0
        } else {
            // SAFETY: the same promise.
            unsafe { size_of_caller(to) }?
        };
        Ok(Output { to, size })
    }

    /// Writes as much as the caller has room for, zeros beyond; the size stays the caller's.
    pub(super) fn write(self, value: &T) {
        if self.to.is_null() {
            return;
        }
        let head = size_of::<usize>();
        let known = self.size.min(size_of::<T>());
        let to = self.to.cast::<u8>();
        // SAFETY: `new` was promised `size` writable bytes; `known` is no more than that and no
        // more than `value` has; `size_of_caller` saw that `size` covers the first field.
        unsafe {
            std::ptr::copy_nonoverlapping(
                std::ptr::from_ref(value).cast::<u8>().add(head),
                to.add(head),
                known - head,
            );
            std::ptr::write_bytes(to.add(known), 0, self.size - known);
        }
    }
}

/// # Safety
/// `from` is NULL or readable for one `usize`.
unsafe fn size_of_caller<T: Growing>(from: *const T) -> Result<usize> {
    if from.is_null() {
        return Err(invalid(format!("{} is NULL", T::NAME)));
    }
    // SAFETY: the same promise; nothing is assumed of its alignment.
    let size = unsafe { from.cast::<usize>().read_unaligned() };
    if size < size_of::<usize>() || size > LARGEST || size % STEP != 0 {
        return Err(invalid(format!(
            "{}.struct_size is {size}; set it to sizeof({})",
            T::NAME,
            T::NAME
        )));
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Trial {
        struct_size: usize,
        one: u64,
        two: u64,
    }

    // SAFETY: three eight-byte integers.
    unsafe impl Growing for Trial {
        const NAME: &'static str = "vmdk_trial";
    }

    fn read_words(words: &[u64]) -> Result<Trial> {
        // SAFETY: every test gives as many words as the first one says, or a size that is refused.
        unsafe { read(words.as_ptr().cast()) }
    }

    #[test]
    fn an_older_callers_missing_fields_are_zero() {
        let trial = read_words(&[16, 7]).unwrap();
        assert_eq!((trial.one, trial.two), (7, 0));
    }

    #[test]
    fn a_newer_callers_further_fields_must_be_zero() {
        assert_eq!(read_words(&[32, 7, 8, 0]).unwrap().two, 8);
        let error = read_words(&[32, 7, 8, 1]).unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported);
    }

    #[test]
    fn the_size_of_every_structure_is_one() {
        use crate::capi;
        let sizes = [
            size_of::<capi::vmdk_client_options>(),
            size_of::<capi::vmdk_service_callbacks>(),
            size_of::<capi::vmdk_volume>(),
            size_of::<capi::vmdk_backup_options>(),
            size_of::<capi::vmdk_restore_options>(),
            size_of::<capi::vmdk_verify_options>(),
            size_of::<capi::vmdk_recover_options>(),
            size_of::<capi::vmdk_convert_options>(),
            size_of::<capi::vmdk_inspect_options>(),
            size_of::<capi::vmdk_summary>(),
        ];
        for size in sizes {
            // SAFETY: a number to read, and no more.
            let told = unsafe { size_of_caller::<Trial>(std::ptr::from_ref(&size).cast()) };
            assert_eq!(told.unwrap(), size);
        }
    }

    #[test]
    fn a_size_that_never_was_one_is_refused() {
        for size in [0, 1, 7, 12, 1 << 20, u64::MAX] {
            let error = read_words(&[size, 0, 0]).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidArgument, "{size}");
        }
    }

    #[test]
    fn a_result_fills_what_the_caller_has_and_no_more() {
        let value = Trial {
            struct_size: 24,
            one: 1,
            two: 2,
        };
        let written = |mut words: [u64; 5]| {
            // SAFETY: the first word is no more than the array's size.
            unsafe { Output::<Trial>::new(words.as_mut_ptr().cast()) }
                .unwrap()
                .write(&value);
            words
        };
        assert_eq!(written([16, 9, 9, 9, 9]), [16, 1, 9, 9, 9]);
        assert_eq!(written([24, 9, 9, 9, 9]), [24, 1, 2, 9, 9]);
        assert_eq!(written([32, 9, 9, 9, 9]), [32, 1, 2, 0, 9]);
    }
}

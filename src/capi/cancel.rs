//! The cancel switch.

use super::error::vmdk_error;
use super::guard::{guard, quietly};
use super::text::output;
use crate::cancel::Cancel;
use std::mem::MaybeUninit;

/// A switch that ends operations. It is given to them in their options and may be thrown from any
/// thread, from callbacks and from signal handlers.
pub struct vmdk_cancel {
    pub(super) switch: Cancel,
}

/// Makes a switch, not thrown. On success *cancel_out is a new switch, to be freed with
/// vmdk_cancel_free(). Never blocks.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn vmdk_cancel_new(
    cancel_out: Option<&mut MaybeUninit<*mut vmdk_cancel>>,
    error_out: Option<&mut MaybeUninit<*mut vmdk_error>>,
) -> super::vmdk_status {
    guard(error_out, || {
        let out = output(cancel_out, "cancel_out")?;
        out.write(Box::into_raw(Box::new(vmdk_cancel {
            switch: Cancel::new(),
        })));
        Ok(())
    })
}

/// Throws the switch, for good: operations that were given it end with VMDK_STATUS_CANCELLED within
/// a second or when the callback that is running returns, after having undone what they did.
/// NULL is permitted. Returns at once, and is safe in a signal handler.
#[unsafe(no_mangle)]
pub extern "C" fn vmdk_cancel_throw(cancel: Option<&vmdk_cancel>) {
    if let Some(cancel) = cancel {
        cancel.switch.throw();
    }
}

/// Frees a switch that no operation uses any more. NULL is permitted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmdk_cancel_free(cancel: *mut vmdk_cancel) {
    quietly(|| {
        if !cancel.is_null() {
            // SAFETY: the header asks for a switch from `vmdk_cancel_new`, not freed before.
            drop(unsafe { Box::from_raw(cancel) });
        }
    });
}

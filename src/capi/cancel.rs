//! The cancel switch.

use super::error::vmdk_error;
use super::guard::{guard, quietly};
use super::handle::{self, Handle};
use super::text::output;
use crate::cancel::Cancel;
use crate::error::Result;
use std::mem::MaybeUninit;
use std::thread;

/// A switch that ends operations. It is given to them in their options and may be thrown from any
/// thread, from callbacks and from signal handlers.
pub struct vmdk_cancel {
    switch: Cancel,
}

impl Handle for vmdk_cancel {
    const KIND: usize = 3;
}

/// The switch of an operation's options; NULL = none.
pub(super) fn switch(cancel: *const vmdk_cancel) -> Result<Option<Cancel>> {
    if cancel.is_null() {
        return Ok(None);
    }
    Ok(Some(handle::borrow(cancel, "cancel")?.switch.clone()))
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
        out.write(handle::make(vmdk_cancel {
            switch: Cancel::new(),
        }));
        Ok(())
    })
}

/// Throws the switch, for good. Operations that were given it end with VMDK_STATUS_CANCELLED:
/// waits of every kind (for busy objects, retries, leases, data) end within a second, a request
/// that was sent when it is answered, a callback when it returns. A task of the server's is
/// cancelled where the server can do that, and its end is waited for, with progress calls: a state
/// that nobody knows cannot be undone. Then what the operation did is undone, which waits for busy
/// objects and retries no longer than 5 seconds; what is left then is named in the error and
/// journalled for vmdk_recover(). An operation whose volume is already backed up or restored
/// succeeds. NULL, and a switch that was freed, are permitted. Returns at once, and is safe in a
/// signal handler.
#[unsafe(no_mangle)]
pub extern "C" fn vmdk_cancel_throw(cancel: *const vmdk_cancel) {
    if let Ok(cancel) = handle::look(cancel) {
        cancel.switch.throw();
    }
}

/// Frees a switch. Operations that were given it go on without it. NULL is permitted, and a handle
/// that is no switch, or was freed before, is left alone.
#[unsafe(no_mangle)]
pub extern "C" fn vmdk_cancel_free(cancel: *mut vmdk_cancel) {
    quietly(|| {
        if let Some(freed) = handle::retire(cancel) {
            // Whoever throws it just now may be a signal handler, which must not be the one that frees memory.
            while !freed.is_only() {
                thread::yield_now();
            }
        }
    });
}

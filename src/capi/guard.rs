//! What every exported function goes through: no panic leaves, no call comes from a callback.

use super::apart;
use super::error::vmdk_error;
use super::handle;
use super::status::{VMDK_STATUS_OK, VMDK_STATUS_PANIC, status_of, vmdk_status};
use crate::error::{Error, Kind, Result};
use std::any::Any;
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

/// Where a call puts its error object; `None` = the caller does not want one.
pub(super) type ErrorOut<'a> = Option<&'a mut MaybeUninit<*mut vmdk_error>>;

thread_local! {
    static CALLBACKS: Cell<u32> = const { Cell::new(0) };
}

/// Runs `body` unless a callback is calling, stops its panics, and turns its outcome into a status
/// and an error object. `error_out` is always written: NULL on success.
pub(super) fn guard(error_out: ErrorOut<'_>, body: impl FnOnce() -> Result<()>) -> vmdk_status {
    let outcome = if inside_callback() {
        Err(Error::new(
            Kind::Reentrant,
            "called from inside a callback of this library",
        ))
    } else {
        catch(body).and_then(|outcome| outcome)
    };
    let Err(error) = outcome else {
        write(error_out, ptr::null_mut());
        return VMDK_STATUS_OK;
    };
    if let Some(out) = error_out {
        match catch(|| handle::make(vmdk_error::new(&error))) {
            Ok(object) => {
                out.write(object);
            }
            Err(_) => {
                out.write(ptr::null_mut());
                return VMDK_STATUS_PANIC;
            }
        }
    }
    status_of(error.kind())
}

/// As [`guard`], with `body` on a thread of the library's own: it may take long, and more stack than the caller has.
pub(super) fn guard_apart(
    error_out: ErrorOut<'_>,
    body: impl FnOnce() -> Result<()>,
) -> vmdk_status {
    guard(error_out, || apart::run(|| catch(body)?))
}

/// Runs a body that returns nothing, and stops its panics.
pub(super) fn quietly(body: impl FnOnce()) {
    // A function that returns nothing has no way to tell.
    let _ = catch(body);
}

/// Runs code of the caller's on the thread that called into the library, or on this one where none waits for it; calls
/// that it makes into the library are refused.
pub(super) fn outward<T>(callback: impl FnOnce() -> T) -> T {
    apart::on_calling_thread(|| inside(callback))
}

fn inside<T>(callback: impl FnOnce() -> T) -> T {
    struct Inside;
    impl Drop for Inside {
        fn drop(&mut self) {
            let _ = CALLBACKS.try_with(|depth| depth.set(depth.get().saturating_sub(1)));
        }
    }
    // The thread's storage is gone only while it ends, and then nothing is called back.
    let _ = CALLBACKS.try_with(|depth| depth.set(depth.get() + 1));
    let _inside = Inside;
    callback()
}

/// Whether the calling thread is inside a callback.
pub(super) fn inside_callback() -> bool {
    CALLBACKS.try_with(|depth| depth.get() > 0).unwrap_or(false)
}

fn write(error_out: ErrorOut<'_>, object: *mut vmdk_error) {
    if let Some(out) = error_out {
        out.write(object);
    }
}

fn catch<T>(body: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(body)).map_err(|payload| {
        let what = describe(payload.as_ref());
        // Dropping the payload runs foreign code that may panic again; that second payload is
        // leaked rather than dropped.
        if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(second);
        }
        Error::new(Kind::Panic, format!("a defect of vmdk_backup: {what}"))
            .remedy("please report it; free the handles concerned")
    })
}

fn describe(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "panic without a text".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::{vmdk_error_free, vmdk_error_message, vmdk_error_status};
    use super::super::status::VMDK_STATUS_REENTRANT;
    use super::*;
    use std::ffi::CStr;

    fn fail_with(body: impl FnOnce() -> Result<()>) -> (vmdk_status, String) {
        let mut out = MaybeUninit::uninit();
        let status = guard(Some(&mut out), body);
        // SAFETY: `guard` always writes its output, and an error lives until it is freed.
        unsafe {
            let error = out.assume_init();
            assert_eq!(vmdk_error_status(error), status);
            let message = CStr::from_ptr(vmdk_error_message(error));
            let message = message.to_str().unwrap().to_owned();
            vmdk_error_free(error);
            (status, message)
        }
    }

    #[test]
    fn a_panic_becomes_a_status_and_its_text() {
        let (status, message) = fail_with(|| panic!("on purpose {}", 1));
        assert_eq!(status, VMDK_STATUS_PANIC);
        assert!(message.contains("on purpose 1"), "{message}");
    }

    #[test]
    fn a_payload_that_panics_when_dropped_is_stopped_too() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("twice on purpose");
            }
        }
        let (status, _) = fail_with(|| std::panic::panic_any(Bomb));
        assert_eq!(status, VMDK_STATUS_PANIC);
    }

    #[test]
    fn a_call_from_a_callback_is_refused_and_the_next_one_is_not() {
        let (status, _) = fail_with(|| {
            let inner = outward(|| guard(None, || Ok(())));
            assert_eq!(inner, VMDK_STATUS_REENTRANT);
            Err(Error::new(Kind::Reentrant, "seen"))
        });
        assert_eq!(status, VMDK_STATUS_REENTRANT);
        assert_eq!(guard(None, || Ok(())), VMDK_STATUS_OK);
    }

    #[test]
    fn a_panicking_callback_leaves_the_thread_usable() {
        let (status, _) = fail_with(|| outward(|| panic!("in the callback")));
        assert_eq!(status, VMDK_STATUS_PANIC);
        assert!(!inside_callback());
    }
}

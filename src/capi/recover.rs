//! Recovery: what a process that died left behind is finished or undone.

use super::cancel::{self, vmdk_cancel};
use super::client::vmdk_client;
use super::error::vmdk_error;
use super::guard::{guard_apart, outward};
use super::handle;
use super::sized::{self, Growing};
use super::status::vmdk_status;
use super::text::flag;
use crate::ops::{Outcome, RecoverOptions, Recovered, recover};
use std::ffi::{CString, c_char, c_void};
use std::time::Duration;

/// What became of one thing that recovery found. A later version may add numbers.
pub type vmdk_outcome = i32;

/// Taken away, or the restore it belongs to was finished. In a dry run: it would be.
pub const VMDK_OUTCOME_DONE: vmdk_outcome = 0;
/// Left alone: its operation may be alive.
pub const VMDK_OUTCOME_SKIPPED: vmdk_outcome = 1;
/// Tried in vain; the next recovery tries again.
pub const VMDK_OUTCOME_FAILED: vmdk_outcome = 2;

/// Told of each thing that was found, on the thread that called vmdk_recover(): the id of the
/// operation that left it behind, and in words what it is and what was done. The strings are valid
/// during the call.
pub type vmdk_recovered_callback = Option<
    unsafe extern "C-unwind" fn(
        user_data: *mut c_void,
        outcome: vmdk_outcome,
        operation_id: *const c_char,
        what: *const c_char,
    ),
>;

/// How recovery goes about it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct vmdk_recover_options {
    /// sizeof(vmdk_recover_options).
    pub struct_size: usize,
    /// Non-zero: only tell what would be done.
    pub dry_run: u32,
    /// What is tagged on the server but has no journal in state_dir may belong to an operation that
    /// is alive on another host. Such an operation renews its tag at least every two minutes, and is
    /// left alone until its last sign of life is this old, in seconds; 0 = 24 hours; less than 360
    /// (three renewals) means 360. All times are the server's: the clocks of hosts do not matter.
    /// The same holds for a journal of another host in a state_dir on a file system that hosts share.
    /// What has a journal here is recovered at once when its process is dead, and never before.
    pub min_age_s: u32,
    /// Told of each thing; NULL = not wanted.
    pub recovered: vmdk_recovered_callback,
    /// Passed to recovered.
    pub recovered_user_data: *mut c_void,
    /// Ends the recovery when thrown, after the step that is under way; NULL = none.
    pub cancel: *const vmdk_cancel,
}

// SAFETY: a pair of four-byte integers, pointers, and a function that may be NULL.
unsafe impl Growing for vmdk_recover_options {
    const NAME: &'static str = "vmdk_recover_options";
}

/// Finishes or undoes what operations of processes that died left on the client's server, known by
/// the journals in the client's state_dir and by the tags on the server. Touches nothing without
/// the library's tag, and nothing of an operation that is alive. A lease that such a process held on
/// a virtual machine is ended with the process's session, which needs the privilege
/// Sessions.TerminateSession; without it the report says when the lease ends by itself. May be called at any time and by
/// several processes at once; a good time is when an agent starts.
///
/// Blocks until all is done; recovered is called at the end. options may be NULL. Success means
/// that everything was looked at: what failed is an outcome of its own.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vmdk_recover(
    client: *const vmdk_client,
    options: *const vmdk_recover_options,
    error_out: Option<&mut std::mem::MaybeUninit<*mut vmdk_error>>,
) -> vmdk_status {
    guard_apart(error_out, || {
        let client = handle::borrow(client, "client")?;
        let client = client.client()?;
        if options.is_null() {
            return recover(client, RecoverOptions::default()).map(drop);
        }
        // SAFETY: the header asks for as many bytes as struct_size says.
        let options = unsafe { sized::read(options) }?;
        let vmdk_recover_options {
            struct_size: _,
            dry_run,
            min_age_s,
            recovered,
            recovered_user_data,
            cancel,
        } = options;
        let found = recover(
            client,
            RecoverOptions {
                dry_run: flag(dry_run),
                min_age: (min_age_s != 0).then(|| Duration::from_secs(min_age_s.into())),
                progress: None,
                cancel: cancel::switch(cancel)?,
            },
        )?;
        if let Some(function) = recovered {
            for Recovered {
                operation,
                what,
                outcome,
            } in found
            {
                let (operation, what) = (c_string(operation), c_string(what));
                let number = match outcome {
                    Outcome::Done => VMDK_OUTCOME_DONE,
                    Outcome::Skipped => VMDK_OUTCOME_SKIPPED,
                    Outcome::Failed => VMDK_OUTCOME_FAILED,
                };
                // SAFETY: the header asks for a function that takes these on this thread.
                outward(|| unsafe {
                    function(
                        recovered_user_data,
                        number,
                        operation.as_ptr(),
                        what.as_ptr(),
                    );
                });
            }
        }
        Ok(())
    })
}

/// Texts of the server's may hold a NUL, which would end them early.
fn c_string(text: String) -> CString {
    let bytes = text.into_bytes().into_iter().filter(|byte| *byte != 0);
    CString::new(bytes.collect::<Vec<u8>>()).unwrap_or_default()
}

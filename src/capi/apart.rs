//! Operations on a thread of the library's own, callbacks on the thread that called.
//!
//! A calling thread may have little stack, as those of many languages and servers do. It only waits here, and runs the
//! callbacks that the operation's thread hands it, one at a time.

use crate::error::{Error, Kind, Result};
use crate::runtime::spawn_thread;
use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};

thread_local! {
    /// On an operation's thread: where the calling thread waits for callbacks.
    static CALLER: RefCell<Option<Caller>> = const { RefCell::new(None) };
}

struct Caller {
    jobs: Sender<Job>,
    done: Receiver<()>,
}

/// A closure on another thread's stack.
struct Job {
    closure: *mut (),
    /// Calls and consumes the closure.
    call: unsafe fn(*mut ()),
}

// SAFETY: whoever sends a job waits until it was called, or its thread was joined, and uses nothing of it meanwhile: the
// closure is on one thread at a time.
unsafe impl Send for Job {}

impl Job {
    /// The closure must live, and not be touched, until the job was called.
    fn new<F: FnOnce()>(closure: &mut Option<F>) -> Job {
        unsafe fn call<F: FnOnce()>(closure: *mut ()) {
            // SAFETY: `new` made the pointer of this very type.
            let closure = unsafe { &mut *closure.cast::<Option<F>>() };
            if let Some(closure) = closure.take() {
                closure();
            }
        }
        Job {
            closure: std::ptr::from_mut(closure).cast(),
            call: call::<F>,
        }
    }

    /// # Safety
    /// The closure that the job was made of still lives, and nobody else uses it.
    unsafe fn call(self) {
        // SAFETY: the caller's promise.
        unsafe { (self.call)(self.closure) }
    }
}

type Caught<T> = std::result::Result<T, Box<dyn Any + Send>>;

/// Runs `body`, which must not panic, on a thread of its own and waits for it.
///
/// # Errors
/// Those of `body`; [`Kind::Io`] when there is no thread to be had; [`Kind::InvalidState`] in a child that a callback
/// made by fork() and that returned from it.
pub(super) fn run<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    let (jobs, incoming) = channel::<Job>();
    let (answer, done) = channel();
    let mut outcome = None;
    let mut work = Some(|| outcome = Some(body()));
    let job = Job::new(&mut work);
    let thread = spawn_thread("vmdk-operation", move || {
        CALLER.set(Some(Caller { jobs, done }));
        // SAFETY: the calling thread joins this one before it leaves `run`, but in a child that has not this thread.
        unsafe { job.call() };
        // The calling thread waits for this end.
        CALLER.set(None);
    })
    .map_err(|e| Error::io("start the operation's thread", &e))?;
    let process = std::process::id();
    while let Ok(callback) = incoming.recv() {
        // SAFETY: `on_calling_thread` waits for the answer.
        unsafe { callback.call() };
        if std::process::id() != process {
            let message = "a callback returned in a child that it made by fork()";
            return Err(Error::new(Kind::InvalidState, message)
                .remedy("end the child in the callback, or let it execute another program"));
        }
        // The operation's thread waits for it.
        let _ = answer.send(());
    }
    // Its panics were caught.
    let _ = thread.join();
    outcome.unwrap_or_else(|| Err(Error::new(Kind::Panic, "the operation's thread panicked")))
}

/// Runs `callback` on the thread that waits in [`run`] for this one; on this one where none waits.
pub(super) fn on_calling_thread<T>(callback: impl FnOnce() -> T) -> T {
    let waiting = |caller: &RefCell<Option<Caller>>| caller.borrow().is_some();
    // The thread's storage is gone only while it ends, after its operation.
    if !CALLER.try_with(waiting).unwrap_or(false) {
        return callback();
    }
    let mut outcome: Option<Caught<T>> = None;
    let mut work = Some(|| outcome = Some(catch_unwind(AssertUnwindSafe(callback))));
    let job = Job::new(&mut work);
    CALLER.with_borrow(|caller| {
        if let Some(Caller { jobs, done }) = caller
            && jobs.send(job).is_ok()
        {
            let _ = done.recv();
        }
    });
    match outcome {
        Some(Ok(value)) => value,
        Some(Err(panic)) => resume_unwind(panic),
        None => unreachable!("the calling thread waits for this one's end"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn the_work_is_elsewhere_and_its_callbacks_are_here() {
        let here = thread::current().id();
        let mut seen = Vec::new();
        let there = run(|| {
            for number in 0..3 {
                on_calling_thread(|| seen.push((number, thread::current().id())));
            }
            Ok(thread::current().id())
        });
        assert_ne!(there.unwrap(), here);
        assert_eq!(seen, [(0, here), (1, here), (2, here)]);
        assert_eq!(on_calling_thread(|| thread::current().id()), here);
    }

    #[test]
    fn a_panic_of_a_callback_is_the_works() {
        let caught = run(|| {
            let caught = catch_unwind(|| on_calling_thread(|| panic!("in the callback")));
            Ok(*caught.unwrap_err().downcast_ref::<&str>().unwrap())
        });
        assert_eq!(caught.unwrap(), "in the callback");
    }

    #[test]
    fn work_that_dies_is_a_panic() {
        let died: Result<()> = run(|| panic!("on purpose"));
        assert_eq!(died.unwrap_err().kind(), Kind::Panic);
    }

    #[test]
    fn a_small_stack_will_do() {
        let outcome = thread::Builder::new().stack_size(16 << 10).spawn(|| {
            run(|| {
                let large = std::hint::black_box([1_u8; 512 << 10]);
                Ok(on_calling_thread(|| usize::from(large[17])))
            })
        });
        assert_eq!(outcome.unwrap().join().unwrap().unwrap(), 1);
    }
}

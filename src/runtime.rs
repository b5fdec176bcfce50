//! The stair between the caller's threads and the one thread that owns sockets and timers.
//!
//! A current-thread tokio runtime on a thread of the library's own: futures never run on a
//! caller's thread, so a slow callback cannot starve a timer, and a host's own runtime is never
//! entered. The thread blocks every signal: a vectored write to a closed socket would otherwise
//! raise SIGPIPE in a host that never asked for it.

use crate::error::{Error, Kind, Result};
use nix::sys::signal::{SigSet, SigmaskHow};
use std::future::Future;
use std::io;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// How often a waiting caller looks up: to report progress and to see a cancel.
pub const TICK: Duration = Duration::from_millis(200);

/// Threads that tokio may start to resolve host names.
const RESOLVER_THREADS: usize = 4;

/// Stack of each thread of the library's, whatever the environment or a limit says.
const STACK: usize = 2 << 20;

/// Owns the I/O thread; dropping it stops every task and joins the thread.
pub struct Runtime {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    pid: u32,
}

impl Runtime {
    /// Starts the I/O thread.
    ///
    /// # Errors
    /// [`Kind::Io`] when the operating system has no thread or no descriptor to give.
    pub fn new() -> Result<Runtime> {
        let tokio = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(RESOLVER_THREADS)
            .thread_name("vmdk-resolve")
            .thread_stack_size(STACK)
            .build()
            .map_err(|e| Error::io("start the event loop", &e))?;
        let handle = tokio.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = spawn_thread("vmdk-io", move || {
            // An error means that the sender is gone: that is the signal, too.
            let _ = tokio.block_on(stopped);
            tokio.shutdown_background();
        })
        .map_err(|e| Error::io("start the I/O thread", &e))?;
        Ok(Runtime {
            handle,
            stop: Some(stop),
            thread: Some(thread),
            pid: std::process::id(),
        })
    }

    /// Starts `future` on the I/O thread and returns at once.
    pub fn spawn<F>(&self, future: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle.spawn(future)
    }

    /// Runs `future` on the I/O thread and blocks the calling thread until it is done.
    ///
    /// `tick` runs on the calling thread every [`TICK`]; when it fails the future is dropped
    /// where it stands and `tick`'s error is returned.
    ///
    /// # Errors
    /// Those of the future and of `tick`; [`Kind::InvalidState`] in a forked child, where the
    /// I/O thread does not exist; [`Kind::Panic`] when the future panicked.
    pub fn run<T, F>(&self, tick: &mut dyn FnMut() -> Result<()>, future: F) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        self.check_process()?;
        let (done, outcome) = sync_channel(1);
        let task = self.handle.spawn(async move {
            // The receiver is gone when the caller gave up waiting.
            let _ = done.send(future.await);
        });
        loop {
            match outcome.recv_timeout(TICK) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Timeout) => {
                    if let Err(error) = tick() {
                        task.abort();
                        return Err(error);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::new(Kind::Panic, "a task of the library panicked"));
                }
            }
        }
    }

    /// # Errors
    /// [`Kind::InvalidState`] in a child of the process that made this runtime.
    pub fn check_process(&self) -> Result<()> {
        if self.pid == std::process::id() {
            return Ok(());
        }
        Err(Error::new(
            Kind::InvalidState,
            "this client was made by another process (fork)",
        )
        .remedy("connect again in the child"))
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // After a fork the thread is not in this process, and joining it would hang.
            if self.pid == std::process::id() {
                let _ = thread.join();
            }
        }
    }
}

/// Starts a thread of the library's own with every signal blocked, so that no handler of the
/// host ever runs on it and SIGPIPE cannot end the process.
///
/// # Errors
/// Those of the operating system.
pub fn spawn_thread(
    name: &str,
    body: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let builder = Builder::new().name(name.to_owned()).stack_size(STACK);
    let spawned = builder.spawn(body);
    before.thread_set_mask()?;
    spawned
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn a_future_runs_on_the_io_thread_with_signals_blocked() {
        let runtime = Runtime::new().unwrap();
        let (name, blocked) = runtime
            .run(&mut || Ok(()), async {
                let mask = SigSet::thread_get_mask().unwrap();
                let name = std::thread::current().name().map(str::to_owned);
                Ok((name, mask.contains(nix::sys::signal::SIGPIPE)))
            })
            .unwrap();
        assert_eq!(name.as_deref(), Some("vmdk-io"));
        assert!(blocked);
    }

    #[test]
    fn a_failing_tick_drops_the_future() {
        struct Flag(Arc<AtomicBool>);
        impl Drop for Flag {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let dropped = Arc::new(AtomicBool::new(false));
        let flag = Flag(dropped.clone());
        let runtime = Runtime::new().unwrap();
        let result: Result<()> = runtime.run(
            &mut || Err(Error::new(Kind::Cancelled, "enough")),
            async move {
                let _flag = flag;
                std::future::pending().await
            },
        );
        assert_eq!(result.unwrap_err().kind(), Kind::Cancelled);
        drop(runtime);
        assert!(dropped.load(Ordering::SeqCst));
    }

    #[test]
    fn a_panicking_future_is_an_error() {
        let runtime = Runtime::new().unwrap();
        let result: Result<()> = runtime.run(&mut || Ok(()), async { panic!("on purpose") });
        assert_eq!(result.unwrap_err().kind(), Kind::Panic);
    }
}

//! A switch that ends an operation, thrown from any thread; and what it ends on the I/O thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// Ends every operation it was given to. Cloning shares the switch.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// A switch that has not been thrown.
    pub fn new() -> Self {
        Self::default()
    }

    /// Throws the switch, for good. Returns at once; also safe in a signal handler.
    pub fn throw(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it was thrown.
    pub fn is_thrown(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Ends the pauses of one operation's requests: what waits before it asks again asks no more.
/// A request that was sent is not touched by it. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    thrown: Arc<watch::Sender<bool>>,
    tasks: bool,
}

impl Default for Stop {
    /// For work that is given up when it is thrown, the server's tasks included.
    fn default() -> Self {
        Stop {
            thrown: Arc::new(watch::Sender::new(false)),
            tasks: true,
        }
    }
}

impl Stop {
    /// For work that undoes or completes something: the server's tasks of it are never cancelled.
    pub(crate) fn of_pauses() -> Stop {
        Stop {
            tasks: false,
            ..Stop::default()
        }
    }

    pub(crate) fn throw(&self) {
        self.thrown.send_replace(true);
    }

    /// Whether the server's tasks are to be cancelled, too, when it is thrown.
    pub(crate) fn ends_tasks(&self) -> bool {
        self.tasks
    }

    /// Resolves when it is thrown.
    pub(crate) async fn thrown(&self) {
        // The sender lives as long as this.
        let _ = self.thrown.subscribe().wait_for(|thrown| *thrown).await;
    }

    /// Sleeps for `pause`; false as soon as it is thrown.
    pub(crate) async fn sleep(&self, pause: Duration) -> bool {
        tokio::time::timeout(pause, self.thrown()).await.is_err()
    }
}

//! Requests that must still be made when the operation that owes them is being given up.

use super::Session;
use crate::cancel::Stop;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinHandle;

/// Started by drops, waited for by the operation's end. Cloning shares the list.
#[derive(Clone)]
pub struct Cleanup {
    work: Arc<Mutex<Vec<JoinHandle<()>>>>,
    /// Ends the pauses of what was started, not those of the operation.
    stop: Stop,
}

impl Default for Cleanup {
    fn default() -> Self {
        Cleanup {
            work: Arc::default(),
            stop: Stop::of_pauses(),
        }
    }
}

impl Cleanup {
    /// Starts `work` on the session's I/O thread; it gets a session whose pauses are its own.
    pub fn spawn<F>(&self, session: &Session, work: impl FnOnce(Session) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let work = work(session.with_stop(self.stop.clone()));
        self.lock().push(session.spawn(work));
    }

    /// From now on what fails is not tried again.
    pub(crate) fn hurry(&self) {
        self.stop.throw();
    }

    /// Waits for all that was started.
    pub async fn finish(self) {
        loop {
            let Some(work) = self.lock().pop() else {
                return;
            };
            // A panic in one is no reason to leave the others.
            let _ = work.await;
        }
    }

    /// Whether nothing was started, or all was waited for.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Requests that must still be made when the operation that owes them is being given up.

use super::Session;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinHandle;

/// Started by drops, waited for by the operation's end. Cloning shares the list.
#[derive(Clone, Default)]
pub struct Cleanup(Arc<Mutex<Vec<JoinHandle<()>>>>);

impl Cleanup {
    /// Starts `work` on the session's I/O thread.
    pub fn spawn(&self, session: &Session, work: impl Future<Output = ()> + Send + 'static) {
        self.lock().push(session.spawn(work));
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

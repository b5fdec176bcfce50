//! A fixed number of buffers that go round: the only back-pressure, and the bound of memory.
//!
//! A producer takes a free slab, fills it and passes it on as [`Bytes`]; when the last clone is
//! dropped, wherever that is, the slab is free again. A producer that finds none free waits.

use crate::error::Result;
use bytes::Bytes;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a slab holds: large enough that hand-overs cost nothing, small enough to stay in cache.
pub const SLAB_BYTES: usize = 1 << 20;

/// Slabs of one stream: one being filled, one being written, the others with the stream's workers.
pub const SLABS: usize = 8;

/// Slabs begin at a multiple of this: the kernel and libc copy to and from there half again as fast as from 16 bytes
/// beside it, where an allocator puts large buffers (measured with 1 MiB writes on Zen 4).
const ALIGNMENT: usize = 64;

/// Bytes that are copied at once. With more, glibc before its bug 30994 was mended uses `rep movsb`, on AMD slower by a
/// factor of ten where the target is 1 to 15 bytes ahead of the source modulo 4096 (on Zen 4: 3.4 against 44 GB/s).
const PIECE: usize = 2048;

/// Hands out slabs. Cloning shares them.
#[derive(Clone)]
pub struct SlabPool {
    free: Arc<Free>,
    permits: Arc<Semaphore>,
}

/// The slabs that are free, and who waits for one without being a task.
#[derive(Default)]
struct Free {
    slabs: Mutex<Vec<Vec<u8>>>,
    freed: Condvar,
}

/// A slab being filled: at most [`SLAB_BYTES`].
pub struct Slab {
    bytes: Vec<u8>,
    /// Where in `bytes` it begins.
    start: usize,
    free: Arc<Free>,
    permit: Option<OwnedSemaphorePermit>,
}

impl SlabPool {
    /// A pool of `slabs`, allocated when first taken.
    pub fn new(slabs: usize) -> Self {
        SlabPool {
            free: Arc::default(),
            permits: Arc::new(Semaphore::new(slabs)),
        }
    }

    /// Waits for a free slab, empty.
    pub async fn take(&self) -> Slab {
        let permit = match self.permits.clone().acquire_owned().await {
            Ok(permit) => permit,
            Err(_) => unreachable!("the semaphore is never closed"),
        };
        self.slab(permit)
    }

    /// Waits for a free slab, empty, on a thread that is not the I/O thread; `tick` runs at least
    /// every `interval` meanwhile.
    ///
    /// # Errors
    /// That of `tick`, which ends the wait.
    pub fn wait(&self, interval: Duration, tick: &mut dyn FnMut() -> Result<()>) -> Result<Slab> {
        loop {
            let slabs = self.free.lock();
            if let Ok(permit) = self.permits.clone().try_acquire_owned() {
                drop(slabs);
                return Ok(self.slab(permit));
            }
            let waited = self.free.freed.wait_timeout(slabs, interval);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
            tick()?;
        }
    }

    fn slab(&self, permit: OwnedSemaphorePermit) -> Slab {
        let recycled = self.free.lock().pop();
        let mut bytes = recycled.unwrap_or_else(|| Vec::with_capacity(ALIGNMENT + SLAB_BYTES));
        let start = bytes.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        bytes.resize(start, 0);
        Slab {
            bytes,
            start,
            free: self.free.clone(),
            permit: Some(permit),
        }
    }
}

impl Free {
    fn lock(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.slabs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slab {
    /// Appends as much of `bytes` as there is room for, and says how much that was.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(SLAB_BYTES - self.as_ref().len());
        for piece in bytes[..taken].chunks(PIECE) {
            self.bytes.extend_from_slice(piece);
        }
        taken
    }

    /// The whole slab, to be read into; [`Slab::truncate`] says afterwards how much is meant.
    pub fn space(&mut self) -> &mut [u8] {
        self.bytes.resize(self.start + SLAB_BYTES, 0);
        &mut self.bytes[self.start..]
    }

    /// Keeps the first `length` bytes.
    pub fn truncate(&mut self, length: usize) {
        self.bytes.truncate(self.start + length);
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.as_ref().is_empty()
    }

    /// Whether nothing more fits.
    pub fn is_full(&self) -> bool {
        self.as_ref().len() == SLAB_BYTES
    }

    /// Passes the slab on; it is free again when the last clone of the result is dropped.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Slab {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        let mut slabs = self.free.lock();
        slabs.push(bytes);
        // Under the lock: whoever has just looked in vain waits already.
        drop(self.permit.take());
        drop(slabs);
        self.free.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Runtime;

    #[test]
    fn a_slab_is_free_again_when_its_last_clone_is_dropped() {
        let runtime = Runtime::new().unwrap();
        let pool = SlabPool::new(1);
        let take = || {
            let pool = pool.clone();
            runtime.run(&mut || Ok(()), async move { Ok(pool.take().await) })
        };
        let mut slab = take().unwrap();
        assert_eq!(slab.append(b"abc"), 3);
        let bytes = slab.freeze();
        let part = bytes.slice(1..);
        drop(bytes);
        assert_eq!(pool.permits.available_permits(), 0);
        assert_eq!(&part[..], b"bc");
        drop(part);
        assert!(take().unwrap().is_empty());
    }

    #[test]
    fn a_thread_waits_for_a_slab_and_looks_up_meanwhile() {
        let pool = SlabPool::new(1);
        let soon = Duration::from_millis(1);
        let mut ticks = 0;
        let mut held = Some(pool.wait(soon, &mut || Ok(())).unwrap().freeze());
        let mut tick = || {
            ticks += 1;
            if ticks == 3 {
                held = None;
            }
            Ok(())
        };
        pool.wait(soon, &mut tick).unwrap();
        assert!(ticks >= 3);
    }
}

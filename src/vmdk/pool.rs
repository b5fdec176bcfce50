//! The worker threads of one stream, and the queue before them.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use bytes::Bytes;

use super::decode::DiskSink;
use super::flaw::Flaw;
use super::fold::{Fold, Whole};
use super::header::Header;
use super::lane::{Lane, Permit, digests, sha256_so_far};
use super::options::CheckOptions;
use super::walk::Grain;
use super::worker::{Batch, Shared, State, work};

/// Digests of a stream without a flaw, and what its grains hold.
pub(crate) struct Yield {
    pub(crate) sink: Option<Arc<dyn DiskSink>>,
    /// Both are of nothing where no hash was asked for.
    pub(crate) sha256: [u8; 32],
    pub(crate) sha1: Option<[u8; 20]>,
    pub(crate) whole: Whole,
}

/// Workers that hash slabs in order and inflate batches of grains in any.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    in_flight: Arc<AtomicUsize>,
    most: usize,
    next: u64,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Workers that write the disk to `sink`, if there is one, and hash the stream and the disk, if asked to.
    pub(crate) fn new(
        options: &CheckOptions,
        sink: Option<Arc<dyn DiskSink>>,
        hash: bool,
    ) -> io::Result<Pool> {
        let state = State {
            lanes: Lane::all(options.sha1),
            batches: VecDeque::new(),
            inflating: 0,
            header: None,
            fold: Fold::new(hash, sink.is_some()),
            sink,
            hash,
            spare: Vec::new(),
            closed: false,
            broken: false,
            idle: 0,
            awaited: false,
        };
        let mut pool = Pool {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                work: Condvar::new(),
                done: Condvar::new(),
            }),
            in_flight: Arc::default(),
            most: options.in_flight,
            next: 0,
            threads: Vec::new(),
        };
        for _ in 0..options.threads.max(1) {
            let shared = Arc::clone(&pool.shared);
            pool.threads.push((options.spawn)(
                "vmdk-check",
                Box::new(move || work(&shared)),
            )?);
        }
        Ok(pool)
    }

    /// The grains that follow are of this disk.
    pub(crate) fn set_header(&self, header: &Header) {
        self.shared.lock().header = Some(Arc::new(header.clone()));
    }

    /// Takes a slab, once there is room for it, and has it hashed; the permit is for the batches that borrow it too.
    pub(crate) fn admit(&self, slab: &Bytes) -> Arc<Permit> {
        let mut state = self.shared.lock();
        while !state.broken {
            let in_flight = self.in_flight.load(Ordering::Acquire);
            if in_flight == 0 || in_flight + slab.len() <= self.most {
                break;
            }
            state = self.shared.wait_done(state);
        }
        let permit = Permit::new(slab.len(), &self.in_flight);
        if state.hash {
            for at in 0..state.lanes.len() {
                state.lanes[at].push(slab, &permit);
                self.shared.offer(&mut state);
            }
        }
        permit
    }

    /// Has grains inflated; leaves an empty vector in their place.
    pub(crate) fn inflate(&mut self, grains: &mut Vec<Grain>, permit: &Arc<Permit>) {
        let mut state = self.shared.lock();
        let spare = state.spare.pop().unwrap_or_default();
        state.batches.push_back(Batch {
            number: self.next,
            grains: std::mem::replace(grains, spare),
            permit: Arc::clone(permit),
        });
        self.next += 1;
        self.shared.offer(&mut state);
    }

    /// Whether the workers found a flaw.
    pub(crate) fn found(&mut self) -> bool {
        let state = self.shared.lock();
        let (found, broken) = (state.fold.flaw().is_some(), state.broken);
        drop(state);
        if broken {
            self.join();
        }
        found
    }

    /// Waits until all grains are inflated; the flaw nearest to the start of the stream, if they have one.
    pub(crate) fn settle(&mut self) -> Option<Flaw> {
        let mut state = self.shared.lock();
        while !state.broken && (state.inflating > 0 || !state.batches.is_empty()) {
            state = self.shared.wait_done(state);
        }
        let (flaw, broken) = (state.fold.flaw().cloned(), state.broken);
        drop(state);
        if broken {
            self.join();
        }
        flaw
    }

    /// Waits until all slabs are hashed; their SHA-256. `None` when a worker panicked, which
    /// [`Pool::finish`] tells.
    pub(crate) fn sha256_so_far(&self) -> Option<[u8; 32]> {
        let mut state = self.shared.lock();
        while !state.broken {
            match sha256_so_far(&state.lanes) {
                None => state = self.shared.wait_done(state),
                known => return known,
            }
        }
        None
    }

    /// Waits until all work is done and the threads have ended; the panic of one of them goes on here.
    fn join(&mut self) {
        self.shared.lock().closed = true;
        self.shared.work.notify_all();
        for thread in std::mem::take(&mut self.threads) {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }

    /// Waits until all work is done.
    pub(crate) fn finish(mut self) -> Result<Yield, Flaw> {
        self.join();
        let mut state = self.shared.lock();
        let whole = std::mem::take(&mut state.fold).finish()?;
        let (sha256, sha1) = digests(std::mem::take(&mut state.lanes));
        Ok(Yield {
            sink: state.sink.take(),
            sha256,
            sha1,
            whole,
        })
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        state.batches.clear();
        for lane in &mut state.lanes {
            lane.clear();
        }
        drop(state);
        self.shared.work.notify_all();
        for thread in std::mem::take(&mut self.threads) {
            // A panic has been printed where it happened, and a drop has nobody to tell.
            let _ = thread.join();
        }
    }
}

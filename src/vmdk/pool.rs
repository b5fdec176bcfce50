//! The worker threads of one stream: they inflate batches of grains in any order and hash the slabs in theirs.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::content::ContentDigest;
use super::flaw::{Flaw, FlawKind};
use super::header::Header;
use super::inflate::{Contents, Inflater, Unit};
use super::options::CheckOptions;
use super::scan::Grain;

/// Keeps a slab's bytes counted as in flight until the last job that borrows them is done.
pub(crate) struct Permit {
    bytes: usize,
    in_flight: Arc<AtomicUsize>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.in_flight.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// Grains that one worker inflates, whole cells of them.
pub(crate) struct Batch {
    number: u64,
    grains: Vec<Grain>,
    permit: Arc<Permit>,
}

enum Hasher {
    Sha256(Sha256),
    Sha1(Sha1),
}

impl Hasher {
    fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(sha) => sha.update(bytes),
            Hasher::Sha1(sha) => sha.update(bytes),
        }
    }
}

/// One hash over the stream. Slabs wait in order; whoever has taken the hasher works alone on it.
struct Lane {
    hasher: Option<Hasher>,
    slabs: VecDeque<(Bytes, Arc<Permit>)>,
}

impl Lane {
    fn new(hasher: Hasher) -> Lane {
        Lane {
            hasher: Some(hasher),
            slabs: VecDeque::new(),
        }
    }
}

struct State {
    lanes: [Lane; 2],
    batches: VecDeque<Batch>,
    /// Batches being inflated.
    inflating: usize,
    header: Option<Arc<Header>>,
    flaw: Option<Flaw>,
    fold: Fold,
    spare: Vec<Vec<Grain>>,
    closed: bool,
    /// A worker panicked: a defect, which `close` passes on.
    broken: bool,
}

/// Puts the outcomes of batches together in the order of the stream.
#[derive(Default)]
struct Fold {
    next: u64,
    early: BTreeMap<u64, Contents>,
    digest: Option<ContentDigest>,
    units: u64,
    populated: u64,
    short_last: bool,
    spare: Vec<Vec<Unit>>,
}

impl Fold {
    fn add(&mut self, number: u64, contents: Contents) {
        self.early.insert(number, contents);
        while let Some(mut contents) = self.early.remove(&self.next) {
            self.next += 1;
            let digest = self.digest.get_or_insert_with(ContentDigest::new);
            for &(unit, sha256) in &contents.units {
                let new = digest.push(unit, sha256);
                debug_assert!(
                    new,
                    "the scanner let each grain pass once and within the window"
                );
            }
            self.units += contents.units.len() as u64;
            self.populated += contents.populated;
            self.short_last |= contents.short_last;
            contents.units.clear();
            self.spare.push(contents.units);
        }
    }
}

struct Shared {
    state: Mutex<State>,
    /// There is work, or none will come.
    work: Condvar,
    /// A job is done.
    done: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the workers found in a stream without a flaw.
pub(crate) struct Yield {
    pub(crate) sha256: [u8; 32],
    pub(crate) sha1: [u8; 20],
    pub(crate) content_digest: [u8; 32],
    pub(crate) units: u64,
    pub(crate) populated: u64,
    pub(crate) short_last: bool,
}

pub(crate) struct Pool {
    shared: Arc<Shared>,
    in_flight: Arc<AtomicUsize>,
    most: usize,
    next: u64,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    pub(crate) fn new(options: &CheckOptions) -> io::Result<Pool> {
        let state = State {
            lanes: [
                Lane::new(Hasher::Sha256(Sha256::new())),
                Lane::new(Hasher::Sha1(Sha1::new())),
            ],
            batches: VecDeque::new(),
            inflating: 0,
            header: None,
            flaw: None,
            fold: Fold::default(),
            spare: Vec::new(),
            closed: false,
            broken: false,
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

    /// Grains that follow are of this disk.
    pub(crate) fn set_header(&self, header: &Header) {
        self.shared.lock().header = Some(Arc::new(header.clone()));
    }

    /// Hashes a slab, once there is room for it; its permit is for the batches that borrow it too.
    pub(crate) fn hash(&self, slab: &Bytes) -> Arc<Permit> {
        let mut state = self.shared.lock();
        while !state.broken {
            let in_flight = self.in_flight.load(Ordering::Acquire);
            if in_flight == 0 || in_flight + slab.len() <= self.most {
                break;
            }
            state = self
                .shared
                .done
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        self.in_flight.fetch_add(slab.len(), Ordering::AcqRel);
        let permit = Arc::new(Permit {
            bytes: slab.len(),
            in_flight: Arc::clone(&self.in_flight),
        });
        for lane in &mut state.lanes {
            lane.slabs.push_back((slab.clone(), Arc::clone(&permit)));
            self.shared.work.notify_one();
        }
        permit
    }

    /// Has grains inflated; leaves an empty vector in their place.
    pub(crate) fn inflate(&mut self, grains: &mut Vec<Grain>, permit: Arc<Permit>) {
        let mut state = self.shared.lock();
        let spare = state.spare.pop().unwrap_or_default();
        state.batches.push_back(Batch {
            number: self.next,
            grains: std::mem::replace(grains, spare),
            permit,
        });
        self.next += 1;
        self.shared.work.notify_one();
    }

    /// Whether a worker found a flaw.
    pub(crate) fn found(&mut self) -> bool {
        let state = self.shared.lock();
        let (found, broken) = (state.flaw.is_some(), state.broken);
        drop(state);
        if broken {
            self.join();
        }
        found
    }

    /// Ends the threads when their work is done, and passes on the panic of one.
    fn join(&mut self) {
        self.shared.lock().closed = true;
        self.shared.work.notify_all();
        for thread in std::mem::take(&mut self.threads) {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }

    /// Waits until all batches are inflated; the flaw nearest to the start of the stream, if there is one.
    pub(crate) fn settle(&mut self) -> Option<Flaw> {
        let mut state = self.shared.lock();
        while !state.broken && (state.inflating > 0 || !state.batches.is_empty()) {
            state = self
                .shared
                .done
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let (flaw, broken) = (state.flaw.clone(), state.broken);
        drop(state);
        if broken {
            self.join();
        }
        flaw
    }

    /// Waits until all is done.
    pub(crate) fn finish(mut self) -> Result<Yield, Flaw> {
        self.join();
        let mut state = self.shared.lock();
        if let Some(flaw) = state.flaw.take() {
            return Err(flaw);
        }
        let mut hashes = (None, None);
        for lane in &mut state.lanes {
            match lane.hasher.take() {
                Some(Hasher::Sha256(sha)) => hashes.0 = Some(sha.finalize().into()),
                Some(Hasher::Sha1(sha)) => hashes.1 = Some(sha.finalize().into()),
                None => {}
            }
        }
        let (Some(sha256), Some(sha1)) = hashes else {
            // Only a worker that died takes its hasher along, and its panic was passed on above.
            return Err(Flaw::new(
                0,
                FlawKind::Truncated,
                "the stream was not hashed",
            ));
        };
        let digest = state.fold.digest.take().unwrap_or_else(ContentDigest::new);
        Ok(Yield {
            sha256,
            sha1,
            content_digest: digest.finish(),
            units: state.fold.units,
            populated: state.fold.populated,
            short_last: state.fold.short_last,
        })
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        state.batches.clear();
        for lane in &mut state.lanes {
            lane.slabs.clear();
        }
        drop(state);
        self.shared.work.notify_all();
        for thread in std::mem::take(&mut self.threads) {
            // A panic was printed where it happened, and a drop has nobody to tell.
            let _ = thread.join();
        }
    }
}

/// Tells the others when its thread unwinds, so that nobody waits for it.
struct Alarm<'a>(&'a Shared);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().broken = true;
            self.0.done.notify_all();
        }
    }
}

/// The life of a worker.
fn work(shared: &Shared) {
    let _alarm = Alarm(shared);
    let mut inflater = None;
    let mut slabs = VecDeque::new();
    let mut state = shared.lock();
    loop {
        // Hashing first: it is the one thing that only one can do at a time.
        if let Some(lane) = state
            .lanes
            .iter()
            .position(|l| l.hasher.is_some() && !l.slabs.is_empty())
        {
            let Some(mut hasher) = state.lanes[lane].hasher.take() else {
                continue;
            };
            std::mem::swap(&mut slabs, &mut state.lanes[lane].slabs);
            drop(state);
            for (slab, permit) in slabs.drain(..) {
                hasher.update(&slab);
                drop((slab, permit));
                // Taken, so that the feeder is not between its look at the bytes in flight and its wait.
                drop(shared.lock());
                shared.done.notify_one();
            }
            state = shared.lock();
            state.lanes[lane].hasher = Some(hasher);
            shared.done.notify_all();
        } else if let Some(batch) = state.batches.pop_front() {
            state = inflate_batch(shared, state, batch, &mut inflater);
        } else if state.closed {
            return;
        } else {
            state = shared
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn inflate_batch<'a>(
    shared: &'a Shared,
    mut state: MutexGuard<'a, State>,
    batch: Batch,
    inflater: &mut Option<Inflater>,
) -> MutexGuard<'a, State> {
    let Batch {
        number,
        mut grains,
        permit,
    } = batch;
    let needless = match (&state.flaw, grains.first()) {
        (Some(flaw), Some(grain)) => flaw.offset < grain.offset,
        _ => false,
    };
    let mut outcome = Ok(());
    let mut contents = Contents {
        units: state.fold.spare.pop().unwrap_or_default(),
        ..Contents::default()
    };
    let header = state.header.clone();
    if let (false, Some(header)) = (needless, header) {
        state.inflating += 1;
        drop(state);
        let inflater = inflater.get_or_insert_with(|| Inflater::new(&header));
        outcome = inflater.inflate(&grains, &mut contents);
        grains.clear();
        drop(permit);
        state = shared.lock();
        state.inflating -= 1;
    } else {
        grains.clear();
    }
    state.spare.push(grains);
    match outcome {
        Ok(()) => state.fold.add(number, contents),
        Err(flaw) => {
            if state
                .flaw
                .as_ref()
                .is_none_or(|known| flaw.offset < known.offset)
            {
                state.flaw = Some(flaw);
            }
        }
    }
    shared.done.notify_all();
    state
}

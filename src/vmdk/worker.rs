//! The life of a worker thread.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::decode::DiskSink;
use super::fold::Fold;
use super::header::Header;
use super::inflate::{Inflater, not_written};
use super::lane::{Lane, Permit, Slabs};
use super::walk::Grain;

/// Grains that one worker inflates: whole units of the disk, in the order of the stream.
pub(crate) struct Batch {
    pub(crate) number: u64,
    pub(crate) grains: Vec<Grain>,
    pub(crate) permit: Arc<Permit>,
}

/// The work at hand and what came of it.
pub(crate) struct State {
    pub(crate) lanes: Vec<Lane>,
    pub(crate) batches: VecDeque<Batch>,
    /// Batches that workers are at.
    pub(crate) inflating: usize,
    /// What the grains are of; known before the first one.
    pub(crate) header: Option<Arc<Header>>,
    pub(crate) sink: Option<Arc<dyn DiskSink>>,
    /// Units are hashed.
    pub(crate) hash: bool,
    pub(crate) fold: Fold,
    /// Emptied vectors of batches, to be filled again.
    pub(crate) spare: Vec<Vec<Grain>>,
    /// No more work will come.
    pub(crate) closed: bool,
    /// A worker panicked, which is a defect; nobody must wait for it.
    pub(crate) broken: bool,
    /// Workers that wait for work and were not woken yet.
    pub(crate) idle: usize,
    /// The feeding thread waits until some work is done, and was not woken yet.
    pub(crate) awaited: bool,
}

/// What the feeding thread and the workers share.
pub(crate) struct Shared {
    pub(crate) state: Mutex<State>,
    /// There is work, or no more will come.
    pub(crate) work: Condvar,
    /// Some work is done.
    pub(crate) done: Condvar,
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until some work is done.
    pub(crate) fn wait_done<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.awaited = true;
        self.done
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes a worker for new work, if one waits: a call of the kernel for each batch would be wasted.
    pub(crate) fn offer(&self, state: &mut State) {
        if state.idle > 0 {
            state.idle -= 1;
            self.work.notify_one();
        }
    }

    /// Wakes the feeding thread, if it waits.
    fn tell_done(&self, state: &mut State) {
        if std::mem::take(&mut state.awaited) {
            self.done.notify_one();
        }
    }
}

/// Tells the others when its thread panics.
struct Alarm<'a>(&'a Shared);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().broken = true;
            self.0.done.notify_all();
        }
    }
}

/// Works until no more work will come.
pub(crate) fn work(shared: &Shared) {
    let _alarm = Alarm(shared);
    let mut inflater = None;
    let mut slabs = Slabs::new();
    let mut state = shared.lock();
    loop {
        // Hashing first: nothing else has to be done by one worker alone, so it must not be left for the end.
        let hash = state
            .lanes
            .iter_mut()
            .enumerate()
            .find_map(|(at, lane)| Some((at, lane.begin(&mut slabs)?)));
        if let Some((at, mut hasher)) = hash {
            drop(state);
            for (slab, permit) in slabs.drain(..) {
                hasher.update(&slab);
                drop((slab, permit));
                shared.tell_done(&mut shared.lock());
            }
            state = shared.lock();
            state.lanes[at].end(hasher);
            shared.tell_done(&mut state);
        } else if let Some(batch) = state.batches.pop_front() {
            state = inflate(shared, state, batch, &mut inflater);
            shared.tell_done(&mut state);
        } else if state.closed {
            return;
        } else {
            state.idle += 1;
            state = shared
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Inflates a batch, unless a flaw nearer to the start makes it needless.
fn inflate<'a>(
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
    let first = grains.first().map_or(u64::MAX, |grain| grain.offset);
    let needless = state.fold.flaw().is_some_and(|flaw| flaw.offset < first);
    if let (false, Some(header)) = (needless, state.header.clone()) {
        let mut contents = state.fold.contents();
        let (sink, hash) = (state.sink.clone(), state.hash);
        state.inflating += 1;
        drop(state);
        let inflater = inflater.get_or_insert_with(|| Inflater::new(&header, sink.clone(), hash));
        let outcome = inflater.inflate(&grains, &mut contents);
        grains.clear();
        drop(permit);
        state = shared.lock();
        match outcome {
            Ok(()) => {
                state.fold.add(number, contents);
                state = zeros(shared, state, sink.as_deref(), first);
            }
            Err(flaw) => state.fold.fail(flaw),
        }
        state.inflating -= 1;
    }
    grains.clear();
    state.spare.push(grains);
    state
}

/// Tells the sink of the ranges of zeros that are known by now, when the stream is at byte `offset`.
fn zeros<'a>(
    shared: &'a Shared,
    mut state: MutexGuard<'a, State>,
    sink: Option<&dyn DiskSink>,
    offset: u64,
) -> MutexGuard<'a, State> {
    let gaps = state.fold.take_gaps();
    let Some(sink) = sink.filter(|_| !gaps.is_empty()) else {
        return state;
    };
    drop(state);
    let outcome = gaps.into_iter().try_for_each(|gap| sink.zeros(gap));
    state = shared.lock();
    if let Err(error) = outcome {
        state.fold.fail(not_written(offset, &error));
    }
    state
}

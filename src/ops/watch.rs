//! What the caller hears of an operation, and by what the caller ends it.

use crate::cancel::Cancel;
use crate::error::{Error, Kind, Phase, Result};
use crate::runtime::TICK;
use crate::slab::{Slab, SlabPool};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// What a progress callback is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The part of the operation under way.
    pub phase: Phase,
    /// Bytes of the disk (transfer) or of the file (service) done so far; 0 in other phases.
    pub done: u64,
    /// What `done` grows to; 0 where that is unknown or means nothing.
    pub total: u64,
}

/// Told of progress on the calling thread; `Break` cancels the operation.
pub type ProgressFn<'a> = Box<dyn FnMut(Progress) -> ControlFlow<()> + 'a>;

/// The longest silence between two progress calls while the library itself is at work.
const REPORT_INTERVAL: Duration = Duration::from_millis(500);

/// Ends in `Err` as soon as the caller wants the end.
pub(super) struct Watch<'a> {
    report: Option<ProgressFn<'a>>,
    cancel: Option<Cancel>,
    deadline: Option<(Instant, Duration)>,
    now: Progress,
    reported: Instant,
    /// Why the operation is to end. It stays: a callback is not asked for it again.
    stopped: Option<String>,
}

impl<'a> Watch<'a> {
    /// From now on, ending after `deadline`.
    pub(super) fn new(
        report: Option<ProgressFn<'a>>,
        cancel: Option<Cancel>,
        deadline: Option<Duration>,
    ) -> Self {
        Watch {
            report,
            cancel,
            deadline: deadline.map(|limit| (Instant::now(), limit)),
            now: at(Phase::Prepare, 0),
            reported: Instant::now(),
            stopped: None,
        }
    }

    pub(super) fn phase(&self) -> Phase {
        self.now.phase
    }

    /// Enters a phase that will do `total` bytes (0: no telling), and says so to the caller.
    pub(super) fn enter(&mut self, phase: Phase, total: u64) -> Result<()> {
        self.now = at(phase, total);
        self.report()
    }

    /// Enters a phase in which the caller cannot stop the operation any more.
    pub(super) fn set_phase(&mut self, phase: Phase) {
        self.now = at(phase, 0);
    }

    /// Records how far the phase is, and tells the caller when it is time to.
    pub(super) fn reach(&mut self, done: u64) -> Result<()> {
        self.now.done = done.max(self.now.done);
        if self.now.total > 0 {
            self.now.done = self.now.done.min(self.now.total);
        }
        self.tick()
    }

    /// The phase has done all its bytes: says so to the caller, also where the last of them were
    /// zeros that nobody moved.
    pub(super) fn complete(&mut self) -> Result<()> {
        self.now.done = self.now.total;
        self.report()
    }

    /// To be called whenever the calling thread looks up: sees a cancel, reports when due.
    pub(super) fn tick(&mut self) -> Result<()> {
        self.see_cancel();
        if self.stopped.is_none() && self.reported.elapsed() >= REPORT_INTERVAL {
            self.tell();
        }
        self.outcome()
    }

    /// As [`Watch::tick`], for what goes on after a cancel: reports then, too. Whether the
    /// operation is to end.
    pub(super) fn attend(&mut self) -> bool {
        if self.reported.elapsed() >= REPORT_INTERVAL {
            self.tell();
        }
        self.see_cancel();
        self.stopped.is_some()
    }

    /// Why the operation is to end, if it is.
    pub(super) fn stopped(&self) -> Option<&str> {
        self.stopped.as_deref()
    }

    /// Waits for a free slab.
    pub(super) fn slab(&mut self, pool: &SlabPool) -> Result<Slab> {
        pool.wait(TICK, &mut || self.tick())
    }

    fn report(&mut self) -> Result<()> {
        self.see_cancel();
        if self.stopped.is_none() {
            self.tell();
        }
        self.outcome()
    }

    fn tell(&mut self) {
        self.reported = Instant::now();
        if let Some(report) = &mut self.report
            && report(self.now).is_break()
        {
            self.stop("the progress callback asked for the end".into());
        }
    }

    fn see_cancel(&mut self) {
        if self.cancel.as_ref().is_some_and(Cancel::is_thrown) {
            self.stop("the cancel switch was thrown".into());
        }
        if let Some((since, limit)) = self.deadline
            && since.elapsed() >= limit
        {
            let limit = limit.as_secs_f64();
            self.stop(format!("the deadline of {limit} s has passed"));
        }
    }

    fn stop(&mut self, why: String) {
        self.stopped.get_or_insert(why);
    }

    fn outcome(&self) -> Result<()> {
        match &self.stopped {
            Some(why) => Err(Error::new(Kind::Cancelled, why.clone())),
            None => Ok(()),
        }
    }
}

fn at(phase: Phase, total: u64) -> Progress {
    Progress {
        phase,
        done: 0,
        total,
    }
}

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
        self.tick()
    }

    /// To be called whenever the calling thread looks up: sees a cancel, reports when due.
    pub(super) fn tick(&mut self) -> Result<()> {
        if self.reported.elapsed() >= REPORT_INTERVAL {
            return self.report();
        }
        self.check_cancel()
    }

    /// Waits for a free slab.
    pub(super) fn slab(&mut self, pool: &SlabPool) -> Result<Slab> {
        pool.wait(TICK, &mut || self.tick())
    }

    fn report(&mut self) -> Result<()> {
        self.check_cancel()?;
        self.reported = Instant::now();
        if let Some(report) = &mut self.report
            && report(self.now).is_break()
        {
            return Err(Error::new(
                Kind::Cancelled,
                "the progress callback asked for the end",
            ));
        }
        Ok(())
    }

    fn check_cancel(&self) -> Result<()> {
        if self.cancel.as_ref().is_some_and(Cancel::is_thrown) {
            return Err(Error::new(Kind::Cancelled, "the cancel switch was thrown"));
        }
        match self.deadline {
            Some((since, limit)) if since.elapsed() >= limit => Err(Error::new(
                Kind::Cancelled,
                format!("the deadline of {} s has passed", limit.as_secs_f64()),
            )),
            _ => Ok(()),
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

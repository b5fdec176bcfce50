//! How often, and after what pauses, what failed in passing is tried again.

use std::time::{Duration, Instant};

/// What is done about failures that pass: connections that break, servers that are restarted or
/// overloaded, objects that another task is busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// How often a request, or the transfer of a disk, is tried again; 0 = never.
    pub count: u32,
    /// Before the first of them; each further pause is twice as long, up to 30 s or to the first
    /// one, if that is longer. Up to half of
    /// each is left out at random, so that many clients do not come back all at once.
    pub pause: Duration,
    /// How long a task of somebody else's is waited for that keeps an object busy.
    pub busy: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Retries {
            count: 3,
            pause: Duration::from_millis(500),
            busy: Duration::from_secs(60),
        }
    }
}

/// No pause grows beyond this.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// An object that another task is busy with is tried again at least that often.
const LONGEST_BUSY_PAUSE: Duration = Duration::from_secs(5);

impl Retries {
    /// The pauses of one undertaking.
    pub(crate) fn pauses(self) -> Pauses {
        Pauses {
            left: self.count,
            next: self.pause,
            longest: LONGEST_PAUSE.max(self.pause),
        }
    }

    /// The pauses while something is busy: as many as it takes.
    pub(crate) fn busy(self) -> Busy {
        Busy {
            limit: self.busy,
            pauses: Pauses {
                left: u32::MAX,
                next: self.pause,
                longest: LONGEST_BUSY_PAUSE.max(self.pause),
            },
            since: None,
        }
    }
}

/// How long something is found busy.
pub(crate) struct Busy {
    limit: Duration,
    pauses: Pauses,
    since: Option<Instant>,
}

impl Busy {
    /// Until the next attempt; `None` when it has been long enough.
    pub(crate) fn pause(&mut self) -> Option<Duration> {
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() >= self.limit {
            return None;
        }
        self.pauses.next()
    }
}

/// The pauses that are left of an undertaking.
pub(crate) struct Pauses {
    left: u32,
    next: Duration,
    longest: Duration,
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.left = self.left.checked_sub(1)?;
        let pause = self.next.min(self.longest);
        self.next = pause.saturating_mul(2);
        Some(pause - (pause / 2).mul_f64(random()))
    }
}

/// From 0 to 1; where the system has no randomness to give, 0.
fn random() -> f64 {
    getrandom::u32().map_or(0.0, |number| f64::from(number) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_are_counted() {
        let retries = Retries {
            count: 9,
            pause: Duration::from_secs(1),
            ..Retries::default()
        };
        let pauses: Vec<Duration> = retries.pauses().collect();
        let longest = [1, 2, 4, 8, 16, 30, 30, 30, 30].map(Duration::from_secs);
        assert_eq!(pauses.len(), longest.len());
        for (pause, longest) in pauses.into_iter().zip(longest) {
            assert!(longest / 2 <= pause && pause <= longest, "{pause:?}");
        }
    }

    #[test]
    fn none_is_none() {
        let none = Retries {
            count: 0,
            ..Retries::default()
        };
        assert_eq!(none.pauses().next(), None);
    }
}

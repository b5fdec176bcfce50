//! The time of the simulated world: the machine's, plus whatever a test has added; its time of day may
//! be wrong by any amount.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[derive(Debug)]
pub struct Clock {
    start: Instant,
    epoch: Duration,
    added: Duration,
    /// How many seconds the time of day is ahead of the machine's.
    skew: i64,
}

impl Clock {
    pub fn new() -> Clock {
        let epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Clock {
            start: Instant::now(),
            epoch,
            added: Duration::ZERO,
            skew: 0,
        }
    }

    /// The time since the start.
    pub fn now(&self) -> Duration {
        self.start.elapsed() + self.added
    }

    /// The time of day of a moment on the machine, as an `xsd:dateTime` in UTC.
    pub fn text_of(&self, moment: Instant) -> String {
        self.text_at(moment.saturating_duration_since(self.start))
    }

    pub fn advance(&mut self, by: Duration) {
        self.added += by;
    }

    /// Sets the time of day so many seconds ahead of the machine's; nothing gets older by it.
    pub fn set_skew(&mut self, seconds: i64) {
        self.skew = seconds;
    }

    /// The time of day as an `xsd:dateTime` in UTC.
    pub fn text(&self) -> String {
        self.text_at(self.now())
    }

    pub fn text_at(&self, moment: Duration) -> String {
        let true_time = self.epoch + moment;
        let ahead = Duration::from_secs(self.skew.unsigned_abs());
        date_time(if self.skew < 0 {
            true_time.saturating_sub(ahead)
        } else {
            true_time + ahead
        })
    }
}

/// Seconds since 1970 as `2024-02-29T12:30:00.000Z`.
fn date_time(since_epoch: Duration) -> String {
    let seconds = since_epoch.as_secs();
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // Days are counted from 0000-03-01, so that a leap day is the last of its year.
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3_600, of_day % 3_600 / 60, of_day % 60);
    let millis = since_epoch.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_right_around_a_leap_day() {
        assert_eq!(
            date_time(Duration::from_secs(951_782_400)),
            "2000-02-29T00:00:00.000Z"
        );
        assert_eq!(
            date_time(Duration::from_millis(1_709_251_199_999)),
            "2024-02-29T23:59:59.999Z"
        );
        assert_eq!(
            date_time(Duration::from_secs(0)),
            "1970-01-01T00:00:00.000Z"
        );
    }
}

//! A set of numbers that arrive nearly in order, in constant memory.

/// How far behind the highest number one may still come: with units of 64 KiB, 512 MiB of disk. Writers with several
/// threads (open-vmdk) are out of order by a few grains only.
pub(crate) const WINDOW: u64 = 8192;

/// Remembers which of the last `span` numbers below the highest one were seen.
pub(crate) struct Window {
    base: u64,
    words: Vec<u64>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    New,
    Again,
    TooLate,
}

impl Window {
    /// `span` is a multiple of 64.
    pub(crate) fn new(span: u64) -> Window {
        Window {
            base: 0,
            words: vec![0; (span / 64) as usize],
        }
    }

    fn span(&self) -> u64 {
        self.words.len() as u64 * 64
    }

    fn slot(&self, number: u64) -> (usize, u64) {
        (
            (number / 64) as usize % self.words.len(),
            1 << (number % 64),
        )
    }

    /// Numbers below this one can no longer come.
    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    /// Adds a number; those that thereby fall out of the window are passed to `leave` in order.
    pub(crate) fn insert(&mut self, number: u64, leave: impl FnMut(u64)) -> Arrival {
        if number < self.base {
            return Arrival::TooLate;
        }
        if number - self.base >= self.span() {
            self.advance((number / 64 + 1) * 64 - self.span(), leave);
        }
        let (word, bit) = self.slot(number);
        if self.words[word] & bit != 0 {
            return Arrival::Again;
        }
        self.words[word] |= bit;
        Arrival::New
    }

    /// Moves the lower end up to `base`, a multiple of 64.
    fn advance(&mut self, base: u64, mut leave: impl FnMut(u64)) {
        let last = base.min(self.base + self.span());
        while self.base < last {
            let (word, _) = self.slot(self.base);
            let mut bits = std::mem::take(&mut self.words[word]);
            while bits != 0 {
                leave(self.base + u64::from(bits.trailing_zeros()));
                bits &= bits - 1;
            }
            self.base += 64;
        }
        self.base = base;
    }

    /// Passes all that is left to `leave`, in order.
    pub(crate) fn drain(&mut self, leave: impl FnMut(u64)) {
        self.advance(self.base + self.span(), leave);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_leave_in_order_whatever_order_they_came_in() {
        let mut window = Window::new(128);
        let mut left = Vec::new();
        for number in [5, 3, 127, 64, 200, 130, 5000, 4990] {
            assert_eq!(
                window.insert(number, |n| left.push(n)),
                Arrival::New,
                "{number}"
            );
        }
        assert_eq!(left, [3, 5, 64, 127, 130, 200]);
        window.drain(|n| left.push(n));
        assert_eq!(left[6..], [4990, 5000]);
    }

    #[test]
    fn a_number_is_refused_the_second_time_and_below_the_window() {
        let mut window = Window::new(64);
        assert_eq!(window.insert(70, |_| ()), Arrival::New);
        assert_eq!(window.insert(70, |_| ()), Arrival::Again);
        assert_eq!(window.insert(64, |_| ()), Arrival::New);
        assert_eq!(window.insert(63, |_| ()), Arrival::TooLate);
    }
}

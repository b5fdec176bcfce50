//! Structures that straddle slabs are copied together; all others are borrowed.

use bytes::{Bytes, BytesMut};

/// The unread bytes of the stream: what is left of earlier slabs, then the slab at hand.
#[derive(Default)]
pub(crate) struct Carry {
    held: BytesMut,
    slab: Bytes,
}

impl Carry {
    /// Adds the next slab; the one before was read to its end or its rest is held.
    pub(crate) fn feed(&mut self, slab: Bytes) {
        debug_assert!(self.slab.is_empty(), "the slab before was read");
        self.slab = slab;
    }

    /// The next `n` bytes, if they have come.
    pub(crate) fn peek(&mut self, n: usize) -> Option<&[u8]> {
        if self.held.is_empty() && self.slab.len() >= n {
            return Some(&self.slab[..n]);
        }
        self.hold(n).then(|| &self.held[..n])
    }

    /// Takes the next `n` bytes, if they have come; all others are kept for later.
    pub(crate) fn take(&mut self, n: usize) -> Option<Bytes> {
        if self.held.is_empty() && self.slab.len() >= n {
            return Some(self.slab.split_to(n));
        }
        self.hold(n).then(|| self.held.split_to(n).freeze())
    }

    /// Takes all there is of the slab at hand.
    pub(crate) fn take_all(&mut self) -> Bytes {
        if self.held.is_empty() {
            return std::mem::take(&mut self.slab);
        }
        self.held.split().freeze()
    }

    /// All bytes that came and were not taken.
    pub(crate) fn rest(&self) -> &[u8] {
        if self.held.is_empty() {
            &self.slab
        } else {
            &self.held
        }
    }

    fn hold(&mut self, n: usize) -> bool {
        let missing = n.saturating_sub(self.held.len());
        self.held.reserve(missing);
        let part = self.slab.split_to(missing.min(self.slab.len()));
        self.held.extend_from_slice(&part);
        self.held.len() >= n
    }
}

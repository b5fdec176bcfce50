//! Structures that straddle slabs are copied together; all others are borrowed.

use bytes::{Bytes, BytesMut};

/// The unread bytes of the stream: what is left of earlier slabs, then the slab at hand.
#[derive(Default)]
pub(crate) struct Carry {
    held: BytesMut,
    slab: Bytes,
    offset: u64,
}

impl Carry {
    /// Adds the next slab; the one before was taken or its rest is held.
    pub(crate) fn feed(&mut self, slab: Bytes) {
        debug_assert!(self.slab.is_empty(), "a slab is read before the next one");
        self.slab = slab;
    }

    /// Byte of the stream that comes next.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next `n` bytes, if they have come.
    pub(crate) fn peek(&mut self, n: usize) -> Option<&[u8]> {
        if self.held.is_empty() && self.slab.len() >= n {
            return Some(&self.slab[..n]);
        }
        self.hold(n).then(|| &self.held[..n])
    }

    /// Takes the next `n` bytes, if they have come; what has come of them is held for later.
    pub(crate) fn take(&mut self, n: usize) -> Option<Bytes> {
        let bytes = if self.held.is_empty() && self.slab.len() >= n {
            self.slab.split_to(n)
        } else if self.hold(n) {
            self.held.split_to(n).freeze()
        } else {
            return None;
        };
        self.offset += n as u64;
        Some(bytes)
    }

    /// Takes whatever has come; the held bytes first.
    pub(crate) fn take_all(&mut self) -> Option<Bytes> {
        let n = self.rest().len();
        if n == 0 { None } else { self.take(n) }
    }

    /// The bytes that came and were not taken, when a slab was read as far as it goes.
    pub(crate) fn rest(&self) -> &[u8] {
        if self.held.is_empty() {
            &self.slab
        } else {
            &self.held
        }
    }

    /// Copies to the held bytes until there are `n` of them; false where too few have come.
    fn hold(&mut self, n: usize) -> bool {
        let missing = n.saturating_sub(self.held.len());
        self.held.reserve(missing);
        let part = self.slab.split_to(missing.min(self.slab.len()));
        self.held.extend_from_slice(&part);
        self.held.len() >= n
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_as_they_went_in_however_they_are_cut() {
        let stream: Vec<u8> = (0..1000).map(|n| n as u8).collect();
        for slab in [1, 2, 3, 10, 999, 1000] {
            let mut carry = Carry::default();
            let mut taken = Vec::new();
            let mut sizes = [5, 16, 1, 40].into_iter().cycle();
            let mut size = 7;
            for part in stream.chunks(slab) {
                carry.feed(Bytes::copy_from_slice(part));
                while let Some(bytes) = carry.take(size) {
                    taken.extend_from_slice(&bytes);
                    assert_eq!(carry.offset(), taken.len() as u64);
                    size = sizes.next().unwrap();
                    let ahead = carry.peek(4).map(<[u8]>::to_vec);
                    assert!(
                        ahead.is_none_or(|b| b[..] == stream[taken.len()..][..4]),
                        "slabs of {slab}"
                    );
                }
            }
            taken.extend_from_slice(carry.rest());
            assert_eq!(taken, stream, "slabs of {slab}");
        }
    }

    #[test]
    fn what_lies_in_one_slab_is_borrowed() {
        let slab = Bytes::from(vec![1; 100]);
        let mut carry = Carry::default();
        carry.feed(slab.clone());
        assert_eq!(carry.take(60).unwrap().as_ptr(), slab.as_ptr());
    }
}

//! The content digest: what two encodings of one disk have in common.

use blake3::Hasher;

use super::window::{Arrival, WINDOW, Window};

/// The disk is digested in units of this many bytes, whatever the grain size of a stream is.
pub const UNIT: u64 = 64 << 10;

/// The BLAKE3 of a unit's bytes: as strong as SHA-256, at a third to a quarter of its cost.
pub fn unit_digest(unit: &[u8]) -> [u8; 32] {
    blake3::hash(unit).into()
}

/// BLAKE3 over (unit number as u64 little endian, BLAKE3 of the unit's bytes) of all units that are not all zero, in
/// order of number. The last unit is padded with zeros to 64 KiB; units of zeros are left out, whether a stream encodes
/// them or not.
///
/// Units may come out of order by up to 512 MiB of disk.
pub struct ContentDigest {
    hasher: Hasher,
    window: Window,
    waiting: Vec<[u8; 32]>,
}

impl ContentDigest {
    /// The digest of an empty disk so far.
    #[allow(
        clippy::new_without_default,
        reason = "a digest is begun, not defaulted"
    )]
    pub fn new() -> ContentDigest {
        ContentDigest {
            hasher: Hasher::new(),
            window: Window::new(WINDOW),
            waiting: vec![[0; 32]; WINDOW as usize],
        }
    }

    /// Adds the [`unit_digest`] of a unit that is not all zero. Returns false where the unit was there before or comes too late.
    #[must_use]
    pub fn push(&mut self, unit: u64, digest: [u8; 32]) -> bool {
        let ContentDigest {
            hasher,
            window,
            waiting,
        } = self;
        let arrival = window.insert(unit, |left| absorb(hasher, left, waiting));
        if arrival == Arrival::New {
            self.waiting[(unit % WINDOW) as usize] = digest;
        }
        arrival == Arrival::New
    }

    /// The digest of all units added.
    pub fn finish(mut self) -> [u8; 32] {
        let ContentDigest {
            hasher,
            window,
            waiting,
        } = &mut self;
        window.drain(|left| absorb(hasher, left, waiting));
        self.hasher.finalize().into()
    }
}

fn absorb(hasher: &mut Hasher, unit: u64, waiting: &[[u8; 32]]) {
    hasher.update(&unit.to_le_bytes());
    hasher.update(&waiting[(unit % WINDOW) as usize]);
}

/// Whether all bytes are zero.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    // Comparing with zeros is the C library's memcmp, which uses the widest registers there are.
    const ZEROS: [u8; 1024] = [0; 1024];
    bytes
        .chunks(ZEROS.len())
        .all(|chunk| chunk == &ZEROS[..chunk.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_arrival_does_not_change_the_digest() {
        let units = [0, 1, 7, 8000, 9000, 100_000];
        let digest = |order: &[usize]| {
            let mut digest = ContentDigest::new();
            for &at in order {
                assert!(digest.push(units[at], [at as u8; 32]));
            }
            digest.finish()
        };
        assert_eq!(digest(&[0, 1, 2, 3, 4, 5]), digest(&[2, 0, 1, 4, 3, 5]));
    }

    #[test]
    fn the_digest_is_the_documented_one() {
        let mut hasher = Hasher::new();
        for (number, byte) in [(3u64, 1u8), (70_000, 2)] {
            hasher.update(&number.to_le_bytes());
            hasher.update(blake3::hash(&vec![byte; 65536]).as_bytes());
        }
        let mut digest = ContentDigest::new();
        for (number, byte) in [(3u64, 1u8), (70_000, 2)] {
            assert!(digest.push(number, unit_digest(&vec![byte; 65536])));
        }
        assert_eq!(digest.finish(), <[u8; 32]>::from(hasher.finalize()));
    }

    #[test]
    fn one_bit_anywhere_is_not_zero() {
        let mut bytes = vec![0; 2500];
        assert!(is_zero(&bytes));
        for at in 0..bytes.len() {
            bytes[at] = 1;
            assert!(!is_zero(&bytes), "{at}");
            bytes[at] = 0;
        }
    }
}

//! Buffers that go round between a reader and whoever has slices of them.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Bytes that are read at once.
const SLAB: usize = 1 << 20;

/// Reads a stream in slabs, whose memory is used again once nobody has a slice of them.
#[derive(Default)]
pub(crate) struct Slabs {
    spare: Arc<Mutex<Vec<Vec<u8>>>>,
}

struct Slab {
    bytes: Vec<u8>,
    length: usize,
    spare: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl AsRef<[u8]> for Slab {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.spare
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(bytes);
    }
}

impl Slabs {
    /// The next bytes of the stream; None at its end.
    pub(crate) fn read(&self, from: &mut impl Read) -> io::Result<Option<Bytes>> {
        let spare = self
            .spare
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let mut slab = Slab {
            bytes: spare.unwrap_or_else(|| vec![0; SLAB]),
            length: 0,
            spare: Arc::clone(&self.spare),
        };
        while slab.length < SLAB {
            match from.read(&mut slab.bytes[slab.length..]) {
                Ok(0) => break,
                Ok(n) => slab.length += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok((slab.length > 0).then(|| Bytes::from_owner(slab)))
    }
}

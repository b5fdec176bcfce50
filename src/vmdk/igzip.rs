//! ISA-L's deflate, which compresses as well as zlib at its fastest in a fifth of the time.

#![allow(
    unsafe_code,
    reason = "ISA-L has no safe binding to the level used here; all calls of it are in this file"
)]

use std::mem::MaybeUninit;

use isal_sys::igzip_lib as isal;

/// The level with the best ratio that costs no more than the one below it.
const LEVEL: u32 = 2;
const LEVEL_BYTES: usize = isal::ISAL_DEF_LVL2_DEFAULT as usize;

/// Compresses buffer after buffer with the same memory.
pub(crate) struct Igzip {
    stream: Box<isal::isal_zstream>,
    level: Vec<u8>,
}

// SAFETY: the pointers in the stream are set anew for every call that reads them; none is to thread-local memory.
unsafe impl Send for Igzip {}

impl Igzip {
    pub(crate) fn new() -> Igzip {
        let mut stream: Box<MaybeUninit<isal::isal_zstream>> = Box::new_uninit();
        // SAFETY: the structure consists of integers, arrays of them and nullable pointers, for which zeros are valid;
        // the call then sets the fields that must not be zero.
        let stream = unsafe {
            stream.as_mut_ptr().write_bytes(0, 1);
            let mut stream = stream.assume_init();
            isal::isal_deflate_stateless_init(&mut *stream);
            stream
        };
        Igzip {
            stream,
            level: vec![0; LEVEL_BYTES],
        }
    }

    /// Compresses `raw` to a zlib stream at the start of `out`; None where it does not fit.
    pub(crate) fn compress(&mut self, raw: &[u8], out: &mut [u8]) -> Option<usize> {
        let (raw_length, room) = (raw.len().try_into().ok()?, out.len().try_into().ok()?);
        let stream = &mut *self.stream;
        // SAFETY: the stream was initialised by `new`. Its pointers are to `raw`, which the library only reads, to `out`
        // and to `level`, each with its length; all three outlive the calls, and nothing keeps the pointers after them.
        let code = unsafe {
            isal::isal_deflate_reset(stream);
            stream.level = LEVEL;
            stream.level_buf = self.level.as_mut_ptr();
            stream.level_buf_size = LEVEL_BYTES as u32;
            stream.gzip_flag = isal::IGZIP_ZLIB as u16;
            stream.flush = isal::NO_FLUSH as u16;
            stream.end_of_stream = 1;
            stream.next_in = raw.as_ptr().cast_mut();
            stream.avail_in = raw_length;
            stream.next_out = out.as_mut_ptr();
            stream.avail_out = room;
            isal::isal_deflate_stateless(stream)
        };
        (code == isal::COMP_OK as i32).then_some(stream.total_out as usize)
    }
}

#[cfg(test)]
mod tests {
    use libdeflater::Decompressor;

    use super::*;

    #[test]
    fn what_is_compressed_inflates_to_itself_or_does_not_fit() {
        let mut igzip = Igzip::new();
        let mut state = 1u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(65536)
        .collect();
        let text: Vec<u8> = b"to be or not to be, "
            .iter()
            .copied()
            .cycle()
            .take(65536)
            .collect();
        for raw in [&noise, &text, &text[..1].to_vec()] {
            let mut out = vec![0; raw.len() + 100];
            let length = igzip.compress(raw, &mut out).unwrap();
            let mut back = vec![0; raw.len()];
            let inflated = Decompressor::new().zlib_decompress(&out[..length], &mut back);
            assert_eq!(inflated, Ok(raw.len()));
            assert!(back == *raw);
            assert_eq!(igzip.compress(raw, &mut out[..length - 1]), None);
        }
    }
}

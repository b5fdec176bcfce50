//! One grain to a zlib stream, by the level asked for.

use libdeflater::{Adler32, CompressionLvl, Compressor};

use super::content::UNIT;
use super::encode::Compression;
#[cfg(feature = "igzip")]
use super::igzip::Igzip;

const GRAIN: usize = UNIT as usize;
/// Most bytes that a stored block holds.
const STORED: usize = 65535;
/// A zlib stream of one grain in stored blocks: header, blocks with theirs, checksum.
pub(crate) const STORED_GRAIN: usize = 2 + GRAIN + 5 * GRAIN.div_ceil(STORED) + 4;
/// Bytes of a grain that are looked at to guess whether it can be compressed.
const SAMPLE: usize = 1024;
/// Bytes in a row that are compressed to be sure.
const PART: usize = 4096;
/// Sum of the squares of how often each value comes in a sample of random bytes, and a few standard deviations (90 each).
const RANDOM: u32 = (SAMPLE + SAMPLE * SAMPLE / 256) as u32 + 250;

/// Compresses grains of 64 KiB with memory of its own.
pub(crate) struct Codec {
    compressor: Engine,
    /// Grains that look random are stored untried, which costs half a per cent of size.
    guess: bool,
}

/// What compresses fast streams in this build.
pub const CODEC: &str = if cfg!(feature = "igzip") {
    "isa-l"
} else {
    "libdeflate"
};

enum Engine {
    #[cfg(feature = "igzip")]
    Igzip(Igzip),
    Libdeflate(Compressor),
}

impl Codec {
    pub(crate) fn new(compression: Compression) -> Codec {
        let level = match compression {
            #[cfg(feature = "igzip")]
            Compression::Fast => {
                return Codec {
                    compressor: Engine::Igzip(Igzip::new()),
                    // It takes compressed files in its stride, and still finds some per cent in them.
                    guess: false,
                };
            }
            #[cfg(not(feature = "igzip"))]
            Compression::Fast => 1,
            Compression::Balanced => 3,
            Compression::Small => 6,
        };
        let level = CompressionLvl::new(level).expect("libdeflate has levels 0 to 12");
        Codec {
            compressor: Engine::Libdeflate(Compressor::new(level)),
            guess: compression == Compression::Fast,
        }
    }

    /// Writes the zlib stream of `grain` to the start of `out`, which has room for [`STORED_GRAIN`] bytes; returns its
    /// length. What does not become smaller is stored.
    pub(crate) fn compress(&mut self, grain: &[u8], out: &mut [u8]) -> usize {
        if self.guess && looks_random(grain) {
            // As even a sequence of numbers does: a part of it tells.
            let part = &grain[GRAIN / 2..][..PART];
            if self.deflate(part, out).is_none_or(|length| length >= PART) {
                return store(grain, out);
            }
        }
        let length = self.deflate(grain, &mut out[..STORED_GRAIN]);
        length.unwrap_or_else(|| store(grain, out))
    }

    /// The length of the zlib stream; None where it does not fit.
    fn deflate(&mut self, raw: &[u8], out: &mut [u8]) -> Option<usize> {
        match &mut self.compressor {
            #[cfg(feature = "igzip")]
            Engine::Igzip(igzip) => igzip.compress(raw, out),
            Engine::Libdeflate(compressor) => compressor.zlib_compress(raw, out).ok(),
        }
    }
}

/// Whether a sample of the grain has all values about as often, as compressed, encrypted and random bytes have.
fn looks_random(grain: &[u8]) -> bool {
    let mut counts = [0u32; 256];
    for &byte in grain.chunks_exact(GRAIN / SAMPLE).map(|chunk| &chunk[0]) {
        counts[usize::from(byte)] += 1;
    }
    counts.iter().map(|count| count * count).sum::<u32>() < RANDOM
}

/// A zlib stream (RFC 1950) of stored blocks (RFC 1951, section 3.2.4).
pub(crate) fn store(raw: &[u8], out: &mut [u8]) -> usize {
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        out[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    put(&[0x78, 0x01]);
    let mut blocks = raw.chunks(STORED).peekable();
    while let Some(block) = blocks.next() {
        let length = block.len() as u16;
        put(&[u8::from(blocks.peek().is_none())]);
        put(&length.to_le_bytes());
        put(&(!length).to_le_bytes());
        put(block);
    }
    let mut adler = Adler32::new();
    adler.update(raw);
    put(&adler.sum().to_be_bytes());
    at
}

#[cfg(test)]
mod tests {
    use libdeflater::Decompressor;

    use super::*;

    fn noise() -> Vec<u8> {
        let mut state = 1u64;
        std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        })
        .take(GRAIN)
        .collect()
    }

    #[test]
    fn every_grain_inflates_to_itself_and_never_outgrows_its_storing() {
        let noise = noise();
        let text: Vec<u8> = (0..GRAIN).map(|at| (at % 251) as u8).collect();
        for compression in [Compression::Fast, Compression::Balanced, Compression::Small] {
            let mut codec = Codec::new(compression);
            for grain in [&noise, &text] {
                let mut out = vec![0; STORED_GRAIN];
                let length = codec.compress(grain, &mut out);
                let mut back = vec![0; GRAIN];
                let inflated = Decompressor::new().zlib_decompress(&out[..length], &mut back);
                assert_eq!(inflated, Ok(GRAIN), "{compression:?}");
                assert!(back == *grain, "{compression:?}");
                assert!(std::ptr::eq(grain, &noise) || length < 5000, "{length}");
            }
        }
    }

    #[test]
    fn random_bytes_look_random_and_others_do_not() {
        let noise = noise();
        assert!(looks_random(&noise));
        let letters: Vec<u8> = noise.iter().map(|b| b % 64 + 32).collect();
        assert!(!looks_random(&letters));
        let sevenths: Vec<u8> = noise.iter().map(|b| b & 0x7f).collect();
        assert!(!looks_random(&sevenths));
    }
}

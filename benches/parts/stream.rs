//! Where the grains of a stream are, for a stream that is known to be whole.

use std::ops::Range;

const SECTOR: usize = 512;

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let mut wide = [0; 8];
    wide[..N].copy_from_slice(bytes.get(at..at + N)?);
    Some(u64::from_le_bytes(wide))
}

/// The compressed bytes of each grain; None where the stream is not one.
pub fn grains(stream: &[u8]) -> Option<Vec<Range<usize>>> {
    const OVERHEAD: usize = 64;
    let mut at = number::<8>(stream, OVERHEAD)? as usize * SECTOR;
    let mut grains = Vec::new();
    // A stream without an end-of-stream marker ends where its bytes do.
    while at < stream.len() {
        let (value, size) = (number::<8>(stream, at)?, number::<4>(stream, at + 8)?);
        if size > 0 {
            let payload = at + 12..at + 12 + size as usize;
            at = payload.end.next_multiple_of(SECTOR);
            grains.push(payload);
            continue;
        }
        match number::<4>(stream, at + 12)? {
            0 => return Some(grains),
            // A progress marker is followed by nothing.
            4 => at += SECTOR,
            _ => at += SECTOR + value as usize * SECTOR,
        }
    }
    Some(grains)
}

//! Compresses a disk's grains on several threads and delivers them in order.

use std::io;
use std::ops::Range;
use std::sync::mpsc::sync_channel;
use std::thread;

use flate2::{Compress, Compression, FlushCompress, Status};

use super::{GRAIN, SECTOR};
use crate::disk::{Disk, is_zero};

/// Grains read and compressed at a time: a MiB of the disk.
const BATCH: u64 = 16;

/// Batches that a worker may be ahead of the sink.
const AHEAD: usize = 4;

/// Bytes of a marker before a grain's compressed bytes.
const GRAIN_MARKER: usize = 12;

/// A compressed grain as it stands in the stream: marker, zlib stream, zeros up to the sector.
pub struct Packed {
    pub grain: u64,
    pub bytes: Vec<u8>,
}

/// Calls `deliver` with every grain that is not all zeros, in order. Reads no holes.
pub fn each_grain(
    disk: &Disk,
    level: u32,
    threads: usize,
    mut deliver: impl FnMut(Packed) -> io::Result<()>,
) -> io::Result<()> {
    let runs = grain_runs(&disk.extents()?);
    thread::scope(|scope| {
        let mut workers = Vec::new();
        for worker in 0..threads.max(1) {
            let (sender, receiver) = sync_channel(AHEAD);
            let mine = batches(&runs).skip(worker).step_by(threads.max(1));
            scope.spawn(move || {
                let mut packer = Packer::new(level);
                for batch in mine {
                    // A closed channel: the sink has failed and nobody wants more.
                    if sender.send(packer.pack(disk, batch)).is_err() {
                        return;
                    }
                }
            });
            workers.push(receiver);
        }
        // Batch n is worker n mod threads' next one, so taking turns gives the order back. The first worker that has no
        // batch left has had the last turn.
        let mut turn = workers.iter().cycle();
        while let Some(batch) = turn.next().and_then(|worker| worker.recv().ok()) {
            batch?.into_iter().try_for_each(&mut deliver)?;
        }
        Ok(())
    })
}

/// The extents in whole grains, those that touch joined.
fn grain_runs(extents: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for extent in extents {
        let run = extent.start / GRAIN..extent.end.div_ceil(GRAIN);
        match runs.last_mut() {
            Some(last) if last.end >= run.start => last.end = run.end,
            _ => runs.push(run),
        }
    }
    runs
}

fn batches(runs: &[Range<u64>]) -> impl Iterator<Item = Range<u64>> {
    runs.iter().flat_map(|run| {
        let end = run.end;
        run.clone()
            .step_by(BATCH as usize)
            .map(move |start| start..end.min(start + BATCH))
    })
}

struct Packer {
    codec: Compress,
    raw: Vec<u8>,
}

impl Packer {
    fn new(level: u32) -> Packer {
        Packer {
            codec: Compress::new(Compression::new(level), true),
            raw: vec![0; (BATCH * GRAIN) as usize],
        }
    }

    fn pack(&mut self, disk: &Disk, batch: Range<u64>) -> io::Result<Vec<Packed>> {
        let offset = batch.start * GRAIN;
        let length = (batch.end * GRAIN).min(disk.capacity()) - offset;
        disk.read_at(&mut self.raw[..length as usize], offset)?;
        // What is beyond the capacity is zeros, whatever the batch before left there.
        self.raw[length as usize..].fill(0);
        let mut packed = Vec::new();
        for (grain, raw) in batch.zip(self.raw.chunks(GRAIN as usize)) {
            if !is_zero(raw) {
                packed.push(Packed {
                    grain,
                    bytes: frame(&mut self.codec, grain, raw)?,
                });
            }
        }
        Ok(packed)
    }
}

fn frame(codec: &mut Compress, grain: u64, raw: &[u8]) -> io::Result<Vec<u8>> {
    // zlib-rs at its quickest expands random bytes by 6 %.
    let mut bytes = Vec::with_capacity(2 * raw.len());
    bytes.resize(GRAIN_MARKER, 0);
    codec.reset();
    let status = codec.compress_vec(raw, &mut bytes, FlushCompress::Finish)?;
    if status != Status::StreamEnd {
        return Err(io::Error::other(format!(
            "grain {grain} did not fit after compression"
        )));
    }
    let size = (bytes.len() - GRAIN_MARKER) as u32;
    bytes[..8].copy_from_slice(&(grain * GRAIN / SECTOR).to_le_bytes());
    bytes[8..GRAIN_MARKER].copy_from_slice(&size.to_le_bytes());
    bytes.resize(bytes.len().next_multiple_of(SECTOR as usize), 0);
    Ok(bytes)
}

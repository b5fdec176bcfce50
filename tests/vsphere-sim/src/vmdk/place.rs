//! Inflates grains and puts them in their places, on several threads: a host's storage is not what anybody measures here.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};

use libdeflater::{Decompressor, adler32};

use super::{GRAIN, SECTOR};
use crate::disk::Disk;

const THREADS: usize = 2;

/// Grains handed over at a time.
const BATCH: usize = 8;

/// Batches that may wait for a thread.
const AHEAD: usize = 4;

/// A grain as it came.
pub struct Packed {
    /// Its sector on the disk, which is on the disk.
    pub lba: u64,
    /// Its zlib stream, and what is around it.
    pub framed: Vec<u8>,
    /// Where in `framed` the zlib stream is.
    pub start: usize,
    pub size: usize,
}

/// Puts grains on a disk, in any order.
pub struct Placing {
    disk: Arc<Disk>,
    batch: Vec<Packed>,
    turn: usize,
    queues: Vec<SyncSender<Vec<Packed>>>,
    threads: Vec<JoinHandle<()>>,
    refusal: Arc<OnceLock<String>>,
}

impl Placing {
    pub fn new(disk: Disk) -> Placing {
        Placing {
            disk: Arc::new(disk),
            batch: Vec::new(),
            turn: 0,
            queues: Vec::new(),
            threads: Vec::new(),
            refusal: Arc::default(),
        }
    }

    /// Makes the disk empty and begins. Nothing is done to it before.
    pub fn begin(&mut self) -> io::Result<()> {
        if let Some(disk) = Arc::get_mut(&mut self.disk) {
            disk.clear()?;
        }
        for _ in 0..THREADS {
            let (queue, batches) = sync_channel(AHEAD);
            let (disk, refusal) = (self.disk.clone(), self.refusal.clone());
            self.queues.push(queue);
            self.threads
                .push(thread::spawn(move || work(&disk, &batches, &refusal)));
        }
        Ok(())
    }

    pub fn capacity(&self) -> u64 {
        self.disk.capacity()
    }

    /// Takes a grain.
    ///
    /// # Errors
    /// Why one of those before is no grain.
    pub fn put(&mut self, grain: Packed) -> Result<(), String> {
        self.batch.push(grain);
        if self.batch.len() >= BATCH {
            self.hand_over();
        }
        self.refusal.get().cloned().map_or(Ok(()), Err)
    }

    fn hand_over(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        self.turn = (self.turn + 1) % THREADS;
        if let Some(queue) = self.queues.get(self.turn) {
            // A thread that has gone has left word why.
            let _ = queue.send(batch);
        }
    }

    /// Waits until all grains are in their places. No more may come.
    ///
    /// # Errors
    /// Why one of them is no grain.
    pub fn settle(&mut self) -> Result<(), String> {
        self.hand_over();
        self.queues.clear();
        let outcomes = self.threads.drain(..).map(JoinHandle::join);
        let panicked = outcomes.filter(Result::is_err).count();
        match self.refusal.get() {
            Some(why) => Err(why.clone()),
            None if panicked > 0 => Err("the decoder panicked".to_owned()),
            None => Ok(()),
        }
    }

    /// The disk, when no more grains are on their way to it.
    pub fn end(mut self) -> (Disk, Result<(), String>) {
        let settled = self.settle();
        let Some(disk) = Arc::into_inner(self.disk) else {
            unreachable!("the threads that share it have ended");
        };
        (disk, settled)
    }
}

fn work(disk: &Disk, batches: &Receiver<Vec<Packed>>, refusal: &OnceLock<String>) {
    let mut codec = Decompressor::new();
    let mut raw = vec![0; GRAIN as usize + 1];
    for grain in batches.iter().flatten() {
        if let Err(why) = place(disk, &mut codec, &mut raw, &grain) {
            // The other thread's may be there already.
            let _ = refusal.set(why);
            return;
        }
    }
}

fn place(
    disk: &Disk,
    codec: &mut Decompressor,
    raw: &mut [u8],
    grain: &Packed,
) -> Result<(), String> {
    let packed = &grain.framed[grain.start..grain.start + grain.size];
    let offset = grain.lba * SECTOR;
    let on_disk = GRAIN.min(disk.capacity() - offset);
    let inflated = codec.zlib_decompress(packed, raw);
    // Some writers end the last grain at the capacity, most fill it up with zeros: hosts take both. What comes after
    // the end of the zlib stream is not its check sum.
    let whole = inflated.is_ok_and(|length| {
        let sum = adler32(&raw[..length]).to_be_bytes();
        packed.ends_with(&sum) && [GRAIN, on_disk].contains(&(length as u64))
    });
    if !whole {
        return Err(format!(
            "invalid sparse VMDK: grain at sector {} does not inflate to a grain",
            grain.lba
        ));
    }
    disk.write_at(&raw[..on_disk as usize], offset)
        .map_err(|error| error.to_string())
}

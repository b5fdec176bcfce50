//! Proves a stream while it passes by.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::SECTOR;
use super::assembly;
use super::codec::STORED_GRAIN;
use super::content::UNIT;
use super::decode::DiskSink;
use super::descriptor::Descriptor;
use super::flaw::{Flaw, FlawKind};
use super::fold::Whole;
use super::header::{Header, Layout};
use super::inflate::not_written;
use super::lane::Permit;
use super::marker::GRAIN_MARKER_BYTES;
use super::options::{CheckOptions, Level};
use super::pool::{Pool, Yield};
use super::scan::Scanner;
use super::walk::{Grain, Walk};

/// Slabs shorter than this are put together first: a job for every network frame would cost more than its copy.
const SMALL: usize = 64 << 10;
/// What small slabs are put together to.
const GATHERED: usize = 256 << 10;
/// Compressed bytes after which a batch of grains is handed over.
const BATCH: usize = 256 << 10;
/// Grains after which it is: the smallest hold 64 KiB in some hundred bytes.
const BATCH_GRAINS: usize = 32;

/// Checks one stream, slab by slab, on worker threads of its own, in memory that does not grow with the stream.
///
/// Dropping it ends the threads.
pub struct Check {
    pool: Pool,
    scanner: Scanner,
    level: Level,
    max_stream: u64,
    fed: u64,
    taken: u64,
    gathered: BytesMut,
    grains: Vec<Grain>,
    flaw: Option<Flaw>,
}

/// How far a check has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the stream that were fed.
    pub bytes: u64,
    /// Byte of the disk that the last grain or progress marker reached: with the capacity, the share that is done.
    pub last_lba_bytes: u64,
}

/// What is known of a stream that was found whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Bytes of the whole stream, with `trailing`.
    pub length: u64,
    /// SHA-256 of the whole stream, with `trailing`.
    pub sha256: [u8; 32],
    /// SHA-1 of the whole stream, with `trailing`, if it was asked for.
    pub sha1: Option<[u8; 20]>,
    /// Size of the disk in bytes, by the header.
    pub capacity: u64,
    /// Units of 64 KiB of the disk that are not all zero. Below `Level::Full`: grains in the stream, zero or not.
    pub grains: u64,
    /// Bytes of the disk in those, the last one counted up to the capacity.
    pub populated: u64,
    /// The content digest ([`super::ContentDigest`]); only from `Level::Full`.
    pub content_digest: Option<[u8; 32]>,
    /// Where the tables are.
    pub layout: Layout,
    /// What the descriptor says.
    pub descriptor: Descriptor,
    /// Zeros after the end-of-stream marker; they are no part of the disk, and a host is better not sent them.
    pub trailing: u64,
    /// Grains came in the order of the disk.
    pub in_order: bool,
    /// Bytes of what [`super::Normalize`] makes of the stream; None below `Level::Full`, and where the grains are not of
    /// 64 KiB, so that it makes nothing of it.
    pub normalized_length: Option<u64>,
    /// An ESXi host imports the stream as it is: version 3, 64 KiB grains, all of them whole and in order, ended by the
    /// end-of-stream marker and nothing after it. Below `Level::Full` the length of the last grain is not known and
    /// not asked; at `Level::Digest` this is false.
    pub normal: bool,
}

impl Check {
    /// Starts the worker threads.
    ///
    /// # Errors
    /// A thread could not be started.
    pub fn new(options: &CheckOptions) -> io::Result<Check> {
        Check::start(options, None, true)
    }

    /// Starts worker threads that also write the disk to `sink`, at [`Level::Full`] whatever the options say. What was
    /// written counts only once `finish` has found the stream whole.
    ///
    /// # Errors
    /// A thread could not be started.
    pub fn decode(options: &CheckOptions, sink: Arc<dyn DiskSink>) -> io::Result<Check> {
        let options = CheckOptions {
            level: Level::Full,
            ..options.clone()
        };
        Check::start(&options, Some(sink), true)
    }

    /// Without `hash`, `conclude` must be called in place of `finish`.
    pub(crate) fn start(
        options: &CheckOptions,
        sink: Option<Arc<dyn DiskSink>>,
        hash: bool,
    ) -> io::Result<Check> {
        Ok(Check {
            pool: Pool::new(options, sink, hash)?,
            scanner: Scanner::new(options),
            level: options.level,
            max_stream: options.limits.max_stream,
            fed: 0,
            taken: 0,
            gathered: BytesMut::new(),
            grains: Vec::new(),
            flaw: None,
        })
    }

    /// Takes the next bytes of the stream; blocks while the workers are behind.
    ///
    /// # Errors
    /// What is wrong with the stream so far. A flaw inside a grain may be told by a later call or by `finish`, but it is
    /// always the flaw nearest to the start of the stream, however it is cut into slabs and whatever the threads do.
    pub fn feed(&mut self, slab: Bytes) -> Result<(), Flaw> {
        if let Some(flaw) = &self.flaw {
            return Err(flaw.clone());
        }
        self.fed += slab.len() as u64;
        let gather = self.scanner.header().is_some() && slab.len() < SMALL;
        if !gather {
            self.take_gathered()?;
            return self.take(slab);
        }
        self.gathered.reserve(if self.gathered.is_empty() {
            GATHERED + SMALL
        } else {
            slab.len()
        });
        self.gathered.extend_from_slice(&slab);
        if self.gathered.len() < GATHERED {
            return Ok(());
        }
        self.take_gathered()
    }

    fn take_gathered(&mut self) -> Result<(), Flaw> {
        let slab = self.gathered.split().freeze();
        self.take(slab)
    }

    fn take(&mut self, mut slab: Bytes) -> Result<(), Flaw> {
        if slab.is_empty() {
            return Ok(());
        }
        // What was fed but is not gathered yet comes after this slab.
        self.taken += slab.len() as u64;
        let beyond = self.taken.saturating_sub(self.max_stream);
        slab.truncate(slab.len().saturating_sub(beyond as usize));
        let permit = self.pool.admit(&slab);
        let mut scanned = self.scan(slab, &permit);
        if beyond > 0 && scanned.is_ok() {
            let message = format!("longer than the {} bytes that are taken", self.max_stream);
            scanned = Err(Flaw::new(self.max_stream, FlawKind::StreamTooLong, message));
        }
        if scanned.is_ok() && !self.pool.found() {
            return Ok(());
        }
        self.flaw = nearest(self.pool.settle(), scanned.err());
        self.flaw.clone().map_or(Ok(()), Err)
    }

    fn scan(&mut self, mut slab: Bytes, permit: &Arc<Permit>) -> Result<(), Flaw> {
        if self.scanner.header().is_none() {
            // The workers must know the header before the first grain. None lies in the sector after it.
            let head = slab.split_to(slab.len().min(SECTOR as usize));
            self.scanner.feed(head, &mut |_| ())?;
            if let Some(header) = self.scanner.header() {
                self.pool.set_header(header);
            }
        }
        let Check {
            pool,
            scanner,
            level,
            grains,
            ..
        } = self;
        let mut bytes = 0;
        let mut cell = None;
        let outcome = scanner.feed(slab, &mut |grain| {
            if *level < Level::Full {
                return;
            }
            let next = grain.lba * SECTOR / UNIT;
            if (bytes >= BATCH || grains.len() >= BATCH_GRAINS) && cell != Some(next) {
                pool.inflate(grains, permit);
                bytes = 0;
            }
            cell = Some(next);
            bytes += grain.payload.len();
            grains.push(grain);
        });
        self.hand_over(permit, outcome.is_err());
        outcome
    }

    /// Hands over the batch at the end of a slab. Grains of a cell of which more may come stay, unless `all`.
    fn hand_over(&mut self, permit: &Arc<Permit>, all: bool) {
        let small = self
            .scanner
            .header()
            .is_some_and(|h| h.grain_bytes() < UNIT);
        let cell = |grain: &Grain| grain.lba * SECTOR / UNIT;
        let keep = match self.grains.last().map(cell) {
            Some(last) if small && !all => self
                .grains
                .iter()
                .rev()
                .take_while(|g| cell(g) == last)
                .count(),
            _ => 0,
        };
        let mut kept = self.grains.split_off(self.grains.len() - keep);
        for grain in &mut kept {
            // A copy, so that a few bytes do not keep a whole slab in memory.
            grain.payload = Bytes::copy_from_slice(&grain.payload);
        }
        if !self.grains.is_empty() {
            self.pool.inflate(&mut self.grains, permit);
        }
        self.grains.append(&mut kept);
    }

    /// The header, as soon as its 512 bytes were fed and found sound.
    pub fn header(&self) -> Option<&Header> {
        self.scanner.header()
    }

    /// The descriptor, as soon as it was fed and found sound.
    pub fn descriptor(&self) -> Option<&Descriptor> {
        self.scanner.descriptor()
    }

    /// How far the check has come.
    pub fn progress(&self) -> Progress {
        Progress {
            bytes: self.fed,
            last_lba_bytes: self.scanner.reached(),
        }
    }

    /// SHA-256 of what was fed so far; `None` when a flaw was found in it.
    ///
    /// Blocks until the workers are through with it.
    pub fn sha256_so_far(&mut self) -> Option<[u8; 32]> {
        if self.flaw.is_some() || self.take_gathered().is_err() {
            return None;
        }
        self.pool.sha256_so_far()
    }

    /// The stream is over: waits for the workers and says whether it is whole.
    ///
    /// # Errors
    /// What is wrong with the stream, nearest to its start.
    pub fn finish(self) -> Result<Facts, Flaw> {
        let (level, length) = (self.level, self.fed);
        let (walk, found) = self.conclude()?;
        Ok(facts(level, length, walk, found))
    }

    /// Waits for the workers and ends the sink.
    pub(crate) fn conclude(mut self) -> Result<(Walk, Yield), Flaw> {
        if let Some(flaw) = self.flaw.take() {
            return Err(flaw);
        }
        self.take_gathered()?;
        let permit = self.pool.admit(&Bytes::new());
        self.hand_over(&permit, true);
        drop(permit);
        let Check {
            mut pool,
            scanner,
            fed,
            ..
        } = self;
        let walk = match scanner.finish() {
            Ok(walk) => walk,
            Err(cut) => return Err(nearest(pool.settle(), Some(cut.clone())).unwrap_or(cut)),
        };
        let mut found = pool.finish()?;
        if let Some(sink) = &found.sink {
            let capacity = walk.header.capacity_bytes();
            let gaps = found.whole.gaps.take();
            let gaps = gaps.map_or_else(Vec::new, |gaps| gaps.finish(capacity));
            gaps.into_iter()
                .try_for_each(|gap| sink.zeros(gap))
                .and_then(|()| sink.finish())
                .map_err(|e| not_written(fed, &e))?;
        }
        Ok((walk, found))
    }
}

/// The flaw nearest to the start of the stream: one within a grain, or that of the walk.
fn nearest(grain: Option<Flaw>, walk: Option<Flaw>) -> Option<Flaw> {
    grain.into_iter().chain(walk).min_by_key(|flaw| flaw.offset)
}

fn facts(level: Level, length: u64, walk: Walk, found: Yield) -> Facts {
    let Yield {
        sha256,
        sha1,
        whole,
        ..
    } = found;
    let full = level == Level::Full;
    let normalized_length = full.then(|| normalized_length(&walk, &whole)).flatten();
    let header = &walk.header;
    Facts {
        length,
        sha256,
        sha1,
        capacity: header.capacity_bytes(),
        grains: if full { whole.units } else { walk.grains },
        populated: if full {
            whole.populated
        } else {
            walk.grain_bytes
        },
        content_digest: whole.content_digest.filter(|_| full),
        layout: header.layout(),
        normalized_length,
        normal: header.version() == 3
            && header.grain_bytes() == UNIT
            && walk.eos
            && walk.trailing == 0
            && walk.in_order
            && !whole.short_last,
        descriptor: walk.descriptor,
        trailing: walk.trailing,
        in_order: walk.in_order,
    }
}

/// The length of the stream with the same grains, but for a short last one, that has the writer's profile.
fn normalized_length(walk: &Walk, whole: &Whole) -> Option<u64> {
    if walk.header.grain_bytes() != UNIT {
        return None;
    }
    let mut grains = walk.grain_stream;
    if whole.short_last {
        let stored = (GRAIN_MARKER_BYTES + STORED_GRAIN).next_multiple_of(SECTOR as usize);
        grains = grains - walk.last_grain? + stored as u64;
    }
    Some(assembly::length(
        walk.header.capacity(),
        walk.tables,
        grains,
    ))
}

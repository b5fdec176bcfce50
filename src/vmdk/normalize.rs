//! Rewrites any acceptable stream in the profile that every reader takes, without compressing it again.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};
use libdeflater::Decompressor;

use super::SECTOR;
use super::assembly::Assembly;
use super::codec::{STORED_GRAIN, store};
use super::compose::Words;
use super::content::UNIT;
use super::descriptor::Descriptor;
use super::flaw::{Flaw, FlawKind};
use super::header::{Header, TABLE_ENTRIES};
use super::options::{CheckOptions, Level, Limits};
use super::scan::Scanner;
use super::walk::Grain;

/// Bytes of grains that are put into one slab.
const SLAB: usize = 256 << 10;
/// What a grain that waits costs beside its bytes.
const WAITING: usize = 128;

/// How a stream is rewritten.
#[derive(Clone, Debug)]
pub struct NormalizeOptions {
    /// Bounds on what the stream may claim.
    pub limits: Limits,
    /// Bytes of grains that may wait until those before them on the disk came. Zero will do for a stream of which
    /// [`super::Facts::in_order`] is known; others need as much as their writer was ahead of itself.
    pub reorder: usize,
}

impl Default for NormalizeOptions {
    fn default() -> NormalizeOptions {
        NormalizeOptions {
            limits: Limits::default(),
            reorder: 16 << 20,
        }
    }
}

/// Rewrites one stream: slabs go in by `feed`, and come out by `next_slab` after each.
///
/// What comes out has version 3, the tables after their grains, whole grains in the order of the disk, a footer, an
/// end-of-stream marker and nothing after it, whichever of these went in. Grains go through as they are, but for a last one
/// that ends with the disk: it is stored whole. The structure of the stream is checked on the way, the insides of the
/// grains are not. A stream without an end-of-stream marker is taken if its tables prove that every grain came.
pub struct Normalize {
    scanner: Scanner,
    reorder: usize,
    came: VecDeque<Grain>,
    /// Grains that wait for others before them.
    waiting: BTreeMap<u64, Grain>,
    waiting_bytes: usize,
    writer: Option<Writer>,
    flaw: Option<Flaw>,
}

impl Normalize {
    /// Nothing is started but the rewriting itself, which happens on the thread that feeds.
    pub fn new(options: &NormalizeOptions) -> Normalize {
        let check = CheckOptions {
            level: Level::Structure,
            limits: options.limits.clone(),
            accept_missing_eos: true,
            ..CheckOptions::default()
        };
        Normalize {
            scanner: Scanner::new(&check),
            reorder: options.reorder,
            came: VecDeque::new(),
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            writer: None,
            flaw: None,
        }
    }

    /// Takes the next bytes of the stream.
    ///
    /// # Errors
    /// What is wrong with the stream so far, or why it cannot be rewritten: its grains are not of 64 KiB
    /// ([`FlawKind::BadHeader`]) or too far out of order ([`FlawKind::GrainOutOfOrder`]).
    pub fn feed(&mut self, slab: Bytes) -> Result<(), Flaw> {
        if let Some(flaw) = &self.flaw {
            return Err(flaw.clone());
        }
        let outcome = self.take(slab);
        self.flaw = outcome.as_ref().err().cloned();
        outcome
    }

    fn take(&mut self, slab: Bytes) -> Result<(), Flaw> {
        let Normalize { scanner, came, .. } = self;
        scanner.feed(slab, &mut |grain| came.push_back(grain))?;
        if self.writer.is_none()
            && let (Some(header), Some(words)) = (self.scanner.header(), self.scanner.descriptor())
        {
            self.writer = Some(Writer::new(header, words)?);
        }
        let Some(writer) = &mut self.writer else {
            return Ok(());
        };
        for mut grain in self.came.drain(..) {
            if self.reorder == 0 {
                writer.grain(&grain)?;
                continue;
            }
            // A copy, so that a few bytes do not keep a whole slab in memory.
            grain.payload = Bytes::copy_from_slice(&grain.payload);
            self.waiting_bytes += grain.payload.len() + WAITING;
            self.waiting.insert(grain.lba, grain);
            while self.waiting_bytes > self.reorder
                && let Some((_, first)) = self.waiting.pop_first()
            {
                self.waiting_bytes -= first.payload.len() + WAITING;
                writer.grain(&first)?;
            }
        }
        Ok(())
    }

    /// The next bytes of the stream that comes out; None where there are none before more is fed, or, after `finish`, at
    /// its end.
    pub fn next_slab(&mut self) -> Option<Bytes> {
        self.writer.as_mut()?.assembly.pop()
    }

    /// The stream that is fed is over. What `next_slab` gives after this is the rest of the one that comes out.
    ///
    /// # Errors
    /// What is wrong with the stream: then what came out is not whole and must not be used.
    pub fn finish(&mut self) -> Result<(), Flaw> {
        if let Some(flaw) = &self.flaw {
            return Err(flaw.clone());
        }
        let ended = self.end();
        self.flaw = ended.as_ref().err().cloned();
        ended
    }

    fn end(&mut self) -> Result<(), Flaw> {
        let fresh = Scanner::new(&CheckOptions::default());
        std::mem::replace(&mut self.scanner, fresh).finish()?;
        let Some(writer) = &mut self.writer else {
            let message = "the stream ends before its descriptor";
            return Err(Flaw::new(0, FlawKind::Truncated, message));
        };
        for grain in std::mem::take(&mut self.waiting).into_values() {
            writer.grain(&grain)?;
        }
        writer.end()
    }
}

/// Where the grains go, in the order of the disk.
struct Writer {
    assembly: Assembly,
    sectors: u64,
    /// The lowest grain that may come.
    next: u64,
    slab: BytesMut,
    grains: Vec<(u64, u32)>,
    decompressor: Decompressor,
}

impl Writer {
    fn new(header: &Header, descriptor: &Descriptor) -> Result<Writer, Flaw> {
        if header.grain_bytes() != UNIT {
            let message = format!(
                "grains of {} bytes: only streams with grains of {UNIT} can be rewritten without compressing them again",
                header.grain_bytes()
            );
            return Err(Flaw::new(20, FlawKind::BadHeader, message));
        }
        let words = Words {
            adapter_type: adapter_type(descriptor),
            content_id: content_id(descriptor),
            hardware_version: hardware_version(descriptor),
        };
        Ok(Writer {
            assembly: Assembly::new(header.capacity(), &words),
            sectors: header.capacity(),
            next: 0,
            slab: BytesMut::new(),
            grains: Vec::new(),
            decompressor: Decompressor::new(),
        })
    }

    fn grain(&mut self, grain: &Grain) -> Result<(), Flaw> {
        let number = grain.lba * SECTOR / UNIT;
        if number < self.next {
            let message = format!(
                "grain for sector {} comes too late to be put in order in the memory given",
                grain.lba
            );
            return Err(Flaw::new(grain.offset, FlawKind::GrainOutOfOrder, message));
        }
        let table = |number: u64| number / TABLE_ENTRIES;
        let other = self
            .grains
            .last()
            .is_some_and(|&(last, _)| table(last) != table(number));
        if other || self.slab.len() >= SLAB {
            self.hand_over(grain.offset)?;
        }
        self.next = number + 1;
        let sector = (self.slab.len() as u64 / SECTOR) as u32;
        self.grains.push((number, sector));
        let whole = if (number + 1) * UNIT >= self.sectors * SECTOR {
            self.whole(grain)?
        } else {
            None
        };
        let payload = whole.as_deref().unwrap_or(&grain.payload);
        self.slab.extend_from_slice(&grain.lba.to_le_bytes());
        self.slab
            .extend_from_slice(&(payload.len() as u32).to_le_bytes());
        self.slab.extend_from_slice(payload);
        let end = self.slab.len().next_multiple_of(SECTOR as usize);
        self.slab.resize(end, 0);
        Ok(())
    }

    /// The last grain of the disk, stored with zeros up to its full length, if it was shorter.
    fn whole(&mut self, grain: &Grain) -> Result<Option<Vec<u8>>, Flaw> {
        let mut raw = vec![0; UNIT as usize];
        let length = self
            .decompressor
            .zlib_decompress(&grain.payload, &mut raw)
            .map_err(|_| {
                let message = "the zlib stream of the last grain is damaged";
                Flaw::new(grain.offset, FlawKind::BadDeflate, message)
            })?;
        if length == raw.len() {
            return Ok(None);
        }
        raw[length..].fill(0);
        let mut out = vec![0; STORED_GRAIN];
        store(&raw, &mut out);
        Ok(Some(out))
    }

    fn hand_over(&mut self, offset: u64) -> Result<(), Flaw> {
        let slab = self.slab.split().freeze();
        self.slab.reserve(SLAB + 2 * UNIT as usize);
        let grains = self.assembly.grains(slab, &self.grains);
        self.grains.clear();
        grains.map_err(|e| Flaw::new(offset, FlawKind::StreamTooLong, e.to_string()))
    }

    fn end(&mut self) -> Result<(), Flaw> {
        let written = self.assembly.written();
        self.hand_over(written)?;
        self.assembly
            .end()
            .map_err(|e| Flaw::new(written, FlawKind::StreamTooLong, e.to_string()))
    }
}

/// The adapter that the descriptor names, if it is one for SCSI disks: those of other tools say "ide" of every disk.
fn adapter_type(descriptor: &Descriptor) -> &'static str {
    let named = descriptor.adapter_type.as_deref().unwrap_or_default();
    ["buslogic", "pvscsi"]
        .into_iter()
        .find(|known| named.eq_ignore_ascii_case(known))
        .unwrap_or("lsilogic")
}

/// The long content id, or one that ends with the CID.
fn content_id(descriptor: &Descriptor) -> [u8; 16] {
    let parse = |text: Option<&String>, digits: usize| {
        let text =
            text.filter(|t| t.len() == digits && t.bytes().all(|b| b.is_ascii_hexdigit()))?;
        u128::from_str_radix(text, 16).ok()
    };
    let long = parse(descriptor.long_content_id.as_ref(), 32);
    let short = parse(descriptor.cid.as_ref(), 8);
    long.or(short).unwrap_or_default().to_be_bytes()
}

fn hardware_version(descriptor: &Descriptor) -> u32 {
    let named = descriptor.hardware_version.as_ref();
    named
        .and_then(|version| version.parse().ok())
        .filter(|version| (4..100).contains(version))
        .unwrap_or(10)
}

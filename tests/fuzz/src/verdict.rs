//! The verdict on a stream, and what must be true of every one.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use libdeflater::Decompressor;
use vmdk_backup::vmdk::{
    Check, CheckOptions, DiskSink, Facts, Flaw, Level, NormalizeOptions, decode, normalize,
};

use crate::disk::Disk;
use crate::memory::within;

const SECTOR: usize = 512;
const UNIT: usize = 65536;

/// What a check may use beside a few times the stream: three threads with a grain of 1 MiB each, a window, a descriptor.
const MEMORY: usize = 24 << 20;

fn check(options: &CheckOptions, stream: &[u8], cuts: &[u16]) -> Result<Facts, Flaw> {
    let mut check = Check::new(options).expect("worker threads");
    let mut rest = stream;
    // A long stream in single bytes takes seconds and finds no more than a short one.
    let smallest = 1 + stream.len() / 4096;
    for cut in cuts.iter().map(|&cut| smallest + usize::from(cut)).cycle() {
        if rest.is_empty() {
            break;
        }
        let (slab, after) = rest.split_at(cut.min(rest.len()));
        check.feed(Bytes::copy_from_slice(slab))?;
        rest = after;
    }
    if cuts.is_empty() {
        check.feed(Bytes::copy_from_slice(stream))?;
    }
    check.finish()
}

/// The verdict, which is the same whatever the cuts and threads are, and true.
pub fn of(options: &CheckOptions, stream: &[u8], cuts: &[u16]) -> Result<Facts, Flaw> {
    within(MEMORY + 12 * stream.len(), || {
        let alone = CheckOptions {
            threads: 1,
            ..CheckOptions::default()
        };
        let whole = CheckOptions {
            level: options.level,
            limits: options.limits.clone(),
            accept_missing_eos: options.accept_missing_eos,
            ..alone
        };
        let verdict = check(&whole, stream, &[]);
        assert_eq!(
            check(options, stream, cuts),
            verdict,
            "the cuts changed the verdict"
        );
        if let Ok(facts) = &verdict {
            prove(facts, &whole, stream);
        }
        verdict
    })
}

fn prove(facts: &Facts, options: &CheckOptions, stream: &[u8]) {
    assert_eq!(facts.length, stream.len() as u64);
    assert!(facts.populated <= facts.capacity);
    if options.level < Level::Full {
        return;
    }
    let disk = contents(stream);
    let digest = disk.content_digest();
    assert_eq!(
        facts.content_digest,
        Some(digest),
        "the disk is another one"
    );
    assert_eq!(decoded(options, stream), disk.units, "decoded otherwise");
    if let Some(length) = facts.normalized_length {
        let mut normal = Vec::new();
        let written = normalize(&NormalizeOptions::default(), &mut &stream[..], &mut normal);
        assert_eq!(written.expect("a stream that was foretold"), length);
        let again = check(options, &normal, &[]).expect("a normal stream");
        assert!(again.normal);
        assert_eq!(again.content_digest, Some(digest));
    }
    for level in [Level::Structure, Level::Digest] {
        let lower = check(
            &CheckOptions {
                level,
                ..options.clone()
            },
            stream,
            &[],
        );
        let lower = lower.expect("what is whole at the highest level is whole at a lower one");
        assert_eq!(lower.sha256, facts.sha256);
    }
}

/// What decoding writes, but for units of zeros.
fn decoded(options: &CheckOptions, stream: &[u8]) -> BTreeMap<u64, Vec<u8>> {
    let held = Arc::new(Held::default());
    decode(options, &mut &stream[..], |_| Ok(held.clone())).expect("what is whole decodes");
    let mut units = std::mem::take(&mut *held.0.lock().expect("no panic before"));
    units.retain(|_, bytes| bytes.iter().any(|&b| b != 0));
    units
}

/// A disk in units.
#[derive(Default)]
struct Held(Mutex<BTreeMap<u64, Vec<u8>>>);

impl DiskSink for Held {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut units = self.0.lock().expect("no panic before");
        let mut at = offset as usize;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (now, after) = rest.split_at(rest.len().min(UNIT - at % UNIT));
            let unit = units.entry((at / UNIT) as u64).or_insert_with(|| vec![0; UNIT]);
            unit[at % UNIT..][..now.len()].copy_from_slice(now);
            (at, rest) = (at + now.len(), after);
        }
        Ok(())
    }
}

/// The disk in a stream that was found whole, read without looking at anything but the grains.
fn contents(stream: &[u8]) -> Disk {
    let number = |at: usize, length: usize| {
        let bytes = stream[at..at + length].iter().rev();
        bytes.fold(0, |value, &b| value << 8 | u64::from(b))
    };
    let (sectors, grain) = (number(12, 8), number(20, 8) as usize * SECTOR);
    let end = sectors as usize * SECTOR;
    let mut units: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    let mut at = number(64, 8) as usize * SECTOR;
    while at < stream.len() {
        let (value, size, kind) = (
            number(at, 8) as usize,
            number(at + 8, 4) as usize,
            number(at + 12, 4),
        );
        if size == 0 {
            at += match kind {
                0 => break,
                1 | 2 => SECTOR + value * SECTOR,
                3 => 2 * SECTOR,
                _ => SECTOR,
            };
            continue;
        }
        let mut raw = vec![0; grain];
        Decompressor::new()
            .zlib_decompress(&stream[at + 12..at + 12 + size], &mut raw)
            .expect("a sound grain");
        let start = value * SECTOR;
        raw.truncate(end - start);
        for (piece, bytes) in raw.chunks(UNIT.min(grain)).enumerate() {
            let place = start + piece * UNIT.min(grain);
            let unit = units
                .entry((place / UNIT) as u64)
                .or_insert_with(|| vec![0; UNIT]);
            unit[place % UNIT..place % UNIT + bytes.len()].copy_from_slice(bytes);
        }
        at = (at + 12 + size).next_multiple_of(SECTOR);
    }
    units.retain(|_, bytes| bytes.iter().any(|&b| b != 0));
    Disk { sectors, units }
}

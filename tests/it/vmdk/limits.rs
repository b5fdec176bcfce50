//! Large disks and long streams, in little memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use vmdk_backup::vmdk::{Check, CheckOptions, Facts, Flaw, FlawKind, Limits};

use super::disk::Disk;
use super::writer::{SECTOR, TABLE_SPAN, Writer};
use super::{check, check_with};

const TIB_SECTORS: u64 = 2 << 30;

#[test]
fn a_disk_of_62_tib_is_taken() {
    let last = 62 * TIB_SECTORS / 128 - 1;
    let disk = Disk::new(62 * TIB_SECTORS, &[0, 1 << 20, last]);
    let facts = check(&Writer::default().write(&disk).bytes).unwrap();
    assert_eq!(facts.capacity, 62 << 40);
    assert_eq!(facts.content_digest, Some(disk.content_digest()));
}

#[test]
fn the_limits_are_kept() {
    let disk = Disk::new(2048, &[0, 1, 2]);
    let stream = Writer::default().write(&disk).bytes;
    let kind = |limits: Limits| {
        let options = CheckOptions {
            limits,
            ..CheckOptions::default()
        };
        let flaws: Vec<Flaw> = [1, 1000, 1 << 20]
            .map(|slab| check_with(&options, &stream, slab).unwrap_err())
            .into();
        assert!(flaws.iter().all(|flaw| *flaw == flaws[0]), "{flaws:?}");
        (flaws[0].kind, flaws[0].offset)
    };
    let limits = Limits::default();
    let length = stream.len() as u64;
    assert_eq!(
        kind(Limits {
            max_stream: length - 1,
            ..limits.clone()
        }),
        (FlawKind::StreamTooLong, length - 1)
    );
    assert_eq!(
        kind(Limits {
            max_capacity: 2047 * 512,
            ..limits.clone()
        }),
        (FlawKind::BadHeader, 12)
    );
    assert_eq!(
        kind(Limits {
            max_grain: 32768,
            ..limits.clone()
        }),
        (FlawKind::BadHeader, 20)
    );
    assert_eq!(
        kind(Limits {
            max_descriptor: 511,
            ..limits
        }),
        (FlawKind::BadHeader, 36)
    );
}

#[test]
fn a_flaw_before_the_longest_stream_is_told_whatever_the_cuts_are() {
    let mut stream = Writer::default().write(&Disk::new(2048, &[0, 1, 2]));
    let (at, length) = (stream.grains[1], stream.bytes.len());
    stream.set64(at, 1);
    let options = CheckOptions {
        limits: Limits {
            max_stream: length as u64,
            ..Limits::default()
        },
        ..CheckOptions::default()
    };
    let mut check = Check::new(&options).unwrap();
    let mut bytes = Bytes::from(stream.bytes);
    check.feed(bytes.split_to(512)).unwrap();
    // Short, and so put together with what follows; then one that is not, and that goes far beyond the limit.
    check.feed(bytes).unwrap();
    let flaw = check.feed(vec![0; 1 << 20].into()).unwrap_err();
    assert_eq!(
        (flaw.kind, flaw.offset),
        (FlawKind::GrainMisaligned, at as u64),
        "{flaw}"
    );
}

/// A stream of so many equal grains, a slab for each grain table, up to where its directory would come.
fn long_stream(
    grains: u64,
    capacity: u64,
    mut slab: impl FnMut(Bytes) -> Result<(), Flaw>,
) -> Result<(), Flaw> {
    let one = Writer {
        level: 1,
        ..Writer::default()
    }
    .write(&Disk::new(128, &[0]));
    let grain = one.bytes[one.grains[0]..one.tables[0] - SECTOR].to_vec();
    let text = super::writer::descriptor(capacity);
    let writer = Writer {
        descriptor: Some(text),
        ..Writer::default()
    };
    let mut head = writer.write(&Disk::new(128, &[]));
    head.set64(12, capacity);
    head.bytes.truncate(one.grains[0]);
    slab(head.bytes.into())?;
    let mut sector = one.grains[0] / SECTOR;
    for table in 0..grains.div_ceil(512) {
        let mut bytes = Vec::new();
        let mut entries = Vec::new();
        for number in table * 512..((table + 1) * 512).min(grains) {
            entries.extend_from_slice(&(sector as u32).to_le_bytes());
            sector += grain.len() / SECTOR;
            bytes.extend_from_slice(&(number * 128).to_le_bytes());
            bytes.extend_from_slice(&grain[8..]);
        }
        entries.resize(2048, 0);
        bytes.extend_from_slice(&4u64.to_le_bytes());
        bytes.extend_from_slice(&[0, 0, 0, 0, 1, 0, 0, 0]);
        bytes.resize(bytes.len().next_multiple_of(SECTOR), 0);
        bytes.extend_from_slice(&entries);
        sector += 5;
        slab(bytes.into())?;
    }
    Ok(())
}

/// Peak memory of a check of a long stream, in KiB. It is measured in a process of its own, since a test shares its
/// process with others; `test` is the name of the caller, which does the work when it finds itself to be that process.
fn peak_kib(test: &str, grains: u64, capacity: u64) -> Option<u64> {
    const ALONE: &str = "VMDK_TEST_ALONE";
    if let Ok(alone) = std::env::var(ALONE) {
        let (grains, capacity) = alone.split_once(' ').expect("two numbers");
        let options = CheckOptions {
            in_flight: 1 << 20,
            ..CheckOptions::default()
        };
        let mut check = Check::new(&options).unwrap();
        let (grains, capacity) = (grains.parse().unwrap(), capacity.parse().unwrap());
        long_stream(grains, capacity, |slab| check.feed(slab)).unwrap();
        let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
        let line = status
            .lines()
            .find(|line| line.starts_with("VmHWM:"))
            .expect("a line");
        println!(
            "{ALONE} {}",
            line.split_ascii_whitespace().nth(1).expect("a number")
        );
        return None;
    }
    let output = crate::stage::program(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(ALONE, format!("{grains} {capacity}"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let peak = text
        .lines()
        .find_map(|line| line.split_once(ALONE)?.1.trim().parse().ok());
    Some(peak.unwrap_or_else(|| panic!("no peak in {text}")))
}

#[test]
fn memory_grows_neither_with_the_stream_nor_with_the_capacity() {
    let test = "vmdk::limits::memory_grows_neither_with_the_stream_nor_with_the_capacity";
    let Some(short) = peak_kib(test, 1024, 1024 * 128) else {
        return;
    };
    let peaks = [(8192, 8192 * 128), (1024, 62 * TIB_SECTORS)];
    for (grains, capacity) in peaks {
        let peak = peak_kib(test, grains, capacity).unwrap();
        assert!(
            peak < short + 2048,
            "{peak} KiB, {short} KiB for a short stream"
        );
    }
}

/// Bytes of a slab that say when they are released.
struct Slab(Vec<u8>, Arc<AtomicUsize>);

impl AsRef<[u8]> for Slab {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        self.1.fetch_sub(self.0.len(), Ordering::SeqCst);
    }
}

#[test]
fn no_more_slabs_are_kept_than_may_be_in_flight() {
    let live = Arc::new(AtomicUsize::new(0));
    let options = CheckOptions {
        in_flight: 1 << 20,
        ..CheckOptions::default()
    };
    let mut check = Check::new(&options).unwrap();
    let mut most = 0;
    long_stream(16 * 512, 16 * 512 * 128, |slab| {
        let slab = slab.to_vec();
        live.fetch_add(slab.len(), Ordering::SeqCst);
        let fed = check.feed(Bytes::from_owner(Slab(slab, Arc::clone(&live))));
        most = most.max(live.load(Ordering::SeqCst));
        fed
    })
    .unwrap();
    assert!(most <= 1 << 20, "{most} bytes of slabs");
    drop(check);
    assert_eq!(live.load(Ordering::SeqCst), 0);
}

#[test]
fn tables_in_front_of_a_large_empty_disk_are_walked_through() {
    let disk = Disk::new(TIB_SECTORS / 64, &[TABLE_SPAN / 128 * 100]);
    let stream = Writer {
        front: Some(2),
        ..Writer::default()
    }
    .write(&disk);
    let facts: Facts = check(&stream.bytes).unwrap();
    assert_eq!(facts.content_digest, Some(disk.content_digest()));
}

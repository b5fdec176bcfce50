//! The disk that a stream holds comes out of it.

use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use vmdk_backup::vmdk::{Check, CheckOptions, DiskSink, Facts, Flaw, FlawKind};

use super::disk::Disk;
use super::writer::{TABLE_SPAN, Writer};

/// A disk in memory, which grows as it is written.
#[derive(Default)]
pub struct Memory {
    bytes: Mutex<Vec<u8>>,
    writes: Mutex<Vec<(u64, usize)>>,
}

impl DiskSink for Memory {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.bytes.lock().unwrap();
        let end = offset as usize + bytes.len();
        if disk.len() < end {
            disk.resize(end, 0);
        }
        disk[offset as usize..end].copy_from_slice(bytes);
        self.writes.lock().unwrap().push((offset, bytes.len()));
        Ok(())
    }
}

/// The raw image that a stream decodes to.
pub fn decode(options: &CheckOptions, stream: &[u8]) -> Result<(Vec<u8>, Facts), Flaw> {
    let sink = Arc::new(Memory::default());
    let mut check = Check::decode(options, Arc::clone(&sink) as Arc<dyn DiskSink>).unwrap();
    for slab in stream.chunks(300_000) {
        check.feed(Bytes::copy_from_slice(slab))?;
    }
    let facts = check.finish()?;
    let mut bytes = sink.bytes.lock().unwrap().clone();
    assert!(
        bytes.len() as u64 <= facts.capacity,
        "written beyond the disk"
    );
    bytes.resize(facts.capacity as usize, 0);
    Ok((bytes, facts))
}

fn disk() -> Disk {
    let last = TABLE_SPAN / 128 + 3;
    Disk::new(last * 128 + 50, &[0, 1, 2, 5, 100, last - 1, last])
}

#[track_caller]
fn assert_decodes(writer: &Writer) {
    let disk = disk();
    for threads in [1, 4] {
        let options = CheckOptions {
            threads,
            ..CheckOptions::default()
        };
        let (raw, _) = decode(&options, &writer.write(&disk).bytes).unwrap();
        assert!(
            raw == disk.bytes(0, disk.sectors as usize * 512),
            "another disk"
        );
    }
}

#[test]
fn the_disk_of_either_layout_comes_out() {
    assert_decodes(&Writer::default());
    assert_decodes(&Writer {
        front: Some(2),
        ..Writer::default()
    });
}

#[test]
fn a_short_last_grain_comes_out() {
    assert_decodes(&Writer {
        short_last: true,
        ..Writer::default()
    });
}

#[test]
fn grains_of_other_sizes_come_out() {
    for grain_sectors in [8, 64, 512] {
        assert_decodes(&Writer {
            grain_sectors,
            ..Writer::default()
        });
    }
}

#[test]
fn grains_out_of_order_come_out() {
    let order = Some(vec![5, 0, 100, 2, 1, 515, 514]);
    assert_decodes(&Writer {
        order,
        ..Writer::default()
    });
}

#[test]
fn neighbours_are_written_together_and_zeros_not_at_all() {
    let units: Vec<u64> = (0..20).collect();
    let writer = Writer {
        zeros: vec![30, 31],
        ..Writer::default()
    };
    let stream = writer.write(&Disk::new(10_000, &units));
    let sink = Arc::new(Memory::default());
    let mut check = Check::decode(
        &CheckOptions::default(),
        Arc::clone(&sink) as Arc<dyn DiskSink>,
    )
    .unwrap();
    check.feed(stream.bytes.into()).unwrap();
    check.finish().unwrap();
    let mut writes = sink.writes.lock().unwrap().clone();
    writes.sort_unstable();
    assert_eq!(writes, [(0, 1 << 20), (1 << 20, 4 * 65536)]);
}

#[test]
fn a_sink_that_fails_ends_the_check() {
    struct Full;
    impl DiskSink for Full {
        fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
            Err(io::Error::from(io::ErrorKind::StorageFull))
        }
    }
    let mut check = Check::decode(&CheckOptions::default(), Arc::new(Full)).unwrap();
    let fed = check.feed(Writer::default().write(&disk()).bytes.into());
    let flaw = fed.and_then(|()| check.finish().map(|_| ())).unwrap_err();
    assert_eq!(flaw.kind, FlawKind::NotWritten);
    assert!(flaw.message.contains("no storage space"), "{flaw}");
}

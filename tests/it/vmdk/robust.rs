//! What happens to a stream on its way never passes for another disk.

use std::fmt::Debug;

use vmdk_backup::vmdk::{Check, CheckOptions, Facts, Flaw, FlawKind};

use super::check_with;
use super::disk::Disk;
use super::writer::{Stream, Writer};

fn one_thread(stream: &[u8]) -> Result<Facts, Flaw> {
    let options = CheckOptions {
        threads: 1,
        ..CheckOptions::default()
    };
    check_with(&options, stream, stream.len().max(1))
}

fn disk() -> Disk {
    Disk::new(5 * 128 + 7, &[0, 5])
}

fn end() -> Stream {
    Writer::default().write(&disk())
}

fn front() -> Stream {
    let writer = Writer {
        front: Some(2),
        short_last: true,
        ..Writer::default()
    };
    let mut stream = writer.write(&disk());
    // Version and low flags are compared with the footer's, where there is one; none of them changes the disk.
    stream.free.push(4..10);
    stream
}

#[test]
fn a_stream_cut_anywhere_is_never_whole() {
    for stream in [end(), front()] {
        for length in 0..stream.bytes.len() {
            let flaw = one_thread(&stream.bytes[..length]).expect_err("a flaw");
            let expected = match length {
                _ if length == stream.eos => FlawKind::MissingEos,
                _ => FlawKind::Truncated,
            };
            assert_eq!(
                (flaw.kind, flaw.offset),
                (expected, length as u64),
                "{flaw}"
            );
        }
    }
}

/// Flips each bit; of bytes that are free or zero, one.
///
/// Free are: header fields that say nothing about a compressed disk (low flags, redundant directory, unclean shutdown,
/// padding), the descriptor's words, the bytes of markers behind their fields, paddings, and within a zlib stream
/// whatever inflates to the same, be it that the grain's size counts some of the padding after it.
fn flip(stream: &Stream) {
    let disk = disk();
    let mut bytes = stream.bytes.clone();
    let mut passed = 0;
    for bit in 0..bytes.len() * 8 {
        let at = bit / 8;
        let free = stream.free.iter().any(|range| range.contains(&at));
        if (free || bytes[at] == 0) && bit % 8 != at % 8 {
            continue;
        }
        bytes[at] ^= 1 << (bit % 8);
        if let Ok(facts) = one_thread(&bytes) {
            passed += 1;
            assert_eq!(
                facts.content_digest,
                Some(disk.content_digest()),
                "bit {bit}"
            );
            assert_eq!(facts.capacity, disk.sectors * 512, "bit {bit}");
            let zlib = stream
                .grains
                .iter()
                .any(|&grain| (grain + 8..grain + 512).contains(&at));
            assert!(
                free || zlib,
                "bit {bit} of byte {at} means something and was not missed"
            );
        }
        bytes[at] ^= 1 << (bit % 8);
    }
    assert!(passed > 0, "padding is free");
}

#[test]
fn a_flipped_bit_is_a_flaw_or_the_same_disk() {
    flip(&end());
}

#[test]
fn a_flipped_bit_of_tables_in_front_is_a_flaw_or_the_same_disk() {
    flip(&front());
}

#[test]
fn a_check_can_move_to_another_thread_and_a_flaw_is_an_error() {
    fn movable<T: Send>() {}
    fn error<T: std::error::Error + Debug + Send + Sync>() {}
    movable::<Check>();
    error::<Flaw>();
}

#[test]
fn a_check_that_is_dropped_half_way_ends_its_threads() {
    let stream = end();
    let mut check = Check::new(&CheckOptions::default()).unwrap();
    check
        .feed(stream.bytes[..stream.grains[1]].to_vec().into())
        .unwrap();
    drop(check);
}

#[test]
fn a_flaw_is_told_again_by_every_later_call() {
    let stream = end();
    let mut bytes = stream.bytes.clone();
    bytes[4] = 9;
    let mut check = Check::new(&CheckOptions::default()).unwrap();
    let first = check.feed(bytes.clone().into()).unwrap_err();
    assert_eq!(check.feed(bytes.into()), Err(first.clone()));
    assert_eq!(check.finish(), Err(first));
}

#[test]
fn header_descriptor_and_progress_are_known_on_the_way() {
    let (disk, stream) = (disk(), end());
    let mut check = Check::new(&CheckOptions::default()).unwrap();
    check.feed(stream.bytes[..511].to_vec().into()).unwrap();
    assert!(check.header().is_none());
    check.feed(stream.bytes[511..512].to_vec().into()).unwrap();
    assert_eq!(check.header().unwrap().capacity_bytes(), disk.sectors * 512);
    assert_eq!(check.header().unwrap().grain_bytes(), 65536);
    assert!(check.descriptor().is_none());
    check.feed(vec![].into()).unwrap();
    check
        .feed([&stream.bytes[512..], &vec![0; 1 << 20]].concat().into())
        .unwrap();
    assert_eq!(check.descriptor().unwrap().create_type, "streamOptimized");
    let progress = check.progress();
    assert_eq!(progress.bytes, stream.bytes.len() as u64 + (1 << 20));
    assert_eq!(progress.last_lba_bytes, disk.sectors * 512);
    check.finish().unwrap();
}

#[test]
fn a_thread_that_cannot_be_started_is_an_error() {
    let options = CheckOptions {
        spawn: |_, _| Err(std::io::Error::from_raw_os_error(11)),
        ..CheckOptions::default()
    };
    assert!(Check::new(&options).is_err());
}

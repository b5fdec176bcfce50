//! Streams that are wrong in one place are refused, each for what is wrong with it.

mod grains;
mod head;
mod tables;
mod texts;

use vmdk_backup::vmdk::{Flaw, FlawKind};

use super::disk::Disk;
use super::verdict;
use super::writer::{Stream, TABLE_SPAN, Writer};

/// Two tables with grains and an end within a grain.
fn disk() -> Disk {
    let last = TABLE_SPAN / 128 + 3;
    Disk::new(last * 128 + 50, &[0, 1, 5, last])
}

fn stream() -> Stream {
    Writer::default().write(&disk())
}

fn front() -> Stream {
    Writer {
        front: Some(1),
        ..Writer::default()
    }
    .write(&disk())
}

#[track_caller]
fn assert_refused(stream: &[u8], kind: FlawKind, offset: usize) {
    let flaw: Flaw = verdict(stream).expect_err("a flaw");
    assert_eq!((flaw.kind, flaw.offset), (kind, offset as u64), "{flaw}");
}

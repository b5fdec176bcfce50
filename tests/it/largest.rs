//! The largest disk there is, almost empty, comes into vSphere from a raw disk and leaves as one.

use crate::fixture::{MIB, Scene};
use bytes::Bytes;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use vmdk_backup::error::{Error, Kind, Result};
use vmdk_backup::ops::{BackupOptions, Common, RestoreOptions, backup_volume, restore_backup};
use vmdk_backup::service::{BackupReader, BackupRequest, BackupService, BackupWriter, Format};
use vmdk_backup::volume::Volume;
use vsphere_sim::Options;

/// 62 TiB: no vSphere disk is larger.
const SIZE: u64 = 62 << 40;
/// What is kept of a disk at once.
const PIECE: u64 = 64 << 10;

type Pieces = BTreeMap<u64, Vec<u8>>;

/// A service that keeps of one raw disk what is not zero.
#[derive(Default)]
struct Sparse {
    pieces: RefCell<Pieces>,
    zeros: RefCell<u64>,
}

struct Writer<'a>(&'a Sparse);
struct Reader<'a>(&'a Sparse);

fn only_raw() -> Error {
    Error::new(Kind::Unsupported, "only raw disks are kept here")
}

impl BackupService for Sparse {
    fn create<'a>(&'a self, request: &BackupRequest<'_>) -> Result<Box<dyn BackupWriter + 'a>> {
        assert_eq!(request.capacity, SIZE);
        Ok(Box::new(Writer(self)))
    }

    fn open<'a>(&'a self, _backup_id: &str) -> Result<Box<dyn BackupReader + 'a>> {
        Ok(Box::new(Reader(self)))
    }
}

impl BackupWriter for Writer<'_> {
    fn write(&mut self, _bytes: &Bytes) -> Result<()> {
        Err(only_raw())
    }

    fn write_at(&mut self, offset: u64, bytes: &Bytes) -> Result<()> {
        let mut pieces = self.0.pieces.borrow_mut();
        for (number, piece) in (offset / PIECE..).zip(bytes.chunks(PIECE as usize)) {
            assert!(pieces.insert(number, piece.to_vec()).is_none(), "twice");
        }
        Ok(())
    }

    fn zeros(&mut self, range: Range<u64>) -> Result<()> {
        *self.0.zeros.borrow_mut() += range.end - range.start;
        Ok(())
    }

    fn set_metadata(&mut self, _metadata: &str) -> Result<()> {
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

impl BackupReader for Reader<'_> {
    fn length(&self) -> u64 {
        SIZE
    }

    fn metadata(&mut self) -> Result<Option<String>> {
        Ok(None)
    }

    fn read(&mut self, _buffer: &mut [u8]) -> Result<usize> {
        Err(only_raw())
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        buffer.fill(0);
        let pieces = self.0.pieces.borrow();
        for (number, out) in (offset / PIECE..).zip(buffer.chunks_mut(PIECE as usize)) {
            if let Some(piece) = pieces.get(&number) {
                out.copy_from_slice(&piece[..out.len()]);
            }
        }
        Ok(())
    }

    fn next_data(&mut self, offset: u64) -> Result<Option<Range<u64>>> {
        let pieces = self.0.pieces.borrow();
        let next = pieces.range(offset / PIECE..).next();
        Ok(next.map(|(number, _)| number * PIECE..(number + 1) * PIECE))
    }
}

fn common() -> Common<'static> {
    Common {
        format: Format::Raw,
        ..Common::default()
    }
}

#[test]
fn the_largest_disk_comes_from_a_raw_service_and_goes_to_one() {
    let scene = Scene::new(Options::default());
    let volume = Volume {
        name: "largest".into(),
        ..Volume::default()
    };
    let given = Sparse::default();
    let last = SIZE / PIECE - 1;
    for (number, byte) in [(0, 1), (1, 2), (last / 2, 3), (last, 4)] {
        let piece = vec![byte; PIECE as usize];
        given.pieces.borrow_mut().insert(number, piece);
    }
    let options = RestoreOptions {
        backup_id: "b".into(),
        common: common(),
        ..RestoreOptions::default()
    };
    let brought = restore_backup(&scene.client(), &given, &volume, options).unwrap();
    assert_eq!(brought.capacity, SIZE);
    // Four grains, their tables, and a directory of four bytes for each 32 MiB of the disk.
    assert!(brought.stream_length < 10 * MIB, "{brought:?}");

    let taken = Sparse::default();
    let options = BackupOptions {
        backup_id: "c".into(),
        common: common(),
        ..BackupOptions::default()
    };
    let made = backup_volume(&scene.client(), &taken, &volume, options).unwrap();
    assert_eq!(made.populated, 4 * PIECE);
    assert!(*taken.pieces.borrow() == *given.pieces.borrow());
    assert_eq!(*taken.zeros.borrow(), SIZE - 4 * PIECE);
}

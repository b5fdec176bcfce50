//! Writes to a regular file, on a thread of the library's own.
//!
//! A write beyond the process's file size limit raises SIGXFSZ on the writing thread; on a
//! library thread it is blocked and the write fails with EFBIG instead of ending the host.

use crate::error::{Error, Result};
use crate::runtime::spawn_thread;
use bytes::Bytes;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Pieces on their way to the file: enough to overlap, few enough not to hold the pool of slabs.
const QUEUED: usize = 2;

/// Bytes for a place in the file; `None` = behind what was written there before.
type Piece = (Option<u64>, Bytes);

/// Writes what it is given, in order. Dropping it waits until the thread let go of the file.
pub struct FileWriter {
    name: String,
    pieces: Option<SyncSender<Piece>>,
    outcome: Receiver<std::io::Result<File>>,
    thread: Option<JoinHandle<()>>,
}

impl FileWriter {
    /// Starts writing to `file` at its position; `name` is how errors call it.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`] when no thread can be had.
    pub fn new(mut file: File, name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        let (pieces, queue) = sync_channel::<Piece>(QUEUED);
        let (done, outcome) = sync_channel(1);
        let thread = spawn_thread("vmdk-write", move || {
            let written = queue.iter().try_for_each(|(offset, piece)| match offset {
                Some(offset) => file.write_all_at(&piece, offset),
                None => file.write_all(&piece),
            });
            // Nobody listens any more when the writer was dropped.
            let _ = done.send(written.and_then(|()| file.flush()).map(|()| file));
        })
        .map_err(|e| Error::io(format_args!("start a thread to write {name}"), &e))?;
        Ok(FileWriter {
            name,
            pieces: Some(pieces),
            outcome,
            thread: Some(thread),
        })
    }

    /// Queues `piece`; blocks while the file is behind.
    ///
    /// # Errors
    /// Of this or an earlier piece: [`crate::error::Kind::NoSpace`], [`crate::error::Kind::Io`].
    pub fn write(&mut self, piece: &Bytes) -> Result<()> {
        self.queue((None, piece.clone()))
    }

    /// Queues `piece` for byte `offset` of the file; blocks while the file is behind.
    ///
    /// # Errors
    /// As [`FileWriter::write`].
    pub fn write_at(&mut self, offset: u64, piece: &Bytes) -> Result<()> {
        self.queue((Some(offset), piece.clone()))
    }

    fn queue(&mut self, piece: Piece) -> Result<()> {
        match &self.pieces {
            Some(pieces) if pieces.send(piece).is_ok() => Ok(()),
            _ => match self.close() {
                Ok(_) => Err(Error::new(
                    crate::error::Kind::Io,
                    format!("write {}: the writing thread is gone", self.name),
                )),
                Err(error) => Err(error),
            },
        }
    }

    /// Waits for the last piece and gives the file back, positioned behind it.
    ///
    /// # Errors
    /// As [`FileWriter::write`].
    pub fn finish(mut self) -> Result<File> {
        self.close()
    }

    fn close(&mut self) -> Result<File> {
        drop(self.pieces.take());
        let outcome = self.outcome.recv();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread shows as a missing outcome.
            let _ = thread.join();
        }
        match outcome {
            Ok(written) => written.map_err(|e| Error::io(format_args!("write {}", self.name), &e)),
            Err(_) => Err(Error::new(
                crate::error::Kind::Io,
                format!("write {}: an earlier write failed", self.name),
            )),
        }
    }
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        drop(self.pieces.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use std::io::{Read, Seek};

    #[test]
    fn pieces_arrive_in_order() {
        let mut writer = FileWriter::new(tempfile::tempfile().unwrap(), "x").unwrap();
        for piece in ["one ", "two ", "three"] {
            writer.write(&Bytes::from_static(piece.as_bytes())).unwrap();
        }
        let mut file = writer.finish().unwrap();
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "one two three");
    }

    #[test]
    fn a_full_disk_is_no_space() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut writer = FileWriter::new(full, "/dev/full").unwrap();
        let piece = Bytes::from_static(&[7; 512]);
        let error = (0..100).find_map(|_| writer.write(&piece).err()).unwrap();
        assert_eq!(error.kind(), Kind::NoSpace);
    }
}

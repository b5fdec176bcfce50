//! Raw disks of a service: decoded on the way out of vSphere, encoded on the way back.
//!
//! The engine's workers ask for bytes and give them whenever they like; the service is called on
//! the caller's thread alone, one call at a time. So the engine runs on a thread of the library's
//! own, and what the service is to do goes through a channel to the caller's.

use super::convert::{options, threads};
use super::proof::damaged;
use super::watch::Watch;
use crate::error::{Context, Error, Kind, Phase, Result};
use crate::file::FileWriter;
use crate::runtime::{TICK, spawn_thread};
use crate::service::{BackupReader, BackupWriter};
use crate::vmdk::{
    Check, CheckOptions, ContentDigest, DiskSink, DiskSource, Encode, EncodeOptions, Encoded,
    Facts, UNIT, unit_digest,
};
use crate::vsphere::nfc::Download;
use bytes::Bytes;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Pieces of at most 1 MiB on their way to or from the service.
const PIECES: usize = 8;

/// Decodes what `download` brings into the service's `writer`, and proves it whole; `told` hears
/// how much of the disk is done. `sha1`: the server's manifest will have no other digest.
pub(super) fn receive(
    watch: &mut Watch<'_>,
    download: Download,
    sha1: bool,
    writer: &mut dyn BackupWriter,
    told: &dyn Fn(u64),
) -> Result<Facts> {
    let (pieces, waiting) = sync_channel(PIECES);
    let options = CheckOptions { sha1, ..options() };
    let check = Check::decode(&options, Arc::new(Relay(pieces)))
        .map_err(|e| Error::io("start the threads of the check", &e))?;
    let reached = Arc::new(AtomicU64::new(0));
    let engine = {
        let reached = reached.clone();
        Engine::start(move |stopped| decode(download, check, &reached, stopped))?
    };
    let kept = serve(watch, waiting, &mut |watch, piece| {
        match piece {
            Piece::Data(offset, bytes) => writer.write_at(offset, &bytes),
            Piece::Zeros(range) => writer.zeros(range),
        }
        .context("write to the service")?;
        let reached = reached.load(Ordering::Relaxed);
        told(reached);
        watch.reach(reached)
    });
    engine.outcome(kept)
}

fn decode(
    mut download: Download,
    mut check: Check,
    reached: &AtomicU64,
    stopped: &AtomicBool,
) -> Result<Facts> {
    let mut look = || match stopped.load(Ordering::Relaxed) {
        true => Err(Error::new(Kind::Cancelled, "the service takes no more")),
        false => Ok(()),
    };
    while let Some(slab) = download.next(&mut look)? {
        check.feed(slab).map_err(damaged)?;
        reached.store(check.progress().last_lba_bytes, Ordering::Relaxed);
    }
    check.finish().map_err(damaged)
}

/// Encodes the disk that the service's `reader` has into `file`, and ends the file.
pub(super) fn encode(
    watch: &mut Watch<'_>,
    reader: &mut dyn BackupReader,
    mut file: FileWriter,
) -> Result<Encoded> {
    let size = reader.length();
    let (asks, waiting) = sync_channel(PIECES);
    let engine = Engine::start(move |_| {
        let options = EncodeOptions {
            threads: threads(),
            content_digest: true,
            spawn: |name, body| spawn_thread(name, body),
            ..EncodeOptions::default()
        };
        let failed = |e: io::Error| Error::io("encode the disk", &e);
        let mut encode = Encode::new(&options, Arc::new(Remote(asks)), size).map_err(failed)?;
        while let Some(slab) = encode.next_slab().map_err(failed)? {
            file.write(&slab)?;
        }
        let ended = encode.finish();
        file.finish()?;
        ended.ok_or_else(|| Error::new(Kind::Io, "the encoder ended before the disk"))
    })?;
    let served = serve(watch, waiting, &mut |watch, ask| match ask {
        Ask::Read {
            offset,
            length,
            reply,
        } => {
            let mut bytes = vec![0; length];
            reader
                .read_at(offset, &mut bytes)
                .context("read from the service")?;
            // Nobody waits where another worker failed.
            let _ = reply.send(bytes);
            watch.reach(offset)
        }
        Ask::NextData { offset, reply } => {
            let range = reader.next_data(offset).context("ask the service")?;
            let _ = reply.send(range);
            watch.tick()
        }
    });
    engine.outcome(served)
}

/// The content digest of the disk that the service's `reader` has.
pub(super) fn digest(watch: &mut Watch<'_>, reader: &mut dyn BackupReader) -> Result<[u8; 32]> {
    let size = reader.length();
    watch.enter(Phase::Verify, size)?;
    let mut digest = ContentDigest::new();
    let mut unit = vec![0; UNIT as usize];
    let mut at = 0;
    while let Some(data) = reader.next_data(at).context("ask the service")? {
        at = data.start.max(at) / UNIT * UNIT;
        while at < data.end {
            let length = UNIT.min(size - at) as usize;
            let read = reader.read_at(at, &mut unit[..length]);
            read.context("read from the service")?;
            unit[length..].fill(0);
            if unit.iter().any(|byte| *byte != 0) && !digest.push(at / UNIT, unit_digest(&unit)) {
                return Err(Error::new(
                    Kind::Service,
                    "the service goes back in the disk",
                ));
            }
            at += UNIT;
            watch.reach(at)?;
        }
    }
    watch.complete()?;
    Ok(digest.finish())
}

/// What the workers want, done on the caller's thread until they want no more. When it fails,
/// they are told by the end of the channel.
fn serve<T>(
    watch: &mut Watch<'_>,
    waiting: Receiver<T>,
    act: &mut dyn FnMut(&mut Watch<'_>, T) -> Result<()>,
) -> Result<()> {
    loop {
        match waiting.recv_timeout(TICK) {
            Ok(wanted) => act(watch, wanted)?,
            Err(RecvTimeoutError::Timeout) => watch.tick()?,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

/// The thread on which the engine runs.
struct Engine<T> {
    thread: JoinHandle<()>,
    outcome: Receiver<Result<T>>,
    stopped: Arc<AtomicBool>,
}

impl<T: Send + 'static> Engine<T> {
    fn start(body: impl FnOnce(&AtomicBool) -> Result<T> + Send + 'static) -> Result<Engine<T>> {
        let stopped = Arc::new(AtomicBool::new(false));
        let (done, outcome) = sync_channel(1);
        let flag = stopped.clone();
        let thread = spawn_thread("vmdk-engine", move || {
            // There is room, and the receiver waits for the thread.
            let _ = done.send(body(&flag));
        })
        .map_err(|e| Error::io("start the engine's thread", &e))?;
        Ok(Engine {
            thread,
            outcome,
            stopped,
        })
    }

    /// What the engine made, once it has ended; what went wrong at the service is told first.
    fn outcome(self, served: Result<()>) -> Result<T> {
        if served.is_err() {
            self.stopped.store(true, Ordering::Relaxed);
        }
        // A panic of the thread shows as a missing outcome.
        let _ = self.thread.join();
        served?;
        self.outcome
            .recv()
            .unwrap_or_else(|_| Err(Error::new(Kind::Panic, "the engine's thread panicked")))
    }
}

/// Something for the service to keep.
enum Piece {
    Data(u64, Bytes),
    Zeros(Range<u64>),
}

/// Where the workers put the disk: the way to the caller's thread.
struct Relay(SyncSender<Piece>);

impl Relay {
    fn pass(&self, piece: Piece) -> io::Result<()> {
        let passed = self.0.send(piece);
        passed.map_err(|_| io::Error::other("the service takes no more"))
    }
}

impl DiskSink for Relay {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.pass(Piece::Data(offset, Bytes::copy_from_slice(bytes)))
    }

    fn zeros(&self, range: Range<u64>) -> io::Result<()> {
        self.pass(Piece::Zeros(range))
    }
}

/// Something for the service to tell.
enum Ask {
    Read {
        offset: u64,
        length: usize,
        reply: SyncSender<Vec<u8>>,
    },
    NextData {
        offset: u64,
        reply: SyncSender<Option<Range<u64>>>,
    },
}

/// Where the workers get the disk from: the way to the caller's thread.
struct Remote(SyncSender<Ask>);

impl Remote {
    fn ask<T>(&self, ask: Ask, answer: &Receiver<T>) -> io::Result<T> {
        let gone = || io::Error::other("the service gives no more");
        self.0.send(ask).map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())
    }
}

impl DiskSource for Remote {
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let (reply, answer) = sync_channel(1);
        let length = bytes.len();
        let ask = Ask::Read {
            offset,
            length,
            reply,
        };
        bytes.copy_from_slice(&self.ask(ask, &answer)?);
        Ok(())
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let (reply, answer) = sync_channel(1);
        self.ask(Ask::NextData { offset, reply }, &answer)
    }
}

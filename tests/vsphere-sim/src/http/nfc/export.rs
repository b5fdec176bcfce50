//! A disk on its way out: encoded afresh while it flows, without a length known before.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc::{self, Sender};
use tokio::sync::watch;

use crate::disk::{Disk, hex};
use crate::http::body::{Body, Ending};
use crate::http::line::Line;
use crate::http::sdk::http_status;
use crate::http::{Entrance, NoAnswer, Reply};
use crate::plan::{DataTrouble, Trouble};
use crate::vmdk::{self, EncodeOptions, StreamFacts};
use crate::wire::Fault;
use crate::world::lease::Transfer;
use crate::world::{Shared, World};

use super::Target;
use super::kept::Keeping;

/// Bytes sent in one piece.
const PIECE: usize = 256 << 10;
/// Pieces that may wait for the network.
const AHEAD: usize = 4;
/// The size of the files that are no disks.
const NVRAM: usize = 8684;

pub async fn answer(target: Target, line: &Arc<Line>, entrance: &Entrance) -> Reply {
    let mut data = Vec::new();
    let mut length = None;
    let mut extra = 0;
    for trouble in entrance.shared.faults.export() {
        match trouble {
            Trouble::Hold(gate) => gate.wait().await,
            Trouble::Close => {
                line.close();
                return Err(NoAnswer);
            }
            Trouble::Reset => {
                line.reset();
                return Err(NoAnswer);
            }
            Trouble::Status(status) => return Ok(http_status(status)),
            Trouble::Data(_, DataTrouble::ContentLength(bytes)) => length = Some(bytes),
            Trouble::Data(_, DataTrouble::TooLong(bytes)) => {
                extra += usize::try_from(bytes).unwrap_or(PIECE)
            }
            Trouble::Data(at, trouble) => data.push((at, trouble)),
            _ => {}
        }
    }
    data.sort_by_key(|(at, _)| *at);
    let (sender, pieces) = mpsc::channel(AHEAD);
    let ended = {
        let mut world = entrance.shared.write();
        target.note(&mut world, Transfer::Running);
        world
            .leases
            .get(&target.lease.id)
            .map(|lease| lease.ended.subscribe())
    };
    let Some(ended) = ended else {
        return Ok(http_status(404));
    };
    let shared = entrance.shared.clone();
    let outgoing = Outgoing {
        shared,
        sender,
        ended,
        data,
        buffer: Vec::with_capacity(PIECE),
        sent: 0,
        began: Instant::now(),
        extra,
        announced: length.unwrap_or(0),
        ending: Ending::Close,
    };
    tokio::task::spawn_blocking(move || send(target, outgoing));
    let mut response = Response::new(Body::stream(pieces, line.clone()));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-vnd.vmware-streamVmdk"),
    );
    if let Some(length) = length {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    *response.status_mut() = StatusCode::OK;
    Ok(response)
}

struct Outgoing {
    shared: Arc<Shared>,
    sender: Sender<Result<Bytes, Ending>>,
    ended: watch::Receiver<bool>,
    /// What is still to go wrong, in the order of the offsets.
    data: Vec<(u64, DataTrouble)>,
    buffer: Vec<u8>,
    sent: u64,
    began: Instant,
    /// Bytes to send too much.
    extra: usize,
    /// The length that the header tells; 0 where it tells none.
    announced: u64,
    /// How the connection ends where the stream is not finished.
    ending: Ending,
}

fn send(target: Target, mut outgoing: Outgoing) {
    let contents = {
        let world = outgoing.shared.read();
        let file = world
            .leases
            .get(&target.lease.id)
            .and_then(|lease| lease.files.get(target.index));
        file.map(|file| {
            let disk = world.disk_file(&file.datastore, &file.path).ok();
            disk.map(|disk| (disk.contents.clone(), disk.capacity, disk.allocated))
        })
    };
    let sent = match contents.flatten() {
        Some((contents, capacity, allocated)) => {
            let disk = contents.read();
            let populated = (capacity, allocated);
            export(&disk, populated, &mut outgoing)
        }
        None => encode((0, 0), &mut outgoing, |sink| sink(&[0; NVRAM])),
    };
    let finished = sent.and_then(|facts| outgoing.finish().map(|()| facts));
    let transfer = match &finished {
        Ok(facts) => Transfer::Done(facts.clone()),
        Err(error) => Transfer::Failed(error.to_string()),
    };
    target.note(&mut outgoing.shared.write(), transfer);
    if finished.is_err() || outgoing.sent < outgoing.announced {
        // The client has gone, perhaps, and nobody listens.
        let _ = outgoing.sender.blocking_send(Err(outgoing.ending));
    }
}

/// Sends the disk's stream: afresh, or as it was sent before where that is wanted.
fn export(disk: &Disk, size: (u64, u64), outgoing: &mut Outgoing) -> io::Result<StreamFacts> {
    let shared = outgoing.shared.clone();
    if let Some(kept) = shared.kept.find(disk) {
        outgoing.repeat(&kept.stream)?;
        return Ok(kept.facts);
    }
    let wanted = shared.read().options.keep_exports;
    let mut keeping = Keeping::begin(wanted, disk)?;
    let facts = encode(size, outgoing, |sink| {
        let mut both = |bytes: &[u8]| keeping.write(bytes).and_then(|()| sink(bytes));
        vmdk::encode(disk, &EncodeOptions::default(), &mut both)
    })?;
    keeping.end(&shared.kept, disk, facts.clone())?;
    Ok(facts)
}

/// Sends what `make` makes, and tells what that was.
fn encode(
    (capacity, populated): (u64, u64),
    outgoing: &mut Outgoing,
    make: impl FnOnce(&mut vmdk::Sink) -> io::Result<()>,
) -> io::Result<StreamFacts> {
    let (mut sha1, mut sha256, mut size) = (Sha1::new(), Sha256::new(), 0);
    make(&mut |bytes| {
        sha1.update(bytes);
        sha256.update(bytes);
        size += bytes.len() as u64;
        outgoing.write(bytes)
    })?;
    Ok(StreamFacts {
        size,
        sha1: hex(&sha1.finalize()),
        sha256: hex(&sha256.finalize()),
        capacity,
        populated,
        in_order: true,
    })
}

fn stopped(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, why)
}

impl Outgoing {
    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let position = self.sent + self.buffer.len() as u64;
            let mut count = bytes.len().min(PIECE - self.buffer.len());
            if let Some((at, _)) = self.data.first() {
                let left = at.saturating_sub(position);
                if left == 0 {
                    let (_, trouble) = self.data.remove(0);
                    bytes = self.strike(trouble, bytes)?;
                    continue;
                }
                count = count.min(usize::try_from(left).unwrap_or(count));
            }
            let (now, later) = bytes.split_at(count);
            self.buffer.extend_from_slice(now);
            bytes = later;
            if self.buffer.len() >= PIECE {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Sends a stream that is in memory already; where nothing is to go wrong with it, as it lies there.
    fn repeat(&mut self, stream: &Bytes) -> io::Result<()> {
        if !self.data.is_empty() {
            return self.write(stream);
        }
        for start in (0..stream.len()).step_by(PIECE) {
            self.pass(stream.slice(start..stream.len().min(start + PIECE)))?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE));
        self.pass(piece.into())
    }

    fn pass(&mut self, piece: Bytes) -> io::Result<()> {
        if *self.ended.borrow() {
            return Err(stopped("the lease has ended"));
        }
        if piece.is_empty() {
            return Ok(());
        }
        self.sent += piece.len() as u64;
        self.sender
            .blocking_send(Ok(piece))
            .map_err(|_| stopped("the client has gone"))?;
        self.keep_pace();
        Ok(())
    }

    /// Waits where the host is told to be slow.
    fn keep_pace(&self) {
        let rate = self.shared.export_rate.load(Ordering::Relaxed);
        if rate > 0 {
            let due = Duration::from_secs_f64(self.sent as f64 / rate as f64);
            thread::sleep(due.saturating_sub(self.began.elapsed()));
        }
    }

    fn strike<'b>(&mut self, trouble: DataTrouble, bytes: &'b [u8]) -> io::Result<&'b [u8]> {
        match trouble {
            DataTrouble::Flip => {
                let (first, rest) = bytes.split_at(1);
                self.buffer.push(first[0] ^ 1);
                return Ok(rest);
            }
            DataTrouble::Stall(gate) => {
                self.flush()?;
                gate.wait_blocking(|| !self.sender.is_closed() && !*self.ended.borrow());
                if *self.ended.borrow() {
                    return Err(stopped("the lease has ended"));
                }
            }
            DataTrouble::End => {
                self.flush()?;
                self.ending = Ending::Whole;
                return Err(stopped("the stream was ended early"));
            }
            DataTrouble::Close | DataTrouble::Reset | DataTrouble::Answer(_) => {
                self.flush()?;
                if matches!(trouble, DataTrouble::Reset) {
                    self.ending = Ending::Reset;
                }
                return Err(stopped("the connection was cut"));
            }
            DataTrouble::LeaseError(fault) => {
                self.flush()?;
                let mut world = self.shared.write();
                fail_all(&mut world, &fault);
            }
            DataTrouble::LoseSession => {
                self.flush()?;
                let mut world = self.shared.write();
                let keys: Vec<String> = world
                    .sessions
                    .iter()
                    .map(|session| session.key.clone())
                    .collect();
                keys.iter().for_each(|key| world.close_session(key));
            }
            // Both happen elsewhere: at the end, and in the header.
            DataTrouble::TooLong(_) | DataTrouble::ContentLength(_) => {}
        }
        Ok(bytes)
    }

    /// Sends what is left, and what the plan adds to it.
    fn finish(&mut self) -> io::Result<()> {
        // A point at the very end, or behind it, strikes there.
        for (_, trouble) in std::mem::take(&mut self.data) {
            match trouble {
                DataTrouble::Flip | DataTrouble::End => {}
                trouble => {
                    self.strike(trouble, &[])?;
                }
            }
        }
        let extra = vec![0; self.extra];
        self.buffer.extend_from_slice(&extra);
        self.flush()
    }
}

/// Fails every lease that is held.
pub fn fail_all(world: &mut World, fault: &Fault) {
    let all: Vec<_> = world
        .leases
        .values()
        .map(|lease| lease.reference.clone())
        .collect();
    all.iter()
        .for_each(|lease| world.fail_lease(lease, fault.clone()));
}

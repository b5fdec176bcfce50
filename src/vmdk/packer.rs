//! The worker threads of an encoder. Each takes the next piece of the disk by a ticket, packs it, and lays it down for its
//! turn; so the stream is in order, whoever was first.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;

use super::deflate::{Deflater, PIECE, Packed};
use super::encode::{DiskSource, EncodeOptions};

struct State {
    /// The next ticket, and the first piece that it may be for.
    ticket: u64,
    piece: u64,
    /// What is known to be data; pieces in it are taken without asking again.
    data: Range<u64>,
    /// No piece has data after the last ticket, or asking failed.
    end: bool,
    /// Tickets below this one were taken out.
    turn: u64,
    packed: BTreeMap<u64, io::Result<Packed>>,
    spare: Vec<Packed>,
    closed: bool,
    broken: bool,
}

struct Shared {
    source: Arc<dyn DiskSource>,
    size: u64,
    /// Tickets that may be out at a time.
    ahead: u64,
    state: Mutex<State>,
    /// A ticket may be taken, or never again.
    turns: Condvar,
    /// A piece was laid down, or none will be.
    pieces: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next ticket, with the piece of the disk it is for; waits until one may be taken.
    fn ticket(&self) -> Option<(u64, u64, Packed)> {
        let mut state = self.lock();
        while !state.closed && !state.end && state.ticket >= state.turn + self.ahead {
            state = self
                .turns
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed || state.end {
            return None;
        }
        let piece = self.next_piece(&mut state);
        let ticket = state.ticket;
        match piece {
            Ok(Some(piece)) => {
                state.piece = piece + 1;
                state.ticket += 1;
                return Some((ticket, piece, state.spare.pop().unwrap_or_default()));
            }
            Ok(None) => {}
            Err(error) => {
                state.ticket += 1;
                state.packed.insert(ticket, Err(error));
            }
        }
        state.end = true;
        self.pieces.notify_one();
        self.turns.notify_all();
        None
    }

    /// The next piece with something in it.
    fn next_piece(&self, state: &mut State) -> io::Result<Option<u64>> {
        let position = state.piece * PIECE;
        if position >= self.size {
            return Ok(None);
        }
        if position >= state.data.end {
            state.data = match self.source.next_data(position)? {
                Some(data) if data.start >= self.size => return Ok(None),
                // A range that ends before it was asked for says nothing; then all is read.
                Some(data) if data.end <= position => position..self.size,
                Some(data) => data,
                None => return Ok(None),
            };
        }
        Ok(Some(state.piece.max(state.data.start / PIECE)))
    }

    fn lay_down(&self, ticket: u64, packed: io::Result<Packed>) {
        let mut state = self.lock();
        state.end |= packed.is_err();
        state.packed.insert(ticket, packed);
        self.pieces.notify_one();
    }
}

/// A packed piece whose memory goes back to the workers.
pub(crate) struct Piece {
    packed: Packed,
    shared: Arc<Shared>,
}

impl Piece {
    pub(crate) fn packed(&self) -> &Packed {
        &self.packed
    }

    /// Its grains as bytes of the stream, and where each is.
    pub(crate) fn into_slab(mut self) -> (Bytes, Vec<(u64, u32)>) {
        let grains = std::mem::take(&mut self.packed.grains);
        (Bytes::from_owner(self), grains)
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.packed.bytes[..self.packed.used]
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let packed = std::mem::take(&mut self.packed);
        let mut state = self.shared.lock();
        // Slabs that were kept for long come back all at once; no more are kept here than are used.
        if (state.spare.len() as u64) < self.shared.ahead {
            state.spare.push(packed);
        }
    }
}

pub(crate) struct Packer {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Packer {
    pub(crate) fn new(
        options: &EncodeOptions,
        source: Arc<dyn DiskSource>,
        size: u64,
    ) -> io::Result<Packer> {
        let threads = options.threads.max(1);
        let state = State {
            ticket: 0,
            piece: 0,
            data: 0..0,
            end: false,
            turn: 0,
            packed: BTreeMap::new(),
            spare: Vec::new(),
            closed: false,
            broken: false,
        };
        let mut packer = Packer {
            shared: Arc::new(Shared {
                source,
                size,
                ahead: threads as u64 + 2,
                state: Mutex::new(state),
                turns: Condvar::new(),
                pieces: Condvar::new(),
            }),
            threads: Vec::new(),
        };
        for _ in 0..threads {
            let shared = Arc::clone(&packer.shared);
            let (compression, hash) = (options.compression, options.content_digest);
            let body = move || work(&shared, Deflater::new(compression, size, hash));
            packer
                .threads
                .push((options.spawn)("vmdk-encode", Box::new(body))?);
        }
        Ok(packer)
    }

    /// The next piece of the disk in order; None after the last.
    pub(crate) fn next(&mut self) -> io::Result<Option<Piece>> {
        let mut state = self.shared.lock();
        let packed = loop {
            let turn = state.turn;
            if let Some(packed) = state.packed.remove(&turn) {
                state.turn += 1;
                self.shared.turns.notify_one();
                break packed?;
            }
            if state.end && turn == state.ticket {
                return Ok(None);
            }
            if state.broken {
                drop(state);
                self.join();
                return Ok(None);
            }
            state = self
                .shared
                .pieces
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        };
        drop(state);
        let shared = Arc::clone(&self.shared);
        Ok(Some(Piece { packed, shared }))
    }

    /// Ends the threads, and passes on the panic of one.
    fn join(&mut self) {
        self.shared.lock().closed = true;
        self.shared.turns.notify_all();
        for thread in std::mem::take(&mut self.threads) {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

impl Drop for Packer {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.turns.notify_all();
        for thread in std::mem::take(&mut self.threads) {
            // A panic has been printed where it happened, and a drop has nobody to tell.
            let _ = thread.join();
        }
    }
}

/// Tells the one who waits for pieces when its thread panics.
struct Alarm<'a>(&'a Shared);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().broken = true;
            self.0.pieces.notify_one();
        }
    }
}

/// Packs pieces until there are no more.
fn work(shared: &Shared, mut deflater: Deflater) {
    let _alarm = Alarm(shared);
    while let Some((ticket, piece, mut packed)) = shared.ticket() {
        let outcome = deflater.pack(&*shared.source, piece, &mut packed);
        shared.lay_down(ticket, outcome.map(|()| packed));
    }
}

//! Hashing the stream on whichever worker is free: the slabs in order, one worker at a time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// Keeps a slab's bytes counted as in flight until the last job that borrows them is done.
pub(crate) struct Permit {
    bytes: usize,
    in_flight: Arc<AtomicUsize>,
}

impl Permit {
    pub(crate) fn new(bytes: usize, in_flight: &Arc<AtomicUsize>) -> Arc<Permit> {
        in_flight.fetch_add(bytes, Ordering::AcqRel);
        Arc::new(Permit {
            bytes,
            in_flight: Arc::clone(in_flight),
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.in_flight.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[derive(Clone)]
pub(crate) enum Hasher {
    Sha256(Sha256),
    Sha1(Sha1),
}

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(sha) => sha.update(bytes),
            Hasher::Sha1(sha) => sha.update(bytes),
        }
    }
}

/// The slabs that one hash waits for.
pub(crate) type Slabs = VecDeque<(Bytes, Arc<Permit>)>;

/// One hash over the stream.
pub(crate) struct Lane {
    /// None while a worker hashes.
    hasher: Option<Hasher>,
    slabs: Slabs,
}

impl Lane {
    fn new(hasher: Hasher) -> Lane {
        Lane {
            hasher: Some(hasher),
            slabs: Slabs::new(),
        }
    }

    /// The hashes to take of a stream: SHA-256 first, SHA-1 if asked for.
    pub(crate) fn all(sha1: bool) -> Vec<Lane> {
        let sha1 = sha1.then(|| Hasher::Sha1(Sha1::new()));
        let hashers = [Hasher::Sha256(Sha256::new())].into_iter().chain(sha1);
        hashers.map(Lane::new).collect()
    }

    pub(crate) fn push(&mut self, slab: &Bytes, permit: &Arc<Permit>) {
        self.slabs.push_back((slab.clone(), Arc::clone(permit)));
    }

    pub(crate) fn clear(&mut self) {
        self.slabs.clear();
    }

    /// Takes all there is to hash in exchange for `emptied`, unless somebody is at it.
    pub(crate) fn begin(&mut self, emptied: &mut Slabs) -> Option<Hasher> {
        if self.slabs.is_empty() {
            return None;
        }
        let hasher = self.hasher.take()?;
        std::mem::swap(&mut self.slabs, emptied);
        Some(hasher)
    }

    pub(crate) fn end(&mut self, hasher: Hasher) {
        self.hasher = Some(hasher);
    }
}

/// SHA-256 of all that was pushed so far; `None` while some of it is still to be hashed.
pub(crate) fn sha256_so_far(lanes: &[Lane]) -> Option<[u8; 32]> {
    match lanes.first().map(|lane| (&lane.hasher, &lane.slabs)) {
        Some((Some(Hasher::Sha256(sha256)), slabs)) if slabs.is_empty() => {
            Some(sha256.clone().finalize().into())
        }
        _ => None,
    }
}

/// SHA-256 of the stream, and SHA-1 if it was asked for, once no worker is left.
pub(crate) fn digests(lanes: Vec<Lane>) -> ([u8; 32], Option<[u8; 20]>) {
    let mut digests = ([0; 32], None);
    for lane in lanes {
        match lane.hasher {
            Some(Hasher::Sha256(sha256)) => digests.0 = sha256.finalize().into(),
            Some(Hasher::Sha1(sha1)) => digests.1 = Some(sha1.finalize().into()),
            None => unreachable!("a worker that ends without a panic has given its hasher back"),
        }
    }
    digests
}

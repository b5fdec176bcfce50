//! The disk of a backing comes out of vSphere, and is proven whole.

use super::Limits;
use super::backup::percent_of;
use super::operation::Operation;
use super::proof::{compare_manifest, damaged, new_check};
use super::raw;
use crate::error::{Error, Kind, Phase, Result};
use crate::service::BackupWriter;
use crate::slab::{SLABS, SlabPool};
use crate::vmdk::{Check, Facts, Level};
use crate::vsphere::device::Disk;
use crate::vsphere::lease::Lease;
use crate::vsphere::nfc::{self, Download};
use crate::vsphere::{Moref, machine};
use bytes::Bytes;
use std::sync::atomic::Ordering;

/// What is exported, and how patiently.
pub(super) struct Export<'a> {
    pub(super) backing: &'a Moref,
    pub(super) disk: &'a Disk,
    pub(super) limits: Limits,
    pub(super) level: Level,
}

/// What a sink has of the stream.
#[derive(Clone, Copy)]
pub(super) enum Held {
    /// Nothing yet.
    Nothing,
    /// Its first `bytes`, with this digest.
    Beginning { bytes: u64, sha256: [u8; 32] },
    /// Something that is not known to be its beginning.
    Other,
}

impl Held {
    fn bytes(self) -> u64 {
        match self {
            Held::Beginning { bytes, .. } => bytes,
            Held::Nothing | Held::Other => 0,
        }
    }

    /// What a sink that had `self` has after an attempt that ended with `check`.
    fn after(self, check: &mut Check) -> Held {
        let bytes = check.progress().bytes;
        if bytes <= self.bytes() || matches!(self, Held::Other) {
            return self;
        }
        match check.sha256_so_far() {
            Some(sha256) => Held::Beginning { bytes, sha256 },
            None => Held::Other,
        }
    }
}

/// Where the disk goes.
pub(super) enum Into<'s> {
    /// The stream, in order. Of what the sink has already, only that it is the same again is made
    /// sure of; after a failure `held` says what it has then.
    Stream {
        held: &'s mut Held,
        sink: &'s mut dyn FnMut(Bytes) -> Result<()>,
    },
    /// The disk, decoded.
    Raw(&'s mut dyn BackupWriter),
}

impl Export<'_> {
    /// Moves the disk from the host to where it goes, and proves it whole.
    ///
    /// # Errors
    /// Retryable where the next attempt may get the whole disk.
    pub(super) fn transfer(
        &self,
        op: &mut Operation<'_>,
        into: Into<'_>,
        notices: &mut Vec<String>,
    ) -> Result<Facts> {
        let session = op.session().clone();
        op.announce_lease(Some(self.backing))?;
        let granted = op.settle(machine::export(session, self.backing.clone()))?;
        let lease = op.lease(granted, self.limits.lease)?;
        op.enter(Phase::Transfer, self.disk.capacity)?;
        let received = match into {
            Into::Stream { held, sink } => self.receive(op, &lease, held, sink),
            Into::Raw(writer) => self.decode(op, &lease, writer),
        };
        let facts = received.map_err(|error| op.explain_lease(&lease, error))?;
        op.watch.complete()?;
        op.enter(Phase::Verify, 0)?;
        if !self.disk.measures(facts.capacity) {
            return Err(Error::new(
                Kind::Corrupt,
                format!(
                    "the stream decodes to {} bytes, disk {} has {}",
                    facts.capacity, self.disk.key, self.disk.capacity
                ),
            ));
        }
        let read = lease.manifest();
        let manifest = op.run(async move { Ok(read.await) })?;
        compare_manifest(op, &manifest, &self.disk.slot, &facts, notices)?;
        op.complete(lease)?;
        Ok(facts)
    }

    fn download(&self, op: &Operation<'_>, lease: &Lease) -> Result<Download> {
        let target = nfc::Target::of(op.session(), lease.disk_url(&self.disk.slot)?)?;
        let pool = SlabPool::new(SLABS);
        let session = op.session();
        Ok(nfc::download(
            session,
            lease,
            target,
            pool,
            self.limits.stall,
        ))
    }

    fn decode(
        &self,
        op: &mut Operation<'_>,
        lease: &Lease,
        writer: &mut dyn BackupWriter,
    ) -> Result<Facts> {
        let download = self.download(op, lease)?;
        let (percent, capacity) = (lease.percent(), self.disk.capacity);
        let sha1 = needs_sha1(op, lease);
        raw::receive(&mut op.watch, download, sha1, writer, &|reached| {
            percent.store(percent_of(reached, capacity), Ordering::Relaxed);
        })
    }

    fn receive(
        &self,
        op: &mut Operation<'_>,
        lease: &Lease,
        held: &mut Held,
        sink: &mut dyn FnMut(Bytes) -> Result<()>,
    ) -> Result<Facts> {
        let mut check = new_check(self.level, needs_sha1(op, lease))?;
        if let Err(error) = self.relay(op, lease, &mut check, held, sink) {
            *held = held.after(&mut check);
            return Err(error);
        }
        *held = Held::Other;
        check.finish().map_err(damaged)
    }

    fn relay(
        &self,
        op: &mut Operation<'_>,
        lease: &Lease,
        check: &mut Check,
        held: &mut Held,
        sink: &mut dyn FnMut(Bytes) -> Result<()>,
    ) -> Result<()> {
        let mut download = self.download(op, lease)?;
        let percent = lease.percent();
        let mut known = held.bytes();
        while let Some(mut slab) = download.next(&mut || op.watch.tick())? {
            if known > 0 {
                let length = usize::try_from(known).unwrap_or(usize::MAX);
                let again = slab.split_to(length.min(slab.len()));
                known -= again.len() as u64;
                feed(check, again)?;
                if known == 0 {
                    compare(check, held)?;
                }
            }
            if !slab.is_empty() {
                feed(check, slab.clone())?;
                sink(slab)?;
            }
            let reached = check.progress().last_lba_bytes;
            percent.store(percent_of(reached, self.disk.capacity), Ordering::Relaxed);
            op.watch.reach(reached)?;
        }
        if known > 0 {
            *held = Held::Other;
            return Err(changed());
        }
        Ok(())
    }
}

/// Whether the server's manifest is going to have nothing but a SHA-1 to compare with.
fn needs_sha1(op: &Operation<'_>, lease: &Lease) -> bool {
    !lease.has_sha256() || op.session().needs_sha1()
}

/// What was damaged on its way may be whole the next time.
fn feed(check: &mut Check, slab: Bytes) -> Result<()> {
    check.feed(slab).map_err(damaged)
}

/// Whether the beginning is the one that the sink has.
fn compare(check: &mut Check, held: &mut Held) -> Result<()> {
    let now = check.sha256_so_far();
    match *held {
        Held::Beginning { sha256, .. } if now == Some(sha256) => Ok(()),
        _ => {
            *held = Held::Other;
            Err(changed())
        }
    }
}

fn changed() -> Error {
    Error::new(
        Kind::Corrupt,
        "the disk came otherwise than in the attempt before",
    )
    .retryable()
}

//! A disk on its way in: decoded as strictly as a host does, and put in place once it is whole.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap};
use hyper::{Method, Request, StatusCode};
use tokio::sync::mpsc;

use crate::disk::{Disk, DiskType, SECTOR};
use crate::http::line::Line;
use crate::http::sdk::http_status;
use crate::http::{Entrance, NoAnswer, Reply, plain};
use crate::plan::{DataTrouble, Trouble};
use crate::vmdk::{Decoder, StreamFacts};
use crate::wire::{Fault, Outcome, Ref};
use crate::world::Shared;
use crate::world::datastore::DiskFile;
use crate::world::lease::Transfer;

use super::Target;
use super::export::fail_all;

const CONTENT_TYPE: &str = "application/x-vnd.vmware-streamVmdk";
/// Pieces that may wait for the decoder.
const AHEAD: usize = 8;
/// 62 TiB: what a host can keep.
const LARGEST_DISK: u64 = 62 << 40;

pub async fn answer(
    request: Request<Incoming>,
    target: Target,
    line: &Arc<Line>,
    entrance: &Entrance,
) -> Reply {
    let shared = &entrance.shared;
    let length = match check(request.method(), request.headers()) {
        Ok(length) => length,
        Err((status, why)) => return Ok(plain(status, why)),
    };
    let mut data = Vec::new();
    let mut reply_lost = false;
    for trouble in shared.faults.import() {
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
            Trouble::ReplyLost => reply_lost = true,
            Trouble::Data(at, trouble) => data.push((at, trouble)),
            _ => {}
        }
    }
    data.sort_by_key(|(at, _)| *at);
    target.note(&mut shared.write(), Transfer::Running);
    let (pieces, decoder) = {
        let (sender, receiver) = mpsc::channel(AHEAD);
        let (shared, lease, index) = (shared.clone(), target.lease.clone(), target.index);
        let plain = request.method() == Method::PUT;
        let decoder = tokio::task::spawn_blocking(move || {
            let target = Target { lease, index };
            decode(&shared, &target, plain, receiver)
        });
        (sender, decoder)
    };
    let mut incoming = Upload {
        request,
        data,
        taken: 0,
        refused: false,
        length,
        shared: shared.clone(),
        lease: target.lease.clone(),
    };
    let received = incoming.receive(pieces).await;
    let decoded = decoder
        .await
        .unwrap_or_else(|_| Err("the decoder panicked".to_owned()));
    conclude(shared, &target, line, received, decoded, reply_lost)
}

/// What the request must say before a byte of its body is read.
fn check(method: &Method, headers: &HeaderMap) -> Result<u64, (StatusCode, &'static str)> {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if method == Method::POST && text(header::CONTENT_TYPE) != Some(CONTENT_TYPE) {
        return Err((
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the content type must be that of a streamVmdk",
        ));
    }
    let length = text(header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
    length.ok_or((StatusCode::LENGTH_REQUIRED, "the length must be told"))
}

/// How the receiving of an upload ended.
enum Received {
    All,
    /// The connection is to end without an answer.
    Broken,
    /// Answered by the plan before the end.
    Answered(u16),
    /// The lease has ended meanwhile.
    LeaseGone,
}

struct Upload {
    request: Request<Incoming>,
    data: Vec<(u64, DataTrouble)>,
    taken: u64,
    /// The decoder wants no more. What still comes is read all the same: a client that is cut off while it sends may
    /// never see the answer that tells it why.
    refused: bool,
    length: u64,
    shared: Arc<Shared>,
    lease: Ref,
}

impl Upload {
    async fn receive(&mut self, pieces: mpsc::Sender<Bytes>) -> Received {
        let Some(mut ended) = self
            .shared
            .read()
            .leases
            .get(&self.lease.id)
            .map(|lease| lease.ended.subscribe())
        else {
            return Received::LeaseGone;
        };
        let step = async {
            loop {
                if let Some(end) = self.strike_at(None, &pieces).await {
                    return end;
                }
                match self.request.body_mut().frame().await {
                    None if self.taken == self.length => return Received::All,
                    None | Some(Err(_)) => return Received::Broken,
                    Some(Ok(frame)) => {
                        let Ok(bytes) = frame.into_data() else {
                            continue;
                        };
                        if let Some(end) = self.take(bytes, &pieces).await {
                            return end;
                        }
                    }
                }
            }
        };
        tokio::select! {
            end = step => end,
            _ = ended.wait_for(|ended| *ended) => Received::LeaseGone,
        }
    }

    async fn take(&mut self, mut bytes: Bytes, pieces: &mpsc::Sender<Bytes>) -> Option<Received> {
        while !bytes.is_empty() {
            let next = self
                .data
                .first()
                .map(|(at, _)| at.saturating_sub(self.taken));
            let count = next.map_or(bytes.len(), |left| {
                bytes
                    .len()
                    .min(usize::try_from(left).unwrap_or(bytes.len()))
            });
            if count == 0 {
                if let Some(end) = self.strike_at(Some(&mut bytes), pieces).await {
                    return Some(end);
                }
                continue;
            }
            let now = bytes.split_to(count);
            self.taken += now.len() as u64;
            self.refused = self.refused || pieces.send(now).await.is_err();
        }
        None
    }

    /// Does what the plan has for this point; without bytes only what needs none.
    async fn strike_at(
        &mut self,
        bytes: Option<&mut Bytes>,
        pieces: &mpsc::Sender<Bytes>,
    ) -> Option<Received> {
        let due = self.data.first().is_some_and(|(at, _)| *at <= self.taken);
        let needs_bytes = matches!(self.data.first(), Some((_, DataTrouble::Flip)));
        if !due || (needs_bytes && bytes.is_none()) {
            return None;
        }
        let (_, trouble) = self.data.remove(0);
        match trouble {
            DataTrouble::Flip => {
                let bytes = bytes?;
                let first = bytes.split_to(1);
                self.taken += 1;
                let flipped = Bytes::from(vec![first[0] ^ 1]);
                self.refused = self.refused || pieces.send(flipped).await.is_err();
            }
            DataTrouble::Stall(gate) => gate.wait().await,
            DataTrouble::Close => return Some(Received::Broken),
            DataTrouble::Reset => return Some(Received::Answered(0)),
            DataTrouble::Answer(status) => return Some(Received::Answered(status)),
            DataTrouble::LeaseError(fault) => fail_all(&mut self.shared.write(), &fault),
            DataTrouble::LoseSession => {
                let mut world = self.shared.write();
                let keys: Vec<String> = world
                    .sessions
                    .iter()
                    .map(|session| session.key.clone())
                    .collect();
                keys.iter().for_each(|key| world.close_session(key));
            }
            DataTrouble::End | DataTrouble::TooLong(_) | DataTrouble::ContentLength(_) => {}
        }
        None
    }
}

/// Decodes what comes into a disk of its own. What comes as a plain file (PUT) makes a thick disk of a thin one.
fn decode(
    shared: &Shared,
    target: &Target,
    plain: bool,
    mut pieces: mpsc::Receiver<Bytes>,
) -> Result<(Disk, StreamFacts), String> {
    let mut head = Vec::new();
    while head.len() < SECTOR as usize {
        let piece = pieces
            .blocking_recv()
            .ok_or("Unexpected end of file: there is no header")?;
        head.extend_from_slice(&piece);
    }
    let (fresh, asked, disk_type, sha256) = {
        let mut world = shared.write();
        let lease = world
            .leases
            .get(&target.lease.id)
            .ok_or("the lease has gone")?;
        let file = &lease.files[target.index];
        let sha256 = lease
            .checksum_types
            .get(&file.key)
            .is_some_and(|asked| asked == "sha256");
        let datastore = file.datastore.clone();
        let disk = world
            .disk_file(&file.datastore, &file.path)
            .map_err(|fault| fault.message)?;
        let disk_type = match disk.disk_type {
            DiskType::Thin if plain => DiskType::Thick,
            asked => asked,
        };
        let capacity = disk.capacity;
        let made_type = world.made_type(&datastore, disk_type);
        (
            world.fresh_path(),
            capacity,
            world.options.import_disk_type.unwrap_or(made_type),
            sha256,
        )
    };
    // A host makes the disk as large as the stream says, whatever the spec did.
    let said = head[12..20]
        .try_into()
        .map_or(0, u64::from_le_bytes)
        .saturating_mul(SECTOR);
    let capacity = if (SECTOR..=LARGEST_DISK).contains(&said) {
        said
    } else {
        asked
    };
    let disk = Disk::create(&fresh, capacity, disk_type).map_err(|error| error.to_string())?;
    let mut decoder = Decoder::new(disk).with_one_digest(sha256);
    let fed = decoder.feed(&head).and_then(|()| {
        while let Some(piece) = pieces.blocking_recv() {
            decoder.feed(&piece)?;
        }
        Ok(())
    });
    if let Err(why) = fed {
        // A file that is left behind goes with the directory.
        let _ = decoder.into_disk().delete();
        return Err(why);
    }
    decoder.finish()
}

fn conclude(
    shared: &Arc<Shared>,
    target: &Target,
    line: &Line,
    received: Received,
    decoded: Result<(Disk, StreamFacts), String>,
    reply_lost: bool,
) -> Reply {
    let mut world = shared.write();
    let fail = |why: &str| Transfer::Failed(why.to_owned());
    match received {
        Received::All => {}
        Received::Broken => {
            target.note(&mut world, fail("the connection broke"));
            line.close();
            return Err(NoAnswer);
        }
        Received::Answered(0) => {
            target.note(&mut world, fail("the connection was reset"));
            line.reset();
            return Err(NoAnswer);
        }
        Received::Answered(status) => {
            target.note(&mut world, fail("answered early"));
            return Ok(http_status(status));
        }
        Received::LeaseGone => return Ok(plain(StatusCode::NOT_FOUND, "the lease has ended")),
    }
    drop(world);
    let stored = decoded
        .map_err(|why| Fault::new("InvalidFormat", format!("Failed to import the disk: {why}")))
        .and_then(|(disk, facts)| store(shared, target, disk, facts));
    if let Err(fault) = stored {
        let mut world = shared.write();
        target.note(&mut world, fail(&fault.message));
        let text = fault.message.clone();
        world.fail_lease(&target.lease, fault);
        return Ok(plain(StatusCode::INTERNAL_SERVER_ERROR, &text));
    }
    if reply_lost {
        line.close();
        return Err(NoAnswer);
    }
    Ok(plain(StatusCode::OK, ""))
}

/// Puts an imported disk in the place of the empty one.
fn store(shared: &Arc<Shared>, target: &Target, disk: Disk, facts: StreamFacts) -> Outcome<()> {
    let mut world = shared.write();
    let lease = world.lease(&target.lease)?;
    let file = &lease.files[target.index];
    let (datastore, path) = (file.datastore.clone(), file.path.clone());
    let old = world.disk_file(&datastore, &path)?;
    let mut new = DiskFile::new(disk, &old.adapter_type)?;
    let made = world.made_capacity(new.capacity);
    if made > new.capacity {
        new.extend(made, true)?;
    }
    new.uuid.clone_from(&old.uuid);
    new.busy.clone_from(&old.busy);
    let more = new.space().saturating_sub(old.space());
    world.check_space(&datastore, more, &path)?;
    let place = world.disk_file_mut(&datastore, &path)?;
    std::mem::replace(place, new).delete();
    target.note(&mut world, Transfer::Done(facts));
    Ok(())
}

//! What the holder of a lease may ask.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::wire::envelope::Call;
use crate::wire::{Fault, Object, Outcome, object};
use crate::world::World;
use crate::world::lease::{Lease, LeaseFile, LeaseKind, LeaseState, Transfer};

use super::{Answer, Context};

/// What is not over by then does not come to an end.
const LONGEST_ENDING: Duration = Duration::from_secs(10);

fn ready<'w>(world: &'w mut World, call: &Call) -> Outcome<&'w mut Lease> {
    world.expire_leases();
    let lease = world.lease_mut(&call.this)?;
    match lease.state {
        LeaseState::Ready => Ok(lease),
        LeaseState::Error
            if lease
                .error
                .as_ref()
                .is_some_and(|fault| fault.kind() == "Timedout") =>
        {
            Err(Fault::new(
                "Timedout",
                "The lease timed out: Operation timed out.",
            ))
        }
        state => Err(Fault::invalid_state(&format!(
            "the lease is {}",
            state.word()
        ))),
    }
}

pub fn progress(context: &Context, call: &Call) -> Answer {
    let percent = call.arguments.int("percent").unwrap_or(-1);
    if !(0..=100).contains(&percent) {
        return Err(Fault::invalid_argument("percent"));
    }
    let mut world = context.shared.write();
    let now = world.clock.now();
    let lease = ready(&mut world, call)?;
    lease.percent = percent as i32;
    lease.renewed = now;
    lease.progress_calls.push((now, percent as i32));
    Ok(None)
}

/// Ends a lease well. Clients such as oslo.vmware ask for it as soon as they have sent or taken the last byte, before the
/// transfer is over on the host's side: that is waited for.
pub async fn complete(context: &Context, call: &Call) -> Answer {
    let end = Instant::now() + LONGEST_ENDING;
    let mut changes = context.shared.changes();
    while transferring(context, call)? {
        if let Ok(lease) = context.shared.read().lease_mut(&call.this) {
            lease.completed_early = true;
        }
        if timeout_at(end, changes.changed()).await.is_err() {
            break;
        }
    }
    let mut world = context.shared.write();
    let lease = ready(&mut world, call)?;
    let unfinished = lease.files.iter().find(|file| match lease.kind {
        LeaseKind::Import => !matches!(file.transfer, Transfer::Done(_)),
        LeaseKind::Export => file.transfer == Transfer::Running,
    });
    if let Some(file) = unfinished {
        return Err(Fault::invalid_state(&format!(
            "the transfer of {} is not complete",
            file.key
        )));
    }
    world.end_lease(&call.this, Ok(()));
    Ok(None)
}

fn transferring(context: &Context, call: &Call) -> Outcome<bool> {
    // Not to write, which would wake the caller itself.
    let mut world = context.shared.read();
    let files = &ready(&mut world, call)?.files;
    Ok(files.iter().any(|file| file.transfer == Transfer::Running))
}

pub fn abort(context: &Context, call: &Call) -> Answer {
    let mut world = context.shared.write();
    world.expire_leases();
    let lease = world.lease_mut(&call.this)?;
    if matches!(lease.state, LeaseState::Done | LeaseState::Error) {
        return Err(Fault::invalid_state(&format!(
            "the lease is {}",
            lease.state.word()
        )));
    }
    let given = call
        .arguments
        .object("fault")
        .and_then(|fault| fault.object("fault"))
        .cloned();
    let fault = given.map_or_else(
        || Fault::new("RequestCanceled", "The task was canceled by a user."),
        |detail| Fault {
            detail,
            ..Fault::new("", "The lease was aborted.")
        },
    );
    world.fail_lease(&call.this, fault);
    Ok(None)
}

pub fn set_checksum_type(context: &Context, call: &Call) -> Answer {
    let mut world = context.shared.write();
    let api: Vec<u32> = world
        .options
        .api_version
        .split('.')
        .flat_map(str::parse)
        .collect();
    if api < vec![6, 7] {
        return Err(Fault::not_supported(
            "this API has no other digest than SHA-1",
        ));
    }
    let instead = world.options.sha1_instead.then_some("sha1");
    let lease = ready(&mut world, call)?;
    for entry in call.arguments.objects("deviceUrlsToChecksumTypes") {
        let (key, kind) = (
            entry.text("key").unwrap_or_default(),
            entry.text("value").unwrap_or_default(),
        );
        if !lease.files.iter().any(|file| file.key == key) {
            return Err(Fault::invalid_argument("deviceUrlsToChecksumTypes.key"));
        }
        if !matches!(kind, "sha1" | "sha256") {
            return Err(Fault::invalid_argument("deviceUrlsToChecksumTypes.value"));
        }
        let kind = instead.unwrap_or(kind);
        lease.checksum_types.insert(key.to_owned(), kind.to_owned());
    }
    Ok(None)
}

pub fn manifest(context: &Context, call: &Call) -> Answer {
    let mut world = context.shared.write();
    let wanted = world.options.manifest;
    let lease = ready(&mut world, call)?;
    let entries: Vec<Object> = lease
        .files
        .iter()
        .filter_map(|file| entry(lease, file))
        .collect();
    Ok(Some(if wanted { entries } else { Vec::new() }.into()))
}

/// What is known of a file once it has been transferred as a whole.
fn entry(lease: &Lease, file: &LeaseFile) -> Option<Object> {
    let Transfer::Done(facts) = &file.transfer else {
        return None;
    };
    let mut entry = object("HttpNfcLeaseManifestEntry").with("key", &file.key);
    match lease.checksum_types.get(&file.key).map(String::as_str) {
        // The older field must be there and stays empty where another algorithm was asked for.
        Some("sha256") => {
            entry.put("sha1", "");
            entry.put("checksum", &facts.sha256);
            entry.put("checksumType", "sha256");
        }
        Some(_) => {
            entry.put("sha1", &facts.sha1);
            entry.put("checksum", &facts.sha1);
            entry.put("checksumType", "sha1");
        }
        None => entry.put("sha1", &facts.sha1),
    }
    entry.put("size", facts.size);
    entry.put("disk", file.disk);
    if file.disk {
        entry.put("capacity", facts.capacity);
        entry.put("populatedSize", facts.populated);
    }
    Some(entry)
}

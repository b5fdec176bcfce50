//! Filters, and waiting for what changes in them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::wire::envelope::Call;
use crate::wire::{Fault, Object, Outcome, Ref, Value, object, reference};
use crate::world::World;
use crate::world::ids::uuid;
use crate::world::session::{Collector, Filter};

use super::property::collector;
use super::select::{self, missing_set};
use super::{Answer, Context, object_argument};

/// A call that asks for no limit is answered after half an hour at the latest.
const LONGEST_WAIT: Duration = Duration::from_secs(1800);

/// Versions that a collector remembers what was known at.
const MOST_VERSIONS: usize = 16;

pub fn create_filter(context: &Context, call: &Call) -> Answer {
    let session = context.session_key()?;
    let mut world = context.shared.read();
    let spec = object_argument(&call.arguments, "spec")?.clone();
    select::read(&world, session, &spec, false)?;
    let own = world.new_session_ref("PropertyFilter", session);
    let filter = Filter {
        reference: own.clone(),
        spec,
        reported: BTreeMap::new(),
    };
    collector(&mut world, session, call)?.filters.push(filter);
    drop(world);
    context.shared.wake();
    Ok(Some(own.into()))
}

pub fn destroy_filter(context: &Context, call: &Call) -> Answer {
    let session = context.session_key()?;
    let mut world = context.shared.write();
    let found = world
        .session_mut(session)
        .ok_or_else(Fault::not_authenticated)?;
    let mut destroyed = false;
    for collector in found.collectors.values_mut() {
        let before = collector.filters.len();
        collector
            .filters
            .retain(|filter| filter.reference != call.this);
        destroyed |= collector.filters.len() < before;
    }
    if destroyed {
        Ok(None)
    } else {
        Err(Fault::not_found(&call.this))
    }
}

pub fn create_collector(context: &Context) -> Answer {
    let session = context.session_key()?;
    let mut world = context.shared.write();
    let id = format!("session[{session}]{}", uuid("52"));
    let found = world
        .session_mut(session)
        .ok_or_else(Fault::not_authenticated)?;
    found.collectors.insert(id.clone(), Collector::default());
    Ok(Some(reference("PropertyCollector", &id).into()))
}

pub fn destroy_collector(context: &Context, call: &Call) -> Answer {
    let session = context.session_key()?;
    let mut world = context.shared.write();
    let found = world
        .session_mut(session)
        .ok_or_else(Fault::not_authenticated)?;
    found
        .collectors
        .remove(&call.this.id)
        .map(|_| None)
        .ok_or_else(|| Fault::not_found(&call.this))
}

pub fn cancel_wait(context: &Context) -> Answer {
    context.shared.wake();
    Ok(None)
}

pub async fn wait(context: &Context, call: &Call) -> Answer {
    let session = context.session_key()?.to_owned();
    let options = call.arguments.object("options");
    let seconds = match call.method.name.as_str() {
        "CheckForUpdates" => Some(0),
        _ => options.and_then(|options| options.int("maxWaitSeconds")),
    };
    let most = options.and_then(|options| options.int("maxObjectUpdates"));
    if seconds.is_some_and(|seconds| seconds < 0) || most.is_some_and(|most| most <= 0) {
        return Err(Fault::invalid_argument("options"));
    }
    // The two older calls give all there is at once.
    let resumes = call.method.name == "WaitForUpdatesEx";
    let most = most.map_or(usize::MAX, |most| most as usize);
    let limit = seconds.map_or(LONGEST_WAIT, |seconds| Duration::from_secs(seconds as u64));
    let end = tokio::time::Instant::now() + limit;
    let mut changes = context.shared.changes();
    let version = call.arguments.text("version").unwrap_or_default();
    {
        let mut world = context.shared.read();
        go_back(collector(&mut world, &session, call)?, version, resumes)?;
    }
    loop {
        changes.borrow_and_update();
        let update = {
            let mut world = context.shared.read();
            if world.session(&session).is_none() {
                return Err(Fault::not_authenticated());
            }
            look(&mut world, &session, call, most)?
        };
        if let Some(update) = update {
            return Ok(Some(update.into()));
        }
        tokio::select! {
            changed = changes.changed() => {
                if changed.is_err() {
                    return Err(Fault::new("RequestCanceled", "The service is going down."));
                }
            }
            () = tokio::time::sleep_until(end) => return Ok(None),
        }
    }
}

/// Sets a collector's filters to what the client knows. A complete version may be passed any number of times, so that a
/// client can ask again after an answer that was lost; one that is not complete only next, and once.
fn go_back(own: &mut Collector, version: &str, resumes: bool) -> Outcome<()> {
    let invalid = || {
        Fault::new(
            "InvalidCollectorVersion",
            "The version passed is none that was returned, or it is too old.",
        )
    };
    if version.is_empty() {
        own.truncated = false;
        own.filters
            .iter_mut()
            .for_each(|filter| filter.reported.clear());
        return Ok(());
    }
    let number: u64 = version.parse().map_err(|_| invalid())?;
    if own.truncated && number == own.version && resumes {
        own.truncated = false;
        return Ok(());
    }
    let known = own.known.get(&number).ok_or_else(invalid)?;
    for filter in &mut own.filters {
        filter.reported = known.get(&filter.reference.id).cloned().unwrap_or_default();
    }
    own.truncated = false;
    Ok(())
}

/// What has changed since the filters last reported; `None` where nothing has.
fn look(world: &mut World, session: &str, call: &Call, most: usize) -> Outcome<Option<Object>> {
    let mut filters = std::mem::take(&mut collector(world, session, call)?.filters);
    let mut updates = Vec::new();
    let mut left = most;
    let mut truncated = false;
    for filter in &mut filters {
        let readings = select::read(world, session, &filter.spec, true);
        match readings.map(|readings| compare(filter, readings, &mut left, &mut truncated)) {
            Ok(changed) if changed.is_empty() => {}
            Ok(changed) => {
                let update = object("PropertyFilterUpdate")
                    .with("filter", &filter.reference)
                    .with("objectSet", changed);
                updates.push(update);
            }
            Err(fault) => {
                collector(world, session, call)?.filters = filters;
                return Err(fault);
            }
        }
    }
    let own = collector(world, session, call)?;
    own.filters = filters;
    if updates.is_empty() {
        return Ok(None);
    }
    own.version += 1;
    own.truncated = truncated;
    if !truncated {
        let known = own
            .filters
            .iter()
            .map(|filter| (filter.reference.id.clone(), filter.reported.clone()));
        own.known.insert(own.version, known.collect());
        if own.known.len() > MOST_VERSIONS {
            own.known.pop_first();
        }
    }
    let set = object("UpdateSet")
        .with("version", own.version.to_string())
        .with("filterSet", updates);
    Ok(Some(if truncated {
        set.with("truncated", true)
    } else {
        set
    }))
}

fn compare(
    filter: &mut Filter,
    readings: Vec<(Ref, select::Reading)>,
    left: &mut usize,
    truncated: &mut bool,
) -> Vec<Object> {
    let mut updates = Vec::new();
    let gone: Vec<Ref> = filter
        .reported
        .keys()
        .filter(|known| !readings.iter().any(|(target, _)| target == *known))
        .cloned()
        .collect();
    for target in gone {
        if *left == 0 {
            *truncated = true;
            return updates;
        }
        *left -= 1;
        filter.reported.remove(&target);
        updates.push(
            object("ObjectUpdate")
                .with("kind", "leave")
                .with("obj", target),
        );
    }
    for (target, reading) in readings {
        let known = filter.reported.get(&target);
        let kind = if known.is_some() { "modify" } else { "enter" };
        let changed = reading
            .values
            .iter()
            .filter(|(path, value)| known.and_then(|known| known.get(*path)) != Some(*value))
            .map(|(path, value)| change(path, Some(value)));
        let removed = known.into_iter().flat_map(|known| known.keys());
        let removed = removed
            .filter(|path| !reading.values.contains_key(*path))
            .map(|path| change(path, None));
        let changes: Vec<Object> = changed.chain(removed).collect();
        if known.is_some() && changes.is_empty() {
            continue;
        }
        if *left == 0 {
            *truncated = true;
            return updates;
        }
        *left -= 1;
        let update = object("ObjectUpdate")
            .with("kind", kind)
            .with("obj", &target)
            .with("changeSet", changes)
            .with("missingSet", missing_set(&reading.missing));
        updates.push(update);
        filter.reported.insert(target, reading.values);
    }
    updates
}

fn change(path: &str, value: Option<&Value>) -> Object {
    let op = if value.is_some() { "assign" } else { "remove" };
    object("PropertyChange")
        .with("name", path)
        .with("op", op)
        .with_some("val", value.cloned())
}

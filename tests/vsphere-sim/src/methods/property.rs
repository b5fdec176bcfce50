//! RetrieveProperties and RetrievePropertiesEx, with pages.

use crate::wire::envelope::Call;
use crate::wire::{Fault, Object, Outcome, Value, object};
use crate::world::World;
use crate::world::ids::ticket;
use crate::world::session::Collector;

use super::select::{self, missing_set};
use super::{Answer, Context, text};

fn contents(world: &World, session: &str, call: &Call) -> Outcome<Vec<Object>> {
    let mut all = Vec::new();
    for spec in call.arguments.objects("specSet") {
        for (target, reading) in select::read(world, session, spec, false)? {
            let properties = reading.values.into_iter().map(|(name, value)| {
                object("DynamicProperty")
                    .with("name", name)
                    .with("val", value)
            });
            let content = object("ObjectContent")
                .with("obj", target)
                .with("propSet", properties.collect::<Vec<Object>>())
                .with("missingSet", missing_set(&reading.missing));
            all.push(content);
        }
    }
    Ok(all)
}

/// The collector that a call is made on: the session's own, or one that it has made.
pub fn collector<'w>(
    world: &'w mut World,
    session: &str,
    call: &Call,
) -> Outcome<&'w mut Collector> {
    let own = call.this == world.names.property_collector;
    let found = world
        .session_mut(session)
        .ok_or_else(Fault::not_authenticated)?;
    if own {
        return Ok(found.collectors.entry(call.this.id.clone()).or_default());
    }
    found
        .collectors
        .get_mut(&call.this.id)
        .ok_or_else(|| Fault::not_found(&call.this))
}

pub fn retrieve(context: &Context, call: &Call) -> Answer {
    let session = context.session_key()?;
    let mut world = context.shared.read();
    collector(&mut world, session, call)?;
    Ok(Some(contents(&world, session, call)?.into()))
}

pub fn retrieve_ex(context: &Context, call: &Call) -> Answer {
    let session = context.session_key()?;
    let mut world = context.shared.read();
    collector(&mut world, session, call)?;
    let all = contents(&world, session, call)?;
    if all.is_empty() {
        return Ok(None);
    }
    let asked = call
        .arguments
        .object("options")
        .and_then(|options| options.int("maxObjects"));
    if asked.is_some_and(|most| most <= 0) {
        return Err(Fault::invalid_argument("options.maxObjects"));
    }
    let most = asked
        .map_or(usize::MAX, |most| most as usize)
        .min(world.options.page_size)
        .max(1);
    page(&mut world, session, call, all, most).map(Some)
}

fn page(
    world: &mut World,
    session: &str,
    call: &Call,
    mut all: Vec<Object>,
    most: usize,
) -> Outcome<Value> {
    let rest = all.split_off(most.min(all.len()));
    let mut result = object("RetrieveResult").with("objects", all);
    if !rest.is_empty() {
        let token = format!("{most}:{}", ticket());
        result.put("token", &token);
        collector(world, session, call)?.pages.insert(token, rest);
    }
    Ok(result.into())
}

pub fn continue_ex(context: &Context, call: &Call) -> Answer {
    let session = context.session_key()?;
    let mut world = context.shared.read();
    let token = text(&call.arguments, "token")?.to_owned();
    let rest = collector(&mut world, session, call)?.pages.remove(&token);
    let rest = rest.ok_or_else(|| Fault::invalid_argument("token"))?;
    // The token carries the size of the pages that the first call asked for.
    let most = token
        .split(':')
        .next()
        .and_then(|most| most.parse().ok())
        .unwrap_or(1);
    page(&mut world, session, call, rest, most).map(Some)
}

pub fn cancel_ex(context: &Context, call: &Call) -> Answer {
    let session = context.session_key()?;
    let mut world = context.shared.read();
    let token = text(&call.arguments, "token")?;
    let removed = collector(&mut world, session, call)?.pages.remove(token);
    removed
        .map(|_| None)
        .ok_or_else(|| Fault::invalid_argument("token"))
}

/// One property of one object: how VMware's own Python binding reads.
pub fn fetch(context: &Context, call: &Call) -> Answer {
    let session = context.session_key()?;
    let world = context.shared.read();
    crate::properties::get(&world, session, &call.this, text(&call.arguments, "prop")?)
}

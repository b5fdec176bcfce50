//! Views of the inventory.

use crate::properties;
use crate::wire::envelope::Call;
use crate::wire::{Fault, Ref, Value, schema};
use crate::world::session::View;

use super::{Answer, Context, reference_argument};

fn keep(context: &Context, kind: &str, view: View) -> Answer {
    let session = context.session_key()?;
    let mut world = context.shared.write();
    let own = world.new_session_ref(kind, session);
    let found = world
        .session_mut(session)
        .ok_or_else(Fault::not_authenticated)?;
    found.views.insert(own.id.clone(), view);
    Ok(Some(own.into()))
}

pub fn container(context: &Context, call: &Call) -> Answer {
    let container = reference_argument(&call.arguments, "container")?.clone();
    context.shared.read().node(&container)?;
    let kinds: Vec<String> = call.arguments.texts("type").map(str::to_owned).collect();
    if kinds.iter().any(|kind| !schema().is_managed(kind)) {
        return Err(Fault::invalid_argument("type"));
    }
    let recursive = call.arguments.bool("recursive") == Some(true);
    keep(
        context,
        "ContainerView",
        View::Container {
            container,
            kinds,
            recursive,
        },
    )
}

pub fn list(context: &Context, call: &Call) -> Answer {
    let session = context.session_key()?;
    let all: Vec<Ref> = call.arguments.references("obj").cloned().collect();
    {
        let world = context.shared.read();
        all.iter()
            .try_for_each(|target| properties::exists(&world, session, target))?;
    }
    keep(context, "ListView", View::List(all))
}

pub fn destroy(context: &Context, call: &Call) -> Answer {
    let session = context.session_key()?;
    let mut world = context.shared.write();
    let found = world
        .session_mut(session)
        .ok_or_else(Fault::not_authenticated)?;
    found
        .views
        .remove(&call.this.id)
        .map(|_| None)
        .ok_or_else(|| Fault::not_found(&call.this))
}

/// Adds to a list view and takes out of it; the answer is what could not be added.
pub fn modify(context: &Context, call: &Call) -> Answer {
    let remove: Vec<Ref> = call.arguments.references("remove").cloned().collect();
    let add: Vec<Ref> = call.arguments.references("add").cloned().collect();
    change_list(context, call, add, |known| !remove.contains(known))
}

pub fn reset(context: &Context, call: &Call) -> Answer {
    let add: Vec<Ref> = call.arguments.references("obj").cloned().collect();
    change_list(context, call, add, |_| false)
}

fn change_list(
    context: &Context,
    call: &Call,
    add: Vec<Ref>,
    keep: impl Fn(&Ref) -> bool,
) -> Answer {
    let session = context.session_key()?;
    let mut world = context.shared.write();
    let exists = |target: &Ref| properties::exists(&world, session, target).is_ok();
    let (add, unresolved): (Vec<Ref>, Vec<Ref>) = add.into_iter().partition(exists);
    let found = world
        .session_mut(session)
        .ok_or_else(Fault::not_authenticated)?;
    let Some(View::List(list)) = found.views.get_mut(&call.this.id) else {
        return Err(Fault::not_found(&call.this));
    };
    list.retain(keep);
    for target in add {
        if !list.contains(&target) {
            list.push(target);
        }
    }
    Ok(Some(Value::refs(unresolved)))
}

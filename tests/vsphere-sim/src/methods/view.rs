//! Views of the inventory.

use crate::properties;
use crate::wire::envelope::Call;
use crate::wire::{Fault, Ref, schema};
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

//! The service instance, logging in and out.

use crate::properties::service as properties;
use crate::wire::Fault;
use crate::wire::envelope::Call;

use super::{Answer, Context, text};

pub fn content(context: &Context) -> Answer {
    Ok(Some(properties::content(&context.shared.read()).into()))
}

pub fn current_time(context: &Context) -> Answer {
    Ok(Some(context.shared.read().clock.text().into()))
}

pub fn login(context: &mut Context, call: &Call) -> Answer {
    let (user, password) = (
        text(&call.arguments, "userName")?,
        text(&call.arguments, "password")?,
    );
    let mut world = context.shared.write();
    let right = user == world.options.username && password == world.options.password;
    // Who has logged in already cannot do it again on the same session.
    if !right || context.session.is_some() {
        return Err(Fault::new(
            "InvalidLogin",
            "Cannot complete login due to an incorrect user name or password.",
        ));
    }
    if world.sessions.len() >= world.options.session_limit {
        // vCenter answers 503 on the connection beyond its limit of sessions, hostd with this fault.
        return Err(Fault::new(
            "ResourceNotAvailable",
            "The maximum number of sessions has been exceeded.",
        )
        .with("containerType", "SessionManager")
        .with("type", "Session"));
    }
    let key = world.open_session(user, &context.user_agent);
    let session = world.session(&key).ok_or_else(Fault::not_authenticated)?;
    context.new_cookie = Some(session.cookie.clone());
    Ok(Some(session.describe(&world.clock).into()))
}

pub fn logout(context: &mut Context) -> Answer {
    let key = context.session_key()?.to_owned();
    context.shared.write().close_session(&key);
    Ok(None)
}

pub fn session_is_active(context: &Context, call: &Call) -> Answer {
    let world = context.shared.read();
    let (key, user) = (
        text(&call.arguments, "sessionID")?,
        text(&call.arguments, "userName")?,
    );
    Ok(Some(
        world
            .session(key)
            .is_some_and(|session| session.user == user)
            .into(),
    ))
}

pub fn terminate_session(context: &Context, call: &Call) -> Answer {
    let own = context.session_key()?;
    let mut world = context.shared.write();
    for key in call.arguments.texts("sessionId") {
        if key == own {
            return Err(Fault::invalid_argument("sessionId"));
        }
        if world.session(key).is_none() {
            return Err(Fault::new("NotFound", "The session was not found."));
        }
        world.close_session(key);
    }
    Ok(None)
}

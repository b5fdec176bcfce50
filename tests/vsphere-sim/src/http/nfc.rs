//! `/nfc/<ticket>/<file>`: the bytes of a lease's disks.

mod export;
mod import;
pub mod kept;

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode, header};

use crate::options::DataHostCookie;
use crate::wire::Ref;
use crate::world::World;
use crate::world::lease::{LeaseKind, LeaseState, Transfer};

use super::body::Body;
use super::line::Line;
use super::{Entrance, Reply, plain};

/// A file of a lease: which, and what it stands for.
pub struct Target {
    pub lease: Ref,
    pub index: usize,
}

impl Target {
    /// Notes how the transfer stands.
    pub fn note(&self, world: &mut World, transfer: Transfer) {
        if let Some(file) = world
            .leases
            .get_mut(&self.lease.id)
            .and_then(|lease| lease.files.get_mut(self.index))
        {
            file.transfer = transfer;
        }
    }
}

pub async fn answer(
    request: Request<Incoming>,
    path: &str,
    line: &Arc<Line>,
    entrance: &Entrance,
) -> Reply {
    if entrance.data_host.is_some()
        && let Some(refusal) = check_cookie(&request, entrance)
    {
        return Ok(refusal);
    }
    let found = {
        let mut world = entrance.shared.write();
        world.expire_leases();
        find(&world, path, entrance.data_host)
    };
    let (target, kind) = match found {
        Ok(found) => found,
        Err((status, why)) => return Ok(plain(status, why)),
    };
    match (kind, request.method()) {
        (LeaseKind::Export, &Method::GET) => export::answer(target, line, entrance).await,
        (LeaseKind::Import, &Method::POST | &Method::PUT) => {
            import::answer(request, target, line, entrance).await
        }
        _ => Ok(plain(
            StatusCode::METHOD_NOT_ALLOWED,
            "not with this method",
        )),
    }
}

/// What a data host says about the session's cookie.
fn check_cookie(request: &Request<Incoming>, entrance: &Entrance) -> Option<Response<Body>> {
    let rule = entrance.shared.read().options.data_host_cookie;
    match (rule, request.headers().contains_key(header::COOKIE)) {
        (DataHostCookie::Refused, true) => Some(plain(
            StatusCode::BAD_REQUEST,
            "the session's cookie was sent to a data host",
        )),
        (DataHostCookie::Required, false) => Some(plain(
            StatusCode::UNAUTHORIZED,
            "there is no session cookie",
        )),
        _ => None,
    }
}

fn find(
    world: &World,
    path: &str,
    host: Option<usize>,
) -> Result<(Target, LeaseKind), (StatusCode, &'static str)> {
    let unknown = (StatusCode::NOT_FOUND, "there is no such ticket or file");
    let (ticket, file) = path.split_once('/').ok_or(unknown)?;
    let lease = world
        .leases
        .values()
        .find(|lease| lease.ticket == ticket && lease.host == host)
        .ok_or(unknown)?;
    if lease.state != LeaseState::Ready {
        return Err(unknown);
    }
    let index = lease
        .files
        .iter()
        .position(|candidate| candidate.target_id == file)
        .ok_or(unknown)?;
    if lease.files[index].transfer == Transfer::Running {
        return Err((
            StatusCode::SERVICE_UNAVAILABLE,
            "the file is being transferred already",
        ));
    }
    Ok((
        Target {
            lease: lease.reference.clone(),
            index,
        },
        lease.kind,
    ))
}

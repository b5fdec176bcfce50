//! Which outcomes are right for which faults.

use super::fault::{Callback, Cut, Fault};
use super::point::{Place, Point};
use super::stage::Attempt;
use vmdk_backup::error::Kind;

/// Whether the outcome is one that the fault may have.
pub fn allow(point: &Point, attempt: &Attempt) -> Result<(), String> {
    match &attempt.outcome {
        Ok(_) if must_fail(point) => Err("success, where there can be none".into()),
        Ok(_) => Ok(()),
        Err(error) if must_succeed(point) => Err(format!("{error:?}, where it must succeed")),
        Err(error) => {
            let kinds = kinds(point);
            match kinds.contains(&error.kind()) {
                true => Ok(()),
                false => Err(format!("{:?} is none of {kinds:?}: {error}", error.kind())),
            }
        }
    }
}

/// Kinds of errors that tell of the fault.
fn kinds(point: &Point) -> Vec<Kind> {
    match point.fault {
        Fault::Refused(fault) | Fault::RefusedAfter(fault) => vec![of_fault(fault)],
        Fault::ReplyLost | Fault::Close | Fault::Reset => vec![Kind::Connection],
        Fault::Truncated | Fault::Html => vec![Kind::Fault],
        Fault::Status(status) | Fault::StatusAfter(status) => vec![of_status(status)],
        Fault::Held => vec![],
        Fault::LoseSession => vec![Kind::Connection, Kind::Auth, Kind::NotFound],
        Fault::LeaseError => vec![Kind::Fault, Kind::Connection],
        Fault::Data(cut) => of_cut(cut),
        Fault::OtherCertificate => vec![Kind::Tls],
        Fault::Service(Callback::Ends) => vec![Kind::Corrupt],
        Fault::Service(Callback::Blocks) => vec![Kind::Fault, Kind::Connection, Kind::NotFound],
        Fault::Service(_) => vec![Kind::Service],
        Fault::Full => vec![Kind::NoSpace],
        Fault::NoJournal => vec![Kind::Io],
        Fault::Break => vec![Kind::Cancelled],
    }
}

fn of_fault(fault: &str) -> Kind {
    match fault {
        "NoPermission" | "NotAuthenticated" => Kind::Auth,
        "TaskInProgress" => Kind::InvalidState,
        "NoDiskSpace" => Kind::NoSpace,
        _ => Kind::Fault,
    }
}

fn of_status(status: u16) -> Kind {
    match status {
        401 => Kind::Auth,
        404 => Kind::NotFound,
        429 | 502 | 503 => Kind::Connection,
        507 => Kind::NoSpace,
        _ => Kind::Fault,
    }
}

fn of_cut(cut: Cut) -> Vec<Kind> {
    match cut {
        Cut::Close | Cut::Reset | Cut::LengthTooLong => vec![Kind::Connection, Kind::Corrupt],
        Cut::Stall => vec![Kind::Stalled],
        Cut::End | Cut::Flip | Cut::TooLong | Cut::LengthTooShort => vec![Kind::Corrupt],
        Cut::Answer(status) => vec![of_status(status), Kind::Connection],
        Cut::LeaseError(fault) => vec![of_fault(fault), Kind::Connection],
        Cut::LoseSession => vec![Kind::Connection, Kind::Auth, Kind::NotFound],
    }
}

/// What cannot be mended by trying again.
fn must_fail(point: &Point) -> bool {
    match point.fault {
        Fault::OtherCertificate | Fault::Full | Fault::Break => true,
        Fault::Service(callback) => !matches!(callback, Callback::Short | Callback::Blocks),
        _ => false,
    }
}

/// What does no harm to anybody.
fn must_succeed(point: &Point) -> bool {
    matches!(
        point.fault,
        Fault::Held | Fault::Service(Callback::Short) | Fault::Refused("NotAuthenticated")
    )
}

/// Whether something may be left to recovery.
pub fn may_leave(point: &Point) -> bool {
    let _ = point;
    true
}

/// Whether a lease may be left that ends by itself.
pub fn may_leave_lease(point: &Point) -> bool {
    let _ = (point, Place::Journal);
    true
}

/// Whether a session may be left that ends by itself.
pub fn may_leave_session(point: &Point) -> bool {
    let _ = point;
    true
}

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
        // The lease that nobody heard of keeps the backing busy.
        _ if hides_lease(point) && point.setting.patient => {
            vec![Kind::InvalidState, Kind::Connection, Kind::Fault]
        }
        Fault::Refused(fault) | Fault::RefusedAfter(fault) => vec![of_fault(fault)],
        Fault::ReplyLost | Fault::Close | Fault::Reset => vec![Kind::Connection],
        Fault::Truncated | Fault::Html => vec![Kind::Fault],
        Fault::Status(status) | Fault::StatusAfter(status) => vec![of_status(status)],
        Fault::Held => vec![],
        Fault::LoseSession => vec![Kind::Connection, Kind::Auth, Kind::NotFound],
        // A lease that has failed cannot be completed, and that is all its server says then.
        Fault::LeaseError => vec![Kind::Fault, Kind::Connection, Kind::InvalidState],
        Fault::Data(cut) => of_cut(cut, !point.setting.is_backup()),
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

fn of_cut(cut: Cut, import: bool) -> Vec<Kind> {
    match cut {
        Cut::Close | Cut::Reset | Cut::LengthTooLong => vec![Kind::Connection, Kind::Corrupt],
        Cut::Stall => vec![Kind::Stalled],
        // The receiver of an import finds it, and says so in words of its own.
        Cut::Flip if import => vec![Kind::Fault],
        Cut::End | Cut::Flip | Cut::TooLong | Cut::LengthTooShort => vec![Kind::Corrupt],
        Cut::Answer(status) => vec![of_status(status), Kind::Connection],
        Cut::LeaseError(fault) => vec![of_fault(fault), Kind::Connection],
        // The receiver stores under a lease that it does not find any more.
        Cut::LoseSession if import => {
            vec![Kind::Connection, Kind::Auth, Kind::NotFound, Kind::Fault]
        }
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
    match (point.fault, &point.place) {
        (Fault::Held | Fault::Service(Callback::Short), _) => true,
        // A session that was lost is replaced; there is none yet before these.
        (Fault::Refused("NotAuthenticated"), Place::Call(method, _)) => {
            !["RetrieveServiceContent", "Login"].contains(&method.as_str())
        }
        _ => false,
    }
}

/// Whether a lease was granted and its name lost.
fn hides_lease(point: &Point) -> bool {
    let Place::Call(method, _) = &point.place else {
        return false;
    };
    point.fault.hides_effect() && ["ExportVm", "ImportVApp"].contains(&method.as_str())
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

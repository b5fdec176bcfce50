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
        // The address of a lease that is over is not found, either.
        Fault::Status(404) => vec![Kind::NotFound, Kind::Connection],
        // Nobody reads the disk that is sent meanwhile: its reset may come before the status does.
        Fault::Status(status) if matches!(point.place, Place::Import(_)) => {
            vec![of_status(status), Kind::Connection]
        }
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
        // The host sees it, or, in bytes that mean nothing to it, its manifest tells.
        Cut::Flip if import => vec![Kind::Fault, Kind::Corrupt],
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

/// What does no harm to anybody, or is waited for and asked again.
fn must_succeed(point: &Point) -> bool {
    let Place::Call(method, _) = &point.place else {
        return matches!(point.fault, Fault::Held | Fault::Service(Callback::Short));
    };
    let is_broken_exchange = matches!(
        point.fault,
        Fault::ReplyLost
            | Fault::Truncated
            | Fault::Html
            | Fault::Close
            | Fault::Reset
            | Fault::Status(401 | 500 | 502)
            | Fault::StatusAfter(_)
    );
    match point.fault {
        Fault::Held => true,
        // A session that was lost is replaced; there is none yet before these.
        Fault::Refused("NotAuthenticated") => {
            !["RetrieveServiceContent", "Login"].contains(&method.as_str())
        }
        Fault::Status(429 | 503) => point.setting.patient,
        _ => is_broken_exchange && point.setting.patient && READS.contains(&method.as_str()),
    }
}

/// Methods that change nothing, or nothing that outlives the session.
const READS: [&str; 7] = [
    "RetrievePropertiesEx",
    "CreateContainerView",
    "DestroyView",
    "FindAllByUuid",
    "QueryVirtualDiskUuid",
    "HttpNfcLeaseGetManifest",
    "CurrentTime",
];

/// Methods by which tasks and leases are watched: how often they are called depends on how soon
/// these are done.
const WATCHES: [&str; 5] = [
    "RetrievePropertiesEx",
    "CreatePropertyCollector",
    "CreateFilter",
    "WaitForUpdatesEx",
    "DestroyPropertyCollector",
];

/// Whether it depends on time if the point is there at all.
pub fn may_be_missing(point: &Point) -> bool {
    match &point.place {
        Place::Call(method, _) => {
            WATCHES.contains(&method.as_str()) || method == "HttpNfcLeaseProgress"
        }
        Place::Progress(_) => true,
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

/// Whether something may be left to recovery: where what takes it away was struck itself, the proof
/// that it may be taken away, or the watch over that, or where nobody heard what was made. Neither data nor services, directories or
/// the caller's wishes are reasons to leave anything.
pub fn may_leave(point: &Point) -> bool {
    let (Place::Call(method, _) | Place::Task(method, _)) = &point.place else {
        return false;
    };
    let takes_away = [
        "Destroy_Task",
        "QueryVirtualDiskUuid",
        "DeleteVirtualDisk_Task",
        "ReconfigVM_Task",
    ];
    takes_away.contains(&method.as_str())
        || WATCHES.contains(&method.as_str())
        || hides_lease(point)
}

/// Whether a lease may be left that ends by itself: one that nobody heard of, or whose end was
/// struck.
pub fn may_leave_lease(point: &Point) -> bool {
    let ends = ["HttpNfcLeaseAbort", "HttpNfcLeaseComplete"];
    hides_lease(point)
        || matches!(&point.place, Place::Call(method, _) if ends.contains(&method.as_str()))
}

/// Whether a session may be left that ends by itself: one that nobody heard of, or whose end was
/// struck, or that the server denied although it was there.
pub fn may_leave_session(point: &Point) -> bool {
    match &point.place {
        Place::Call(method, _) => {
            let denied = point.fault == Fault::Refused("NotAuthenticated");
            denied || method == "Logout" || (method == "Login" && point.fault.hides_effect())
        }
        _ => false,
    }
}

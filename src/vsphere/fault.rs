//! What the server's faults mean.

use crate::error::{Error, Kind, Passing};
use crate::transport::soap::{Fault, Node};
use crate::vsphere::Moref;

/// The fault of a session that is none, or none any more.
pub const NOT_AUTHENTICATED: &str = "NotAuthenticated";

/// The fault for an object that is gone, or belonged to a session that is.
pub const OBJECT_NOT_FOUND: &str = "ManagedObjectNotFound";

/// The fault for an object that was changed since it was looked at.
pub const CHANGED: &str = "ConcurrentAccess";

/// The fault of a task that was cancelled.
pub const CANCELLED: &str = "RequestCanceled";

/// Whether `error` stands for a session that is lost.
pub fn is_session_lost(error: &Error) -> bool {
    error.fault() == Some(NOT_AUTHENTICATED)
}

/// What a request is about, which decides what a fault of it means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Objects as they were found, before any disk has moved: what is wrong with them is told at
    /// once.
    #[default]
    Found,
    /// The operation's own objects, after a disk was moved and proven: what may pass is waited for,
    /// as long as for busy objects.
    Own,
    /// What is undone or taken away: the same, but what is gone is gone.
    Removal,
}

/// Whether a fault passes by itself, and what the refused request may have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passes {
    /// Not without a change.
    No,
    /// It does, and nothing was done.
    Undone,
    /// It does, and for all that is known it was done.
    Unknown,
}

/// Whether what stands behind `error` passes by itself: the one place that says which faults do,
/// and at which stage.
pub fn passes(error: &Error, stage: Stage) -> Passes {
    match (error.fault().unwrap_or_default(), stage) {
        (fault, _) if is_busy(fault) => Passes::Undone,
        (_, Stage::Found) => Passes::No,
        // It names the object that is gone; the others are not.
        (OBJECT_NOT_FOUND, Stage::Removal) if error.kind() == Kind::NotFound => Passes::No,
        (
            // Inventories lag behind, and hosts let go of files late.
            OBJECT_NOT_FOUND
            | "FileLocked"
            | "CannotAccessFile"
            | "ResourceInUse"
            | "InvalidState"
            | "InvalidVmState"
            | "InvalidHostState"
            | "InvalidHostConnectionState"
            | "InvalidDatastoreState"
            | "InaccessibleDatastore"
            | "DatastoreNotWritableOnHost",
            _,
        ) => Passes::Undone,
        (
            "HostNotConnected" | "HostNotReachable" | "HostCommunication" | "NetworkCopyFault"
            | "Timedout",
            _,
        ) => Passes::Unknown,
        _ => Passes::No,
    }
}

/// Whether the server says that the file named in the request is gone, and not some object.
pub fn is_file_gone(error: &Error) -> bool {
    error.kind() == Kind::NotFound && error.fault() != Some(OBJECT_NOT_FOUND)
}

/// Whether the server says that `object` itself is gone, and not something else.
pub fn is_gone(error: &Error, object: &Moref) -> bool {
    error.kind() == Kind::NotFound
        && error.fault().is_none_or(|fault| fault == OBJECT_NOT_FOUND)
        && error.object() == Some(&object.value)
}

/// The error a call's fault stands for.
pub fn of_call(fault: &Fault) -> Error {
    error(&fault.kind, &fault.message, &fault.detail)
}

/// The error a fault of a log-in stands for. The server's words are not taken over: they may repeat
/// the user's name and the password.
pub fn of_login(fault: &Fault) -> Error {
    let message = match fault.kind.as_str() {
        "InvalidLogin" => "the server refused the user name or the password",
        _ => {
            "the server refused the log-in; its own words are not shown, as they may repeat a secret"
        }
    };
    error(&fault.kind, message, &Node::default())
}

/// The error a `LocalizedMethodFault` stands for: a task's `info.error`, a lease's `error`, a
/// missing property's `fault`.
pub fn localized(node: &Node) -> Error {
    let empty = Node::default();
    let detail = node.child("fault").unwrap_or(&empty);
    let kind = detail.kind.as_deref().unwrap_or_default();
    let message = node.text_at("localizedMessage").unwrap_or_default();
    error(kind, message, detail)
}

/// A fault's fields that say on what it happened.
const TELLING_FIELDS: [&str; 14] = [
    "invalidProperty",
    "privilegeId",
    "object",
    "obj",
    "task",
    "file",
    "name",
    "datastore",
    "property",
    "deviceIndex",
    "requestedState",
    "existingState",
    "reason",
    "argument",
];

/// A cause of a cause of a cause is as far as anybody reads.
const DEEPEST_CAUSE: usize = 3;

fn error(kind: &str, message: &str, detail: &Node) -> Error {
    let name = tidy(kind);
    let mut text = tidy(message);
    if text.is_empty() {
        text = "the server gives no reason".into();
    }
    if !name.is_empty() && !text.contains(&name) {
        text = format!("{name}: {text}");
    }
    tell_fields(&mut text, detail);
    tell_causes(&mut text, detail);
    let object = ["object", "obj"].into_iter().find_map(|n| detail.child(n));
    let object = object.and_then(Moref::from_node);
    let kind = match meaning(&name) {
        // Which object is gone, it does not say: perhaps none that matters.
        Kind::NotFound if name == OBJECT_NOT_FOUND && object.is_none() => Kind::Fault,
        kind => kind,
    };
    let mut error = Error::new(kind, text);
    if let Some(remedy) = remedy(&name, detail) {
        error = error.remedy(remedy);
    }
    if let Some(object) = object {
        error = error.with_object(tidy(&object.value));
    }
    if is_busy(&name) {
        error = error.passing(Passing::Untouched);
        if let Some(task) = detail.child("task").and_then(Moref::from_node) {
            error = error.blocked_by(tidy(&task.value));
        }
    } else if is_passing(&name) {
        error = error.retryable();
    }
    if name.is_empty() {
        return error;
    }
    error.with_fault(name)
}

fn tell_fields(text: &mut String, detail: &Node) {
    for field in TELLING_FIELDS {
        let Some(node) = detail.child(field) else {
            continue;
        };
        let value = tidy(&node.text);
        if value.is_empty() || text.contains(&value) {
            continue;
        }
        *text += &match node.attribute("type") {
            Some(kind) => format!(" [{field} {} {value}]", tidy(kind)),
            None => format!(" [{field} {value}]"),
        };
    }
}

/// What the server adds in `faultMessage` and `faultCause`, which often says more than the fault.
fn tell_causes(text: &mut String, detail: &Node) {
    let mut fault = Some(detail);
    for _ in 0..DEEPEST_CAUSE {
        let Some(current) = fault else { return };
        let notes = current.children_named("faultMessage");
        let notes = notes.filter_map(|note| note.text_at("message"));
        let cause = current.child("faultCause");
        let caused = cause.and_then(|cause| cause.text_at("localizedMessage"));
        for note in notes.chain(caused).take(4).map(tidy) {
            if !note.is_empty() && !text.contains(&note) {
                *text += &format!("; {note}");
            }
        }
        fault = cause.and_then(|cause| cause.child("fault"));
    }
}

fn meaning(fault: &str) -> Kind {
    match fault {
        "InvalidLogin" | "NoPermission" | NOT_AUTHENTICATED | "PasswordExpired" => Kind::Auth,
        "DuplicateName" | "FileAlreadyExists" | "AlreadyExists" => Kind::Exists,
        OBJECT_NOT_FOUND | "FileNotFound" | "NotFound" => Kind::NotFound,
        "NoDiskSpace" | "InsufficientStorageSpace" | "InsufficientDisks" => Kind::NoSpace,
        "InvalidPowerState"
        | "InvalidState"
        | "TaskInProgress"
        | "VAppTaskInProgress"
        | "FileLocked"
        | "ConcurrentAccess"
        | "ResourceInUse"
        | "InvalidDatastoreState"
        | "InaccessibleDatastore"
        | "DatastoreNotWritableOnHost" => Kind::InvalidState,
        "NotSupported" | "NotImplemented" | "MethodNotFound" => Kind::Unsupported,
        _ if is_licence(fault) => Kind::Unsupported,
        "HostNotConnected" | "HostNotReachable" | "HostCommunication" => Kind::Connection,
        _ => Kind::Fault,
    }
}

fn is_licence(fault: &str) -> bool {
    fault == "RestrictedVersion" || fault.contains("License")
}

/// Whether the same call may succeed later.
fn is_passing(fault: &str) -> bool {
    matches!(
        fault,
        NOT_AUTHENTICATED | CHANGED | "HostNotConnected" | "HostNotReachable" | "HostCommunication"
    )
}

/// Whether another task is at the object, which is why nothing was done.
fn is_busy(fault: &str) -> bool {
    matches!(fault, "TaskInProgress" | "VAppTaskInProgress")
}

fn remedy(fault: &str, detail: &Node) -> Option<String> {
    Some(match fault {
        "InvalidLogin" => "check user name and password".into(),
        "NoPermission" => {
            let privilege = detail.text_at("privilegeId").map(tidy);
            match privilege.filter(|privilege| !privilege.is_empty()) {
                Some(privilege) => format!("give the user the privilege {privilege} there"),
                None => "give the user the privilege it lacks".into(),
            }
        }
        "InvalidPowerState" => "power the machine off".into(),
        "TaskInProgress" | "VAppTaskInProgress" | "ConcurrentAccess" => {
            "try again when the other task is done".into()
        }
        "FileLocked" => "find the machine or task that uses the file".into(),
        "NoDiskSpace" | "InsufficientStorageSpace" => "free space on the datastore".into(),
        _ if is_licence(fault) => {
            "the server's licence does not permit it; a free ESXi host permits no changes".into()
        }
        _ => return None,
    })
}

/// The longest text that is taken over from a server.
const LONGEST_TEXT: usize = 500;

/// A server's text on one line, and not too long.
fn tidy(text: &str) -> String {
    let words = text.split(|char: char| char.is_whitespace() || char.is_control());
    let mut line = String::new();
    for word in words.filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        if line.len() > LONGEST_TEXT {
            let end = (0..=LONGEST_TEXT)
                .rev()
                .find(|&end| line.is_char_boundary(end));
            line.truncate(end.unwrap_or(0));
            line.push_str("...");
            break;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(name: &str, text: &str) -> Node {
        Node {
            name: name.into(),
            text: text.into(),
            ..Node::default()
        }
    }

    fn method_fault(kind: &str, message: &str, fields: Vec<Node>) -> Node {
        let fault = Node {
            name: "fault".into(),
            kind: Some(kind.into()),
            children: fields,
            ..Node::default()
        };
        Node {
            name: "error".into(),
            children: vec![fault, leaf("localizedMessage", message)],
            ..Node::default()
        }
    }

    #[test]
    fn a_fault_becomes_the_kind_a_program_can_act_on() {
        for (fault, kind, passing) in [
            ("InvalidLogin", Kind::Auth, false),
            ("NotAuthenticated", Kind::Auth, true),
            ("DuplicateName", Kind::Exists, false),
            ("VAppTaskInProgress", Kind::InvalidState, true),
            // It does not say which.
            ("ManagedObjectNotFound", Kind::Fault, false),
            ("NoDiskSpace", Kind::NoSpace, false),
            ("TaskInProgress", Kind::InvalidState, true),
            ("FileLocked", Kind::InvalidState, false),
            ("RestrictedVersion", Kind::Unsupported, false),
            ("LicenseExpired", Kind::Unsupported, false),
            ("GenericVmConfigFault", Kind::Fault, false),
        ] {
            let error = localized(&method_fault(fault, "said so", vec![]));
            assert_eq!(
                (error.kind(), error.is_retryable()),
                (kind, passing),
                "{fault}"
            );
            assert_eq!(error.fault(), Some(fault));
        }
    }

    #[test]
    fn a_missing_privilege_is_named_with_its_object() {
        let object = Node {
            attributes: vec![("type".into(), "Datastore".into())],
            ..leaf("object", "datastore-7")
        };
        let fields = vec![object, leaf("privilegeId", "Datastore.AllocateSpace")];
        let error = localized(&method_fault("NoPermission", "Permission denied.", fields));
        assert_eq!(error.object(), Some("datastore-7"));
        assert_eq!(
            error.message(),
            "NoPermission: Permission denied. [privilegeId Datastore.AllocateSpace] \
             [object Datastore datastore-7] (give the user the privilege Datastore.AllocateSpace there)"
        );
    }

    #[test]
    fn the_causes_are_told() {
        let mut cause = method_fault("FileLocked", "the file is locked", vec![]);
        cause.name = "faultCause".into();
        let mut note = leaf("faultMessage", "");
        note.children = vec![leaf("message", "device busy")];
        let error = localized(&method_fault(
            "GenericVmConfigFault",
            "failed",
            vec![cause, note],
        ));
        assert_eq!(
            error.message(),
            "GenericVmConfigFault: failed; device busy; the file is locked"
        );
    }

    #[test]
    fn a_servers_text_is_one_line_of_bounded_length() {
        let error = localized(&method_fault("X", &"ä\n\u{1b}b ".repeat(1000), vec![]));
        assert!(error.message().len() < 600);
        assert!(!error.message().contains(char::is_control));
    }
}

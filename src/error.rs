//! What went wrong: one kind a program can act on, one sentence a person can read.

use std::fmt;

/// The result of everything in this library that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// What a program can tell failures apart by. The C status codes are these, one to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The caller's words cannot be meant: empty, contradictory, out of range.
    InvalidArgument,
    /// Well-formed, but this library, this server or this disk cannot do it.
    Unsupported,
    /// A call into the library from inside one of its callbacks.
    Reentrant,
    /// A defect of this library, stopped at its border.
    Panic,
    /// The caller asked for the end: progress callback, cancel switch or deadline.
    Cancelled,
    /// The caller's backup service failed.
    Service,
    /// No connection, or it broke.
    Connection,
    /// The server could not prove who it is.
    Tls,
    /// The server refused the user, or the user lacks a privilege.
    Auth,
    /// The volume, backup, datastore or other object named does not exist.
    NotFound,
    /// Something of that name or id exists already.
    Exists,
    /// It exists, but in a state that forbids this: powered on, has snapshots, locked.
    InvalidState,
    /// A datastore, the temporary directory or the service is full.
    NoSpace,
    /// The server answered with a fault that has no kind of its own.
    Fault,
    /// Bytes that are not what they must be: a truncated, damaged or foreign stream.
    Corrupt,
    /// No byte moved for the stall time-out.
    Stalled,
    /// The operating system refused a file operation.
    Io,
}

/// The part of an operation that was under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Reaching the server and logging in.
    Connect,
    /// Finding the volume's backing and looking whether the operation can work.
    Prepare,
    /// Making a backing or importing the frame of a temporary one.
    Create,
    /// Moving the disk between the server and this machine.
    Transfer,
    /// Moving the temporary file between this machine and the service.
    Service,
    /// Proving what was moved.
    Verify,
    /// Converting or extending the imported disk.
    Convert,
    /// Putting the restored disk into the backing.
    Replace,
    /// Committing the backup, or removing what was only needed on the way.
    Finish,
}

impl Phase {
    /// The phase in a word, as it stands in error messages and logs.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Connect => "connect",
            Phase::Prepare => "prepare",
            Phase::Create => "create",
            Phase::Transfer => "transfer",
            Phase::Service => "service",
            Phase::Verify => "verify",
            Phase::Convert => "convert",
            Phase::Replace => "replace",
            Phase::Finish => "finish",
        }
    }
}

/// Whether what failed may succeed later, and what the failed attempt may have done already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Passing {
    /// It fails again as long as nothing is changed.
    No,
    /// It may have been done, for all that is known.
    Later,
    /// It was not done: the server never saw the request.
    Untouched,
    /// It was not done: the server has too much to do.
    Overload,
}

/// A failure, told from the outermost attempt to the innermost cause.
///
/// The message reads `restore of backup b1: import to ds1: POST esx3:443: connection reset`;
/// each floor of the library adds the part only it knows, once.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    message: String,
    remedy: Option<String>,
    phase: Option<Phase>,
    fault: Option<String>,
    object: Option<String>,
    operation: Option<String>,
    task: Option<String>,
    passing: Passing,
    open: bool,
    callback: Option<i64>,
    left_behind: Vec<String>,
}

impl Error {
    /// An error of `kind`, described by a sentence part without a full stop.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Error(Box::new(Inner {
            kind,
            message: message.into(),
            remedy: None,
            phase: None,
            fault: None,
            object: None,
            operation: None,
            task: None,
            passing: Passing::No,
            open: false,
            callback: None,
            left_behind: Vec::new(),
        }))
    }

    /// An operating system error met while doing `what` (`write /tmp/x`).
    pub fn io(what: impl fmt::Display, error: &std::io::Error) -> Self {
        let kind = match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Kind::NoSpace,
            _ => Kind::Io,
        };
        Error::new(kind, format!("{what}: {error}"))
    }

    /// Puts what was attempted in front of the message.
    #[must_use]
    pub fn context(mut self, what: impl fmt::Display) -> Self {
        self.0.message = format!("{what}: {}", self.0.message);
        self
    }

    /// Says what the user can do about it. The innermost remedy stays.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.0.remedy.get_or_insert_with(|| remedy.into());
        self
    }

    /// Names the vSphere fault type the server answered with (`DuplicateName`).
    #[must_use]
    pub fn with_fault(mut self, fault: impl Into<String>) -> Self {
        self.0.fault = Some(fault.into());
        self
    }

    /// Names the managed object concerned (`vm-42`). The innermost object stays.
    #[must_use]
    pub fn with_object(mut self, object: impl Into<String>) -> Self {
        self.0.object.get_or_insert_with(|| object.into());
        self
    }

    /// Says that the same call may succeed later without anything being changed.
    #[must_use]
    pub fn retryable(self) -> Self {
        self.passing(Passing::Later)
    }

    /// The same, with what is known of the request's effect.
    pub(crate) fn passing(mut self, passing: Passing) -> Self {
        self.0.passing = self.0.passing.max(passing);
        self
    }

    /// An attempt before may have done it, and looking did not tell.
    pub(crate) fn leaving_open(mut self) -> Self {
        self.0.open = true;
        self
    }

    /// Names the task of somebody else's that is in the way.
    pub(crate) fn blocked_by(mut self, task: impl Into<String>) -> Self {
        self.0.task = Some(task.into());
        self
    }

    /// It ended what the caller wanted ended, for the reason `why`: otherwise it would have been
    /// tried again.
    pub(crate) fn cancelled(mut self, why: &str) -> Self {
        self.0.kind = Kind::Cancelled;
        self.0.passing = Passing::No;
        self.0.message = format!("{why}: {}", self.0.message);
        self
    }

    /// Keeps the number that the caller's own callback returned.
    #[must_use]
    pub fn with_callback(mut self, returned: i64) -> Self {
        self.0.callback = Some(returned);
        self
    }

    /// Names something that could not be removed and is still there (`temporary VM vm-9`).
    #[must_use]
    pub fn leaving_behind(mut self, what: impl Into<String>) -> Self {
        self.0.left_behind.push(what.into());
        self
    }

    /// The phase it happened in; the innermost stays.
    #[must_use]
    pub fn in_phase(mut self, phase: Phase) -> Self {
        self.0.phase.get_or_insert(phase);
        self
    }

    /// The phase and operation it happened in; the innermost of each stays.
    #[must_use]
    pub fn during(self, phase: Phase, operation: &str) -> Self {
        let mut error = self.in_phase(phase);
        error
            .0
            .operation
            .get_or_insert_with(|| operation.to_owned());
        error
    }

    /// Replaces every text with what `redact` makes of it.
    #[must_use]
    pub fn map_text(mut self, redact: impl Fn(&str) -> String) -> Self {
        let inner = &mut *self.0;
        inner.message = redact(&inner.message);
        for text in [&mut inner.remedy, &mut inner.fault, &mut inner.object] {
            *text = text.as_deref().map(&redact);
        }
        for text in &mut inner.left_behind {
            *text = redact(text);
        }
        self
    }

    /// What a program can act on.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The whole story in one line, with remedy and what was left behind.
    pub fn message(&self) -> String {
        self.to_string()
    }

    /// The phase it happened in, where it happened inside an operation.
    pub fn phase(&self) -> Option<Phase> {
        self.0.phase
    }

    /// The vSphere fault type, where the server answered with one.
    pub fn fault(&self) -> Option<&str> {
        self.0.fault.as_deref()
    }

    /// The managed object concerned, where there is one.
    pub fn object(&self) -> Option<&str> {
        self.0.object.as_deref()
    }

    /// The operation's id, which also stands in the server's logs.
    pub fn operation(&self) -> Option<&str> {
        self.0.operation.as_deref()
    }

    /// Whether the same call may succeed later without anything being changed.
    pub fn is_retryable(&self) -> bool {
        self.0.passing > Passing::No
    }

    /// Whether the request certainly did nothing, and the same one may succeed later.
    pub(crate) fn is_untouched(&self) -> bool {
        self.0.passing >= Passing::Untouched
    }

    /// Whether it is certain that the server did nothing and does nothing any more.
    pub(crate) fn is_without_effect(&self) -> bool {
        !self.0.open && (self.is_untouched() || self.0.kind == Kind::Cancelled)
    }

    /// Whether the server has too much to do.
    pub(crate) fn is_overload(&self) -> bool {
        self.0.passing == Passing::Overload
    }

    /// The task of somebody else's that is in the way.
    pub(crate) fn blocking_task(&self) -> Option<&str> {
        self.0.task.as_deref()
    }

    /// What the caller's own callback returned, where one failed.
    pub fn callback(&self) -> Option<i64> {
        self.0.callback
    }

    /// What could not be removed and is still there.
    pub fn left_behind(&self) -> &[String] {
        &self.0.left_behind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if let Some(remedy) = &self.0.remedy {
            write!(f, " ({remedy})")?;
        }
        if !self.0.left_behind.is_empty() {
            write!(f, "; left behind: {}", self.0.left_behind.join(", "))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {}

/// Adds what was attempted to a failing result.
pub trait Context<T> {
    /// Puts `what` in front of the error's message.
    fn context(self, what: impl fmt::Display) -> Result<T>;
    /// The same, for a text that costs something to make.
    fn with_context<D: fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T>;
}

impl<T> Context<T> for Result<T> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| error.context(what))
    }

    fn with_context<D: fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|error| error.context(what()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_story_is_told_once_from_outside_to_inside() {
        let error = Error::new(Kind::Connection, "connection reset")
            .context("POST esx3:443")
            .remedy("check the network")
            .context("import to ds1")
            .leaving_behind("temporary VM vm-9")
            .during(Phase::Transfer, "op1")
            .during(Phase::Finish, "op2");
        assert_eq!(
            error.to_string(),
            "import to ds1: POST esx3:443: connection reset (check the network); \
             left behind: temporary VM vm-9"
        );
        assert_eq!(error.phase(), Some(Phase::Transfer));
        assert_eq!(error.operation(), Some("op1"));
    }
}

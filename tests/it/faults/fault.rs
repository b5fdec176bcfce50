//! What goes wrong: the columns of the matrix.

use std::thread::JoinHandle;
use std::time::Duration;
use vsphere_sim::{DataTrouble, Fault as Answer, Gate, Trouble};

/// One thing that goes wrong, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answered with the fault, without effect.
    Refused(&'static str),
    /// Answered with the fault, after the effect.
    RefusedAfter(&'static str),
    ReplyLost,
    Truncated,
    StatusAfter(u16),
    Status(u16),
    Html,
    Close,
    Reset,
    Held,
    LoseSession,
    /// All leases fail.
    LeaseError,
    Data(Cut),
    /// The data host has another certificate than the lease says.
    OtherCertificate,
    Service(Callback),
    /// No room in the directory for temporary files.
    Full,
    /// The directory for journals is none.
    NoJournal,
    /// The progress callback asks for the end.
    Break,
}

/// What happens to a transfer at some byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    Close,
    Reset,
    Stall,
    End,
    Flip,
    TooLong,
    LengthTooShort,
    LengthTooLong,
    Answer(u16),
    LeaseError(&'static str),
    LoseSession,
}

/// What a callback of the service does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callback {
    Fails,
    /// Does what it is to do, and says that it failed.
    FailsAfter,
    /// Reads less than it could.
    Short,
    /// Reads nothing, as if it were at the end.
    Ends,
    /// Says that it read more than there was room for.
    TooMuch,
    /// Comes back when every lease has run out.
    Blocks,
}

/// Faults that any call of SOAP may meet.
pub const OF_A_CALL: [Fault; 19] = [
    Fault::Refused("SystemError"),
    Fault::Refused("NoPermission"),
    Fault::Refused("TaskInProgress"),
    Fault::Refused("NotAuthenticated"),
    Fault::RefusedAfter("SystemError"),
    Fault::ReplyLost,
    Fault::Truncated,
    Fault::StatusAfter(500),
    Fault::Status(401),
    Fault::Status(429),
    Fault::Status(500),
    Fault::Status(502),
    Fault::Status(503),
    Fault::Html,
    Fault::Close,
    Fault::Reset,
    Fault::Held,
    Fault::LoseSession,
    Fault::LeaseError,
];

/// Faults that any task, and the way of a lease to ready, may meet.
pub const OF_A_TASK: [Fault; 5] = [
    Fault::Refused("SystemError"),
    Fault::Refused("NoDiskSpace"),
    Fault::Refused("TaskInProgress"),
    Fault::RefusedAfter("SystemError"),
    Fault::Held,
];

/// Faults that a transfer may meet before its first byte.
pub const OF_A_REQUEST: [Fault; 6] = [
    Fault::Close,
    Fault::Reset,
    Fault::Held,
    Fault::Status(404),
    Fault::Status(500),
    Fault::Status(503),
];

/// Faults that an export may meet at a byte.
pub const OF_AN_EXPORT: [Cut; 11] = [
    Cut::Close,
    Cut::Reset,
    Cut::Stall,
    Cut::End,
    Cut::Flip,
    Cut::TooLong,
    Cut::LengthTooShort,
    Cut::LengthTooLong,
    Cut::LeaseError("SystemError"),
    Cut::LeaseError("NoDiskSpace"),
    Cut::LoseSession,
];

/// Faults that an import may meet at a byte.
pub const OF_AN_IMPORT: [Cut; 9] = [
    Cut::Close,
    Cut::Reset,
    Cut::Stall,
    Cut::Flip,
    Cut::Answer(500),
    Cut::Answer(507),
    Cut::LeaseError("SystemError"),
    Cut::LeaseError("NoDiskSpace"),
    Cut::LoseSession,
];

/// Where a test is to wait for somebody to come to a gate: far longer than it ever takes.
const AT_MOST: Duration = Duration::from_secs(60);

impl Fault {
    pub fn name(self) -> String {
        match self {
            Fault::Refused(fault) => format!("refused-{fault}"),
            Fault::RefusedAfter(fault) => format!("refused-after-{fault}"),
            Fault::ReplyLost => "reply-lost".into(),
            Fault::Truncated => "truncated-xml".into(),
            Fault::StatusAfter(status) => format!("status-after-{status}"),
            Fault::Status(status) => format!("status-{status}"),
            Fault::Html => "html".into(),
            Fault::Close => "close".into(),
            Fault::Reset => "reset".into(),
            Fault::Held => "held".into(),
            Fault::LoseSession => "lose-session".into(),
            Fault::LeaseError => "lease-error".into(),
            Fault::Data(Cut::Close) => "data-close".into(),
            Fault::Data(Cut::Reset) => "data-reset".into(),
            Fault::Data(Cut::Stall) => "data-stall".into(),
            Fault::Data(Cut::End) => "data-end".into(),
            Fault::Data(Cut::Flip) => "data-flip".into(),
            Fault::Data(Cut::TooLong) => "data-too-long".into(),
            Fault::Data(Cut::LengthTooShort) => "data-length-too-short".into(),
            Fault::Data(Cut::LengthTooLong) => "data-length-too-long".into(),
            Fault::Data(Cut::Answer(status)) => format!("data-answer-{status}"),
            Fault::Data(Cut::LeaseError(fault)) => format!("data-lease-{fault}"),
            Fault::Data(Cut::LoseSession) => "data-lose-session".into(),
            Fault::OtherCertificate => "other-certificate".into(),
            Fault::Service(Callback::Fails) => "fails".into(),
            Fault::Service(Callback::FailsAfter) => "fails-after".into(),
            Fault::Service(Callback::Short) => "short".into(),
            Fault::Service(Callback::Ends) => "ends".into(),
            Fault::Service(Callback::TooMuch) => "too-much".into(),
            Fault::Service(Callback::Blocks) => "blocks".into(),
            Fault::Full => "full".into(),
            Fault::NoJournal => "no-journal".into(),
            Fault::Break => "break".into(),
        }
    }

    /// Whether it takes longer than the sample has time for.
    pub fn is_slow(self) -> bool {
        self == Fault::Data(Cut::Stall)
    }

    /// Whether the call had its effect although its answer does not say so.
    pub fn hides_effect(self) -> bool {
        matches!(
            self,
            Fault::RefusedAfter(_) | Fault::ReplyLost | Fault::Truncated | Fault::StatusAfter(_)
        )
    }

    /// What the simulator calls it, for a transfer of `length` bytes at byte `at`; and a thread
    /// that opens the gate where there is one, once somebody stands there.
    pub fn trouble(self, at: u64, length: u64) -> Option<(Trouble, Option<JoinHandle<bool>>)> {
        let data = |trouble| Trouble::Data(at, trouble);
        let trouble = match self {
            Fault::Refused(fault) => Trouble::Fault(Answer::planned(fault)),
            Fault::RefusedAfter(fault) => Trouble::FaultAfter(Answer::planned(fault)),
            Fault::ReplyLost => Trouble::ReplyLost,
            Fault::Truncated => Trouble::TruncatedXml,
            Fault::StatusAfter(status) => Trouble::StatusAfter(status),
            Fault::Status(status) => Trouble::Status(status),
            Fault::Html => Trouble::Html,
            Fault::Close => Trouble::Close,
            Fault::Reset => Trouble::Reset,
            Fault::Held => {
                let gate = Gate::new();
                let held = gate.clone();
                let opener = std::thread::spawn(move || {
                    let came = held.wait_for_arrival(AT_MOST);
                    held.open();
                    came
                });
                return Some((Trouble::Hold(gate), Some(opener)));
            }
            Fault::LoseSession => Trouble::LoseSession,
            Fault::LeaseError => Trouble::LeaseError(Answer::planned("SystemError")),
            Fault::Data(cut) => data(match cut {
                Cut::Close => DataTrouble::Close,
                Cut::Reset => DataTrouble::Reset,
                Cut::Stall => DataTrouble::Stall(Gate::new()),
                Cut::End => DataTrouble::End,
                Cut::Flip => DataTrouble::Flip,
                Cut::TooLong => DataTrouble::TooLong(512),
                Cut::LengthTooShort => DataTrouble::ContentLength(length - 512),
                Cut::LengthTooLong => DataTrouble::ContentLength(length + 512),
                Cut::Answer(status) => DataTrouble::Answer(status),
                Cut::LeaseError(fault) => DataTrouble::LeaseError(Answer::planned(fault)),
                Cut::LoseSession => DataTrouble::LoseSession,
            }),
            Fault::OtherCertificate
            | Fault::Service(_)
            | Fault::Full
            | Fault::NoJournal
            | Fault::Break => return None,
        };
        Some((trouble, None))
    }
}

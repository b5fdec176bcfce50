//! One fault at one place of one operation, by name.

use super::fault::{
    Callback, Cut, Fault, OF_A_CALL, OF_A_REQUEST, OF_A_TASK, OF_AN_EXPORT, OF_AN_IMPORT,
};
use super::setting::Setting;
use std::fmt;
use vmdk_backup::service::Staging;

/// Where a fault strikes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The n-th call of a method.
    Call(String, u32),
    /// The n-th task of a method; `HttpNfcLease` for a lease's way to ready.
    Task(String, u32),
    /// A byte of the first export.
    Export(Byte),
    /// A byte of the first import.
    Import(Byte),
    /// The n-th call of the service, whatever it is; and what it is.
    Service(u32, &'static str),
    /// A byte of the temporary file.
    TempDir(Byte),
    /// The journal's beginning.
    Journal,
    /// The n-th progress call.
    Progress(u32),
}

/// A byte of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Byte {
    /// The request, before there are any.
    Request,
    First,
    Second,
    Middle,
    Last,
}

impl Byte {
    pub const ALL: [Byte; 4] = [Byte::First, Byte::Second, Byte::Middle, Byte::Last];

    pub fn of(self, length: u64) -> u64 {
        match self {
            Byte::Request | Byte::First => 0,
            Byte::Second => 1,
            Byte::Middle => length / 2,
            Byte::Last => length - 1,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Point {
    pub setting: Setting,
    pub place: Place,
    pub fault: Fault,
    /// The length of the stream without faults.
    pub length: u64,
}

/// What a run without faults showed.
pub struct Rehearsal {
    /// The methods of SOAP that were called, in turn.
    pub calls: Vec<String>,
    /// The callbacks of the service that were called, in turn.
    pub callbacks: Vec<&'static str>,
    pub progress: u32,
    /// The length of the stream.
    pub length: u64,
    /// Whether a small file system could be made for temporary files.
    pub has_small_disk: bool,
}

/// All points of a setting.
pub fn derive(setting: Setting, seen: &Rehearsal) -> Vec<Point> {
    let mut points = Vec::new();
    let mut add = |place: Place, fault: Fault| {
        points.push(Point {
            setting,
            place,
            fault,
            length: seen.length,
        });
    };
    let mut leases = 0;
    for (index, method) in seen.calls.iter().enumerate() {
        let earlier = &seen.calls[..=index];
        let nth = earlier.iter().filter(|one| *one == method).count() as u32;
        for fault in OF_A_CALL {
            add(Place::Call(method.clone(), nth), fault);
        }
        let task = match method.as_str() {
            "ExportVm" | "ImportVApp" => {
                leases += 1;
                Some(("HttpNfcLease", leases))
            }
            method if method.ends_with("_Task") => Some((method, nth)),
            _ => None,
        };
        for fault in task.iter().flat_map(|_| OF_A_TASK) {
            let (method, nth) = task.unwrap_or_default();
            add(Place::Task(method.to_owned(), nth), fault);
        }
    }
    let (transfer, cuts): (fn(Byte) -> Place, &[Cut]) = match setting.is_backup() {
        true => (Place::Export, &OF_AN_EXPORT),
        false => (Place::Import, &OF_AN_IMPORT),
    };
    for fault in OF_A_REQUEST {
        add(transfer(Byte::Request), fault);
    }
    if !setting.is_backup() {
        add(transfer(Byte::Request), Fault::ReplyLost);
    }
    if !setting.esxi {
        add(transfer(Byte::Request), Fault::OtherCertificate);
    }
    for cut in cuts {
        let of_the_whole = [Cut::TooLong, Cut::LengthTooShort, Cut::LengthTooLong];
        match of_the_whole.contains(cut) {
            true => add(transfer(Byte::Request), Fault::Data(*cut)),
            false => Byte::ALL
                .into_iter()
                .for_each(|byte| add(transfer(byte), Fault::Data(*cut))),
        }
    }
    for (index, name) in seen.callbacks.iter().enumerate() {
        let place = Place::Service(index as u32 + 1, name);
        let mut faults = vec![Callback::Fails, Callback::FailsAfter, Callback::Blocks];
        if *name == "read" {
            faults.extend([Callback::Short, Callback::Ends, Callback::TooMuch]);
        }
        for fault in faults {
            add(place.clone(), Fault::Service(fault));
        }
    }
    if setting.staging == Staging::File && seen.has_small_disk {
        for byte in Byte::ALL {
            add(Place::TempDir(byte), Fault::Full);
        }
    }
    add(Place::Journal, Fault::NoJournal);
    for nth in 1..=seen.progress {
        add(Place::Progress(nth), Fault::Break);
    }
    points
}

impl fmt::Display for Byte {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Byte::Request => "request",
            Byte::First => "0",
            Byte::Second => "1",
            Byte::Middle => "middle",
            Byte::Last => "last",
        })
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.setting)?;
        match &self.place {
            Place::Call(method, nth) => write!(f, "{method}#{nth}")?,
            Place::Task(method, nth) => write!(f, "task:{method}#{nth}")?,
            Place::Export(byte) => write!(f, "export@{byte}")?,
            Place::Import(byte) => write!(f, "import@{byte}")?,
            Place::Service(nth, name) => write!(f, "service:{name}#{nth}")?,
            Place::TempDir(byte) => write!(f, "temp-dir@{byte}")?,
            Place::Journal => f.write_str("journal")?,
            Place::Progress(nth) => write!(f, "progress#{nth}")?,
        }
        write!(f, "/{}", self.fault.name())
    }
}

//! What is struck where: the points of a walk, and their names.

use super::proxy::{Kind, Record, Seen, Strike, Way};
use crate::fixture::VOLUME_ID;
use std::fmt;

/// The volume that is not there before its restore.
pub const NEW_ID: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c3355";
pub const NEW_NAME: &str = "fresh";
/// The backup that restores take, and the one that backups make.
pub const KEPT: &str = "kept";
pub const MADE: &str = "made";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    Backup,
    Restore,
    RestoreNew,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    pub work: Work,
    /// By way of a temporary file.
    pub staged: bool,
    /// Whether it tries again.
    pub patient: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    pub job: Job,
    pub strike: Strike,
}

impl Job {
    pub fn all() -> Vec<Job> {
        let works = [Work::Backup, Work::Restore, Work::RestoreNew];
        let mut all = Vec::new();
        for work in works {
            for (staged, patient) in [(false, true), (true, false), (true, true), (false, false)] {
                all.push(Job {
                    work,
                    staged,
                    patient,
                });
            }
        }
        all
    }

    /// The line that the program takes.
    pub fn line(self) -> String {
        let (operation, volume, backup) = match self.work {
            Work::Backup => ("backup", format!("volume-1 {VOLUME_ID}"), MADE),
            Work::Restore => ("restore", format!("volume-1 {VOLUME_ID}"), KEPT),
            Work::RestoreNew => ("restore", format!("{NEW_NAME} {NEW_ID}"), KEPT),
        };
        let [_, staging, patience] = self.words();
        format!("{operation} {staging} {patience} {volume} {backup}")
    }

    fn words(self) -> [&'static str; 3] {
        let work = match self.work {
            Work::Backup => "backup",
            Work::Restore => "restore",
            Work::RestoreNew => "restore-new",
        };
        let staging = if self.staged { "file" } else { "stream" };
        let patience = if self.patient { "patient" } else { "impatient" };
        [work, staging, patience]
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words().join("/"))
    }
}

impl Way {
    pub fn word(self) -> &'static str {
        match self {
            Way::ToServer => "to-server",
            Way::ToClient => "to-client",
        }
    }
}

impl Kind {
    pub fn word(self) -> &'static str {
        match self {
            Kind::Reset => "reset",
            Kind::Fin => "fin",
            Kind::Stall => "stall",
            Kind::Flip(_) => "flip",
        }
    }
}

/// `backup/stream/patient/1/to-client/517/flip/3`: the connection, the byte, and of a flip the bit.
impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Strike {
            connection,
            way,
            at,
            kind,
        } = self.strike;
        let (way, word) = (way.word(), kind.word());
        write!(f, "{}/{connection}/{way}/{at}/{word}", self.job)?;
        match kind {
            Kind::Flip(bit) => write!(f, "/{bit}"),
            _ => Ok(()),
        }
    }
}

impl Point {
    pub fn parse(name: &str) -> Option<Point> {
        let words: Vec<&str> = name.split('/').collect();
        let job = Job::all()
            .into_iter()
            .find(|job| words.starts_with(&job.words()))?;
        let way = [Way::ToServer, Way::ToClient]
            .into_iter()
            .find(|way| way.word() == words[4])?;
        let bit = words.get(7).and_then(|bit| bit.parse().ok());
        let kind = [
            Kind::Reset,
            Kind::Fin,
            Kind::Stall,
            Kind::Flip(bit.unwrap_or(0) & 7),
        ]
        .into_iter()
        .find(|kind| Some(&kind.word()) == words.get(6))?;
        let strike = Strike {
            connection: words[3].parse().ok()?,
            way,
            at: words.get(5)?.parse().ok()?,
            kind,
        };
        Some(Point { job, strike })
    }
}

/// Xorshift: the same numbers for the same seed.
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Numbers {
        Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit.max(1)
    }
}

/// So many points of a job, by what a run without faults sent and got: at and around the edges of
/// the TLS records of handshake, requests, answers and disks, and anywhere else.
pub fn choose(job: Job, seen: &Seen, count: usize, numbers: &mut Numbers) -> Vec<Point> {
    let kinds = |bit| [Kind::Reset, Kind::Fin, Kind::Stall, Kind::Flip(bit)];
    let mut points = Vec::new();
    while points.len() < count {
        let record: Record = match numbers.below(2) {
            // Most records are the disk's: half of the points are at the others.
            0 => {
                let small: Vec<&Record> = (seen.records.iter())
                    .filter(|record| record.end - record.start < 8000)
                    .collect();
                *small[numbers.below(small.len() as u64) as usize]
            }
            _ => seen.records[numbers.below(seen.records.len() as u64) as usize],
        };
        let length = record.end - record.start;
        let inside = match numbers.below(8) {
            0 => 0,
            1 => 3,
            2 => 5,
            3 => length / 2,
            4 => length - 1,
            5 => length,
            _ => numbers.below(length),
        };
        let bit = numbers.below(8) as u8;
        // Each kind as often as the others.
        let kind = kinds(bit)[points.len() % 4];
        points.push(Point {
            job,
            strike: Strike {
                connection: record.connection,
                way: record.way,
                at: record.start + inside,
                kind,
            },
        });
    }
    points
}

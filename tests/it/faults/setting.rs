//! What is done, against what, and how: the rows of the matrix.

use std::fmt;
use vmdk_backup::service::Staging;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    Backup,
    /// A backup of a volume that has no backing yet.
    BackupFirst,
    /// A restore that makes a backing.
    RestoreNew,
    /// A restore into a backing, in place of its disk.
    RestoreExisting,
    /// The same into a larger disk of another type: copied and extended on the way.
    RestoreConverted,
}

/// An operation in its circumstances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    pub work: Work,
    pub esxi: bool,
    pub staging: Staging,
    /// Whether what fails in passing is tried again.
    pub patient: bool,
}

impl Setting {
    /// Every work streamed, once and patiently; what differs on the other ways, there.
    pub fn all() -> Vec<Setting> {
        let mut all = Vec::new();
        for work in [
            Work::Backup,
            Work::BackupFirst,
            Work::RestoreNew,
            Work::RestoreExisting,
            Work::RestoreConverted,
        ] {
            let common = matches!(
                work,
                Work::Backup | Work::RestoreNew | Work::RestoreExisting
            );
            for (esxi, staging, patient, is_taken) in [
                (false, Staging::Stream, false, true),
                (false, Staging::Stream, true, true),
                (false, Staging::File, false, true),
                (false, Staging::File, true, common),
                (true, Staging::Stream, false, common),
                (true, Staging::File, true, common),
            ] {
                if is_taken {
                    all.push(Setting {
                        work,
                        esxi,
                        staging,
                        patient,
                    });
                }
            }
        }
        all
    }

    pub fn is_backup(self) -> bool {
        matches!(self.work, Work::Backup | Work::BackupFirst)
    }

    /// Whether the operation makes a backing.
    pub fn makes_backing(self) -> bool {
        matches!(self.work, Work::BackupFirst | Work::RestoreNew)
    }

    /// Whether it changes the disk of the backing there is.
    pub fn replaces_disk(self) -> bool {
        matches!(self.work, Work::RestoreExisting | Work::RestoreConverted)
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let work = match self.work {
            Work::Backup => "backup",
            Work::BackupFirst => "backup-first",
            Work::RestoreNew => "restore-new",
            Work::RestoreExisting => "restore-existing",
            Work::RestoreConverted => "restore-converted",
        };
        let endpoint = if self.esxi { "esxi" } else { "vcenter" };
        let staging = match self.staging {
            Staging::Stream => "stream",
            Staging::File => "file",
        };
        let patience = if self.patient { "patient" } else { "once" };
        write!(f, "{work}/{endpoint}/{staging}/{patience}")
    }
}

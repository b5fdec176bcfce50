//! What agents are told to do.

use crate::fixture::VOLUME_ID;
use std::time::Duration;

/// What an agent is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    pub operation: &'static str,
    pub staging: &'static str,
    /// The volume's name and id.
    pub name: &'static str,
    pub id: &'static str,
    pub backup: &'static str,
}

/// The volume that is not there before its restore.
pub const NEW_ID: &str = "3f2504e0-4f89-41d3-9a0c-0305e82c33ff";

/// The operations, each in every way that its bytes can travel.
pub fn jobs() -> Vec<(String, Job)> {
    let mut jobs = Vec::new();
    for (label, operation, name, id, backup) in [
        ("backup", "backup", "volume-1", VOLUME_ID, "made"),
        ("restore", "restore", "volume-1", VOLUME_ID, "kept"),
        ("restore-new", "restore", "fresh", NEW_ID, "kept"),
    ] {
        for staging in ["stream", "file", "files"] {
            let job = Job {
                operation,
                staging,
                name,
                id,
                backup,
            };
            jobs.push((format!("{label}/{staging}"), job));
        }
    }
    jobs
}

/// The operation of that label.
pub fn job(label: &str) -> Job {
    let found = jobs().into_iter().find(|(known, _)| known == label);
    found.unwrap_or_else(|| panic!("there is no job {label}")).1
}

pub const RECOVER: Job = Job {
    operation: "recover",
    staging: "stream",
    name: "volume-1",
    id: VOLUME_ID,
    backup: "none",
};

/// Recovers also what has no journal, if it is older than [`LEAST_AGE`].
pub const RECOVER_AGED: Job = Job {
    operation: "recover-aged",
    ..RECOVER
};

/// The least age that the C interface knows is a second.
pub const LEAST_AGE: Duration = Duration::from_millis(1100);

pub const DRY_RUN: Job = Job {
    operation: "dry-run",
    ..RECOVER
};

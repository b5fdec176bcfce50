//! What is known of operations that left something behind: from their journals, and from tags.

use super::journal::Abandoned;
use super::undo::Made;
use crate::error::{Context, Error, Kind, Result};
use crate::vsphere::{Moref, Session, backing, property, tag};
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What is known of one operation that left something behind.
#[derive(Default)]
pub(super) struct Remains {
    pub(super) journal: Option<Abandoned>,
    /// When it began, where a tag says so.
    pub(super) started: Option<String>,
    pub(super) vms: Vec<(String, Option<Moref>)>,
    pub(super) disks: Vec<(Moref, String)>,
    pub(super) replacement: Option<Replacement>,
}

#[derive(Clone)]
pub(super) struct Replacement {
    pub(super) datacenter: Moref,
    pub(super) backing: Moref,
    pub(super) old: String,
    /// Known from the journal only.
    pub(super) new: Option<String>,
}

impl Remains {
    pub(super) fn read(&mut self, journal: Abandoned) {
        for made in &journal.made {
            match made.clone() {
                Made::TemporaryVm { name, moref } => {
                    self.vms.retain(|(known, _)| *known != name);
                    self.vms.push((name, moref));
                }
                Made::Disk { datacenter, path } => self.disks.push((datacenter, path)),
                Made::Replacement {
                    datacenter,
                    backing,
                    old,
                    new,
                } => {
                    self.replacement = Some(Replacement {
                        datacenter,
                        backing,
                        old,
                        new: Some(new),
                    });
                }
            }
        }
        self.journal = Some(journal);
    }

    pub(super) fn see(&mut self, machine: Machine) {
        self.started = self.started.take().or(machine.started);
        match machine.replaced {
            Some(old) => {
                self.replacement.get_or_insert(Replacement {
                    datacenter: machine.datacenter,
                    backing: machine.moref,
                    old,
                    new: None,
                });
            }
            None => {
                self.vms.retain(|(name, _)| *name != machine.name);
                self.vms.push((machine.name, Some(machine.moref)));
                for path in machine.disks {
                    if !self.disks.iter().any(|(_, known)| *known == path) {
                        self.disks.push((machine.datacenter.clone(), path));
                    }
                }
            }
        }
    }

    pub(super) fn is_older_than(&self, age: Duration) -> bool {
        let started = self.started.as_deref().unwrap_or_default();
        let Ok(started) = OffsetDateTime::parse(started, &Rfc3339) else {
            return false;
        };
        SystemTime::now()
            .duration_since(started.into())
            .is_ok_and(|passed| passed >= age)
    }
}

/// A virtual machine that carries the library's tag.
pub(super) struct Machine {
    moref: Moref,
    name: String,
    datacenter: Moref,
    started: Option<String>,
    disks: Vec<String>,
    replaced: Option<String>,
}

/// All tagged virtual machines with their operations.
pub(super) async fn tagged(session: Session) -> Result<Vec<(String, Machine)>> {
    let mark = format!("config.extraConfig[\"{}\"]", tag::OPERATION);
    let root = session.content().root_folder.clone();
    let listed = property::below(&session, &root, "VirtualMachine", &[&mark])
        .await
        .context("list the virtual machines")?;
    let mut found = Vec::new();
    for (moref, vm) in listed {
        if vm.get(&mark).is_none() {
            continue;
        }
        let seen = async {
            let machine = backing::describe(session.clone(), moref.clone()).await?;
            let datacenter = backing::datacenter_of(session.clone(), moref.clone()).await?;
            Ok::<_, Error>((machine, datacenter))
        };
        let (machine, datacenter) = match seen.await {
            Ok(seen) => seen,
            // Another recovery was faster.
            Err(error) if error.kind() == Kind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let Some(operation) = machine.extra(tag::OPERATION).map(str::to_owned) else {
            continue;
        };
        let disks = machine
            .extra(tag::DISKS)
            .and_then(|list| serde_json::from_str(list).ok())
            .unwrap_or_default();
        found.push((
            operation,
            Machine {
                datacenter,
                started: machine.extra(tag::STARTED).map(str::to_owned),
                replaced: machine.extra(tag::REPLACED).map(str::to_owned),
                name: machine.name,
                disks,
                moref,
            },
        ));
    }
    Ok(found)
}

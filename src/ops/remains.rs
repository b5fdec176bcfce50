//! What is known of operations that left something behind: from their journals, and from tags.

use super::journal::Abandoned;
use super::undo::Made;
use crate::error::{Context, Error, Kind, Result};
use crate::vsphere::clock::{self, Activity};
use crate::vsphere::{Moref, Session, backing, property, tag};
use std::time::Duration;
use time::OffsetDateTime;

/// What is known of one operation that left something behind.
#[derive(Default)]
pub(super) struct Remains {
    pub(super) journal: Option<Abandoned>,
    /// The last signs of life that tags give: renewals, or else when it began.
    pub(super) signs: Vec<Option<OffsetDateTime>>,
    /// What a task of the server's, or a lease, is at.
    pub(super) busy: Option<Moref>,
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
                // Of a dead process it is released before anything is removed.
                Made::Lease { .. } => {}
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
        self.signs.extend([machine.sign, machine.activity.last]);
        if machine.activity.busy {
            self.busy = Some(machine.moref.clone());
        }
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

    /// Why its process may be alive, where only its signs of life can tell: it is dead when the
    /// last of them is older than `least` by the server's clock.
    pub(super) fn may_live(&self, now: OffsetDateTime, least: Duration) -> Option<String> {
        if let Some(object) = &self.busy {
            return Some(format!("a task or a lease of the server's is at {object}"));
        }
        if least.is_zero() {
            return None;
        }
        let started = self
            .journal
            .as_ref()
            .map(|journal| &journal.heading.started);
        let started = started.and_then(|started| clock::parse(started));
        let signs = self.signs.iter().copied().chain([started]);
        let Some(last) = signs.flatten().max() else {
            return Some(
                "it does not say when it was alive: remove it by hand if it is dead".into(),
            );
        };
        let silent = now - last;
        if silent < time::Duration::ZERO {
            let ahead = silent.abs().whole_seconds();
            return Some(format!(
                "its last sign of life is {ahead} s ahead of the server's clock, which was set back"
            ));
        }
        (silent < least).then(|| {
            let (silent, least) = (silent.whole_seconds(), least.as_secs());
            format!("it was alive {silent} s ago, and is given up after {least} s")
        })
    }
}

/// A virtual machine that carries the library's tag.
pub(super) struct Machine {
    moref: Moref,
    name: String,
    datacenter: Moref,
    sign: Option<OffsetDateTime>,
    activity: Activity,
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
                sign: [tag::RENEWED, tag::STARTED]
                    .iter()
                    .filter_map(|key| clock::parse(machine.extra(key)?))
                    .max(),
                activity: clock::activity(&session, &moref).await,
                replaced: machine.extra(tag::REPLACED).map(str::to_owned),
                name: machine.name,
                disks,
                moref,
            },
        ));
    }
    Ok(found)
}

//! Properties of the disk and of the backing that a swap did not carry over are warnings.

use super::operation::Operation;
use super::plan::Existing;
use super::restore::Restore;
use crate::vsphere::backing::{self, Backing};
use crate::vsphere::device::Disk;
use crate::vsphere::tag;

/// Longer values tell nobody more.
const LONGEST_VALUE: usize = 80;

impl Restore<'_> {
    /// Compares the backing and its disk with what they were before the swap.
    pub(super) fn tell_differences(&mut self, op: &mut Operation<'_>, before: &Existing) {
        let (session, moref) = (op.session().clone(), before.backing.moref.clone());
        let notices = match op.settle(backing::describe(session, moref)) {
            Ok(now) => differences(before, &now),
            Err(error) => vec![format!(
                "the disk's properties could not be compared with the old one's: {error}"
            )],
        };
        self.summary.notices.extend(notices);
    }
}

fn differences(before: &Existing, now: &Backing) -> Vec<String> {
    let old = &before.disk;
    let in_slot = |disk: &&Disk| {
        disk.controller_key == old.controller_key && disk.unit_number == old.unit_number
    };
    let disk = now.disks.iter().find(in_slot);
    let disk = disk.map(|disk| disk.properties.as_slice());
    let mut told = compare("disk", &old.properties, disk.unwrap_or_default());
    told.extend(compare(
        "backing",
        &of_machine(&before.backing),
        &of_machine(now),
    ));
    told
}

/// What a swap must leave of a virtual machine as it is.
fn of_machine(vm: &Backing) -> Vec<(String, String)> {
    let mut all = vec![("name".to_owned(), vm.name.clone())];
    let known = [
        ("instanceUuid", &vm.instance_uuid),
        ("changeTrackingEnabled", &vm.change_tracking),
    ];
    all.extend(known.into_iter().filter_map(|(name, value)| {
        let value = value.clone()?;
        Some((name.to_owned(), value))
    }));
    let own = |key: &str| tag::ALL.contains(&key);
    let extra = vm.extra_config.iter().filter(|(key, _)| !own(key));
    all.extend(extra.map(|(key, value)| (format!("extraConfig[{key}]"), value.clone())));
    all
}

/// The properties that had a value before and have another one, or none, now. Values of
/// `extraConfig` may be secrets.
fn compare(what: &str, before: &[(String, String)], now: &[(String, String)]) -> Vec<String> {
    let mut told = Vec::new();
    for (name, old) in before {
        let new = now.iter().find(|(known, _)| known == name);
        match new.map(|(_, value)| value) {
            Some(new) if new == old => {}
            _ if name.starts_with("extraConfig[") => told.push(format!(
                "the swap did not carry over the {what}'s property {name}"
            )),
            Some(new) => told.push(format!(
                "the swap did not carry over the {what}'s property {name}: it was {}, and is {}",
                short(old),
                short(new)
            )),
            None => told.push(format!(
                "the swap did not carry over the {what}'s property {name}: it was {}, and is unset",
                short(old)
            )),
        }
    }
    told
}

fn short(value: &str) -> String {
    let plain = value.chars().filter(|char| !char.is_control());
    plain.take(LONGEST_VALUE).collect()
}

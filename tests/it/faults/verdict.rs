//! What must hold after every point.

use super::fault::Callback;
use super::fault::Fault;
use super::point::{Place, Point};
use super::rules;
use super::setting::Work;
use super::stage::{Attempt, MADE, NEW_ID, NEW_NAME, Stage};
use std::time::{Duration, Instant};
use vmdk_backup::ops::{Outcome, Summary};
use vmdk_backup::vsphere::device::same_uuid;
use vsphere_sim::vmdk::Decoder;
use vsphere_sim::{DiskType, VmView, disk::Disk};

/// A point that violated nothing.
#[derive(Debug)]
pub enum Verdict {
    /// What it was to strike did not take place this time.
    Unreached,
    /// All invariants held.
    Held {
        succeeded: bool,
        /// Whether something was left that recovery then cleared away.
        left: bool,
    },
}

/// All that an operation could leave, where it must not.
#[derive(Clone, Debug, PartialEq)]
pub struct Things {
    vms: Vec<String>,
    /// Of all datastores; the disk of the volume under the same name always.
    files: Vec<String>,
    loose: Vec<String>,
    tags: Vec<String>,
    temporary: Vec<String>,
    /// What the volume's backing is, but for the disk's contents and file.
    backing: String,
}

impl Things {
    pub fn of(stage: &Stage) -> Things {
        let scene = &stage.scene;
        let vms = scene.sim.vms();
        let backing = scene.sim.vm(&scene.vm).expect("the volume's backing");
        let disk_file = backing.disks.first().map(|disk| disk.file.clone());
        let mut files = Vec::new();
        for datastore in &scene.options.datastores {
            for file in scene.sim.files(&datastore.name) {
                let path = format!("[{}] {file}", datastore.name);
                files.push(match Some(&path) == disk_file.as_ref() {
                    true => "the volume's disk".to_owned(),
                    false => path,
                });
            }
        }
        files.sort();
        let temporary = stage.temp_dir.read_dir().unwrap();
        let temporary = temporary.map(|entry| entry.unwrap().path().display().to_string());
        Things {
            vms: vms.iter().map(|vm| vm.moref.clone()).collect(),
            files,
            loose: scene.sim.loose_disks(),
            tags: vms.iter().flat_map(tags).collect(),
            temporary: temporary.collect(),
            backing: identity(&backing),
        }
    }

    /// Without what belongs to a backing that is to stay.
    fn without(mut self, kept: Option<&VmView>) -> Things {
        if let Some(vm) = kept {
            let folder = vm.vmx.rsplit_once('/').map_or("", |(folder, _)| folder);
            self.vms.retain(|moref| *moref != vm.moref);
            self.files
                .retain(|file| file != folder && !file.starts_with(&format!("{folder}/")));
        }
        self
    }

    /// What is here now and was not `before`.
    fn beyond(&self, before: &Things) -> Vec<String> {
        let mut more = Vec::new();
        for (now, then) in [
            (&self.vms, &before.vms),
            (&self.files, &before.files),
            (&self.loose, &before.loose),
            (&self.tags, &before.tags),
            (&self.temporary, &before.temporary),
        ] {
            more.extend(now.iter().filter(|one| !then.contains(one)).cloned());
        }
        more
    }
}

fn tags(vm: &VmView) -> Vec<String> {
    let ours = |(key, _): &&(String, String)| key.starts_with("vmdk_backup.");
    let tags = vm.extra_config.iter().filter(ours);
    tags.map(|(key, value)| format!("{}: {key}={value}", vm.moref))
        .collect()
}

fn identity(vm: &VmView) -> String {
    let disks: Vec<String> = vm
        .disks
        .iter()
        .map(|disk| {
            format!(
                "{}:{} {} {:?} {}",
                disk.controller_key, disk.unit, disk.capacity, disk.disk_type, disk.mode
            )
        })
        .collect();
    let config = vm.extra_config.iter();
    let config: Vec<_> = config
        .filter(|(key, _)| !key.starts_with("vmdk_backup."))
        .collect();
    format!("{} {} {disks:?} {config:?}", vm.name, vm.instance_uuid)
}

/// Looks at everything after an attempt; `point` is what struck it.
pub fn look(
    stage: &Stage,
    before: &Things,
    attempt: &Attempt,
    point: Option<&Point>,
) -> Result<Verdict, String> {
    if let Some(point) = point {
        if attempt.fired == 0 && !took_place(stage, point) {
            quiet(stage);
            clear_away(stage, before);
            return match &attempt.outcome {
                Ok(_) if rules::may_be_missing(point) => Ok(Verdict::Unreached),
                Ok(_) => Err("it did not take place this time".into()),
                Err(error) => Err(format!("nothing fired, and yet: {error}")),
            };
        }
        if attempt.fired != 1 {
            return Err(format!("fired {} times", attempt.fired));
        }
        rules::allow(point, attempt)?;
    }
    quiet(stage);
    let told = || match &attempt.outcome {
        Ok(summary) => format!("success, {:?}", summary.notices),
        Err(error) => format!("{error:?}"),
    };
    let all = check(stage, before, attempt, point);
    let verdict = all.map_err(|why| format!("{why}\n    told was: {}", told()));
    clear_away(stage, before);
    verdict
}

fn check(
    stage: &Stage,
    before: &Things,
    attempt: &Attempt,
    point: Option<&Point>,
) -> Result<Verdict, String> {
    let sim = &stage.scene.sim;
    let succeeded = attempt.outcome.is_ok();
    contents(stage, attempt, point)?;
    let kept = new_backing(stage, attempt.outcome.as_ref().ok())?;
    let left = Things::of(stage).without(kept.as_ref()).beyond(before);
    let journals = journals(stage);
    let named = match &attempt.outcome {
        Ok(summary) => !summary.notices.is_empty(),
        Err(error) => !error.left_behind().is_empty(),
    };
    if !left.is_empty() && !named && journals == 0 {
        return Err(format!("left and not named anywhere: {left:?}"));
    }
    let is_clean = left.is_empty() && journals == 0;
    if !is_clean && !point.is_some_and(rules::may_leave) {
        return Err(format!(
            "needlessly left to recovery: {left:?} and {journals} journals"
        ));
    }
    let leases = sim.open_leases();
    if leases > 0 && !point.is_some_and(rules::may_leave_lease) {
        return Err(format!("{leases} leases are alive"));
    }
    let sessions = sim.sessions();
    if sessions > 0 && !point.is_some_and(rules::may_leave_session) {
        return Err(format!("{sessions} sessions are alive"));
    }
    let is_left = !left.is_empty() || journals > 0 || leases > 0;
    if is_left || sessions > 0 {
        sim.advance_clock(2 * stage.scene.options.session_timeout);
    }
    if is_left {
        let told = stage.recover().map_err(|error| format!("{error:?}"))?;
        if let Some(failed) = told.iter().find(|one| one.outcome != Outcome::Done) {
            return Err(format!("recovery of {left:?} failed: {failed:?}"));
        }
        quiet(stage);
        contents(stage, attempt, point).map_err(|why| format!("after recovery: {why}"))?;
    }
    let now = Things::of(stage).without(kept.as_ref());
    if now != *before {
        let more = now.beyond(before);
        let gone = before.beyond(&now);
        return Err(format!(
            "not as before: more {more:?}, gone {gone:?}\n    {now:?}\n    {before:?}"
        ));
    }
    let rest = (self::journals(stage), sim.open_leases(), sim.sessions());
    if rest != (0, 0, 0) {
        return Err(format!("journals, leases, sessions at last: {rest:?}"));
    }
    if let Some(locked) = sim.vms().iter().find(|vm| vm.locked) {
        return Err(format!("{} is locked", locked.moref));
    }
    Ok(Verdict::Held {
        succeeded,
        left: is_left,
    })
}

/// Whether what the point waits for was there at all, and should have struck.
fn took_place(stage: &Stage, point: &Point) -> bool {
    match &point.place {
        Place::Call(method, nth) => stage.called(method) >= *nth as usize,
        Place::Task(method, nth) if method != "HttpNfcLease" => {
            stage.called(method) >= *nth as usize
        }
        // How often progress is told depends on time.
        Place::Progress(_) => false,
        _ => true,
    }
}

/// The volume has the old disk or the new one, and the service the whole backup or none.
fn contents(stage: &Stage, attempt: &Attempt, point: Option<&Point>) -> Result<(), String> {
    let succeeded = attempt.outcome.is_ok();
    let now = stage.disk_digest();
    let replaced = stage.setting.replaces_disk() && succeeded;
    let expected = if replaced { &stage.new } else { &stage.old };
    // Where nobody could see whether the disks were swapped, both are named, and neither is deleted.
    let unclear = attempt.outcome.as_ref().is_err_and(|error| {
        let named = |what| {
            error
                .left_behind()
                .iter()
                .any(|left| left.starts_with(what))
        };
        named("old disk") && named("restored disk")
    });
    if now != *expected && !(unclear && now == stage.new) {
        let what = match now == stage.new || now == stage.old {
            true => "the other one of old and new",
            false => "NEITHER OLD NOR NEW",
        };
        return Err(format!("the volume's disk is {what}"));
    }
    if !stage.setting.is_backup() {
        return Ok(());
    }
    let kept = stage.service.kept.borrow();
    let lied = point.is_some_and(|point| point.fault == Fault::Service(Callback::FailsAfter));
    match (kept.get(MADE), succeeded) {
        (None, true) => Err("success, and the service has no backup".to_owned()),
        (None, false) => Ok(()),
        (Some(_), false) if !(lied && attempt.committed_anyway) => {
            Err("an error, and the service has a backup".to_owned())
        }
        (Some(kept), _) => whole(stage, &kept.stream, kept.metadata.as_deref()),
    }
}

fn whole(stage: &Stage, stream: &[u8], metadata: Option<&str>) -> Result<(), String> {
    let text = metadata.ok_or("a backup without metadata")?;
    let json: serde_json::Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let path = stage.scene.dir.path().join("decoded");
    std::fs::write(&path, stream).unwrap();
    let digest = crate::fixture::sha256(&path);
    if json["stream"]["sha256"] != *digest {
        return Err(format!("the metadata's SHA-256 is not {digest}"));
    }
    if stream == stage.stream {
        return Ok(());
    }
    // Encoded otherwise, perhaps; the disk must be the same.
    std::fs::remove_file(&path).unwrap();
    let capacity = json["stream"]["capacity"].as_u64().unwrap_or(0);
    let disk = Disk::create(&path, capacity, DiskType::Thin).map_err(|e| e.to_string())?;
    let mut decoder = Decoder::new(disk);
    decoder.feed(stream)?;
    let disk = decoder.finish()?.0;
    let digest = disk.sha256().map_err(|e| e.to_string())?;
    disk.delete().map_err(|e| e.to_string())?;
    match digest == stage.new {
        true => Ok(()),
        false => Err("the backup decodes to another disk".into()),
    }
}

/// The backing that a successful operation made, if it had to make one; all of it is looked at.
fn new_backing(stage: &Stage, summary: Option<&Summary>) -> Result<Option<VmView>, String> {
    let Some(summary) = summary.filter(|_| stage.setting.makes_backing()) else {
        return Ok(None);
    };
    let sim = &stage.scene.sim;
    let vm = sim.vm(&summary.backing).ok_or("there is no new backing")?;
    let [disk] = vm.disks.as_slice() else {
        return Err(format!("the new backing has {} disks", vm.disks.len()));
    };
    let digest = sim.disk_sha256(&vm.moref, disk.key).unwrap();
    let id = Some(NEW_ID.to_owned());
    if digest != stage.new {
        Err("the new backing has another disk".into())
    } else if vm.name != NEW_NAME || !same_uuid(&Some(vm.instance_uuid.clone()), &id) {
        Err(format!("it is called {} {}", vm.name, vm.instance_uuid))
    } else if !tags(&vm).is_empty() {
        Err(format!("the new backing has {:?}", tags(&vm)))
    } else if stage.setting.work == Work::RestoreNew && !same_uuid(&Some(disk.uuid.clone()), &id) {
        Err(format!("its disk has the UUID {}", disk.uuid))
    } else {
        Ok(Some(vm))
    }
}

fn journals(stage: &Stage) -> usize {
    stage.state_dir.read_dir().map_or(0, Iterator::count)
}

/// Waits until the server has done what it was told to, also where nobody waits for its answer.
fn quiet(stage: &Stage) {
    let end = Instant::now() + Duration::from_secs(60);
    while !stage.scene.sim.open_tasks().is_empty() {
        assert!(Instant::now() < end, "a task does not end");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Takes away what the operation was to make, for the next point.
fn clear_away(stage: &Stage, before: &Things) {
    let sim = &stage.scene.sim;
    for vm in sim.vms() {
        if !before.vms.contains(&vm.moref) {
            sim.remove_vm(&vm.moref);
        }
    }
}

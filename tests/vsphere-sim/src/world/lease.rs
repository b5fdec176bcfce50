//! HttpNfcLeases: who may move which disk's bytes, for how long.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::watch;

use crate::options::{DeviceUrls, Thumbprint};
use crate::vmdk::StreamFacts;
use crate::wire::{Fault, Object, Outcome, Ref, Value, object};

use super::World;
use super::machine::Lock;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseKind {
    Export,
    Import,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseState {
    Initializing,
    Ready,
    Done,
    Error,
}

impl LeaseState {
    pub fn word(self) -> &'static str {
        match self {
            LeaseState::Initializing => "initializing",
            LeaseState::Ready => "ready",
            LeaseState::Done => "done",
            LeaseState::Error => "error",
        }
    }
}

pub struct Lease {
    pub reference: Ref,
    pub kind: LeaseKind,
    pub session_key: String,
    /// The task that stands for the lease while it is held.
    pub task: Ref,
    pub machine: Ref,
    pub state: LeaseState,
    pub error: Option<Fault>,
    pub files: Vec<LeaseFile>,
    /// The part of the URLs that only the holder knows.
    pub ticket: String,
    pub host: Option<usize>,
    pub renewed: Duration,
    pub percent: i32,
    /// How far it is on its way to ready, in percent; none where the server does not say.
    pub initialized: Option<i32>,
    /// Each HttpNfcLeaseProgress: when, and how much.
    pub progress_calls: Vec<(Duration, i32)>,
    /// The algorithms asked for by HttpNfcLeaseSetManifestChecksumType, by device URL key.
    pub checksum_types: BTreeMap<String, String>,
    /// Whether the session that it belonged to has taken it along.
    pub gone: bool,
    /// HttpNfcLeaseComplete was called before a transfer was over.
    pub completed_early: bool,
    /// Turns true when transfers must stop.
    pub ended: watch::Sender<bool>,
}

/// A file that the lease is for.
pub struct LeaseFile {
    pub key: String,
    pub import_key: String,
    pub target_id: String,
    pub disk: bool,
    pub datastore: Ref,
    pub path: String,
    pub transfer: Transfer,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transfer {
    None,
    Running,
    /// All of it has flowed and the other side has been told so.
    Done(StreamFacts),
    Failed(String),
}

impl World {
    pub fn lease(&self, target: &Ref) -> Outcome<&Lease> {
        let found = self
            .leases
            .get(&target.id)
            .filter(|lease| target.kind == "HttpNfcLease" && !lease.gone);
        found.ok_or_else(|| Fault::not_found(target))
    }

    pub fn lease_mut(&mut self, target: &Ref) -> Outcome<&mut Lease> {
        let found = self
            .leases
            .get_mut(&target.id)
            .filter(|lease| target.kind == "HttpNfcLease" && !lease.gone);
        found.ok_or_else(|| Fault::not_found(target))
    }

    /// The lease, for a session that may use it.
    pub fn lease_of(&self, target: &Ref, session: &str) -> Outcome<&Lease> {
        let shared = !self.options.private_leases;
        let lease = self.lease(target)?;
        (shared || lease.session_key == session)
            .then_some(lease)
            .ok_or_else(|| Fault::not_found(target))
    }

    /// The task that stands for a lease.
    pub fn lease_task(&self, lease: &Ref) -> Ref {
        self.leases
            .get(&lease.id)
            .map_or_else(|| lease.clone(), |lease| lease.task.clone())
    }

    /// Locks the machine and makes a lease for the files.
    pub fn open_lease(
        &mut self,
        kind: LeaseKind,
        machine: &Ref,
        session_key: &str,
        files: Vec<LeaseFile>,
    ) -> Outcome<Ref> {
        let reference = self.new_session_ref("HttpNfcLease", session_key);
        let user = self
            .session(session_key)
            .map(|session| session.user.clone())
            .unwrap_or_default();
        let (method, description_id) = match kind {
            LeaseKind::Export => ("ExportVm", "VirtualMachine.exportVm"),
            LeaseKind::Import => ("ImportVApp", "ResourcePool.ImportVAppLRO"),
        };
        let task = self.new_task(method, description_id, Some(machine), &user);
        self.start_task(&task);
        let host = match (&self.options.urls, self.data_hosts.len()) {
            (DeviceUrls::Wildcard, _) | (_, 0) => None,
            (DeviceUrls::Base(base), _) if base.contains("{endpoint}") || base.contains('*') => {
                None
            }
            (_, count) => Some(self.next("data host") as usize % count),
        };
        for file in files.iter().filter(|file| file.disk) {
            self.disk_file_mut(&file.datastore, &file.path)?.busy = Some(reference.id.clone());
        }
        self.machine_mut(machine)?.lock = Some(Lock::Lease(reference.clone()));
        let lease = Lease {
            reference: reference.clone(),
            kind,
            session_key: session_key.to_owned(),
            task,
            machine: machine.clone(),
            state: LeaseState::Initializing,
            error: None,
            files,
            ticket: super::ids::uuid("52"),
            host,
            renewed: self.clock.now(),
            percent: 0,
            initialized: self.options.initialized,
            progress_calls: Vec::new(),
            checksum_types: BTreeMap::new(),
            gone: false,
            completed_early: false,
            ended: watch::Sender::new(false),
        };
        self.leases.insert(reference.id.clone(), lease);
        Ok(reference)
    }

    /// What the holder is told once the lease is ready.
    pub fn lease_info(&self, lease: &Lease) -> Object {
        let (base, thumbprint) = self.lease_base(lease);
        let capacity = |file: &LeaseFile| {
            self.disk_file(&file.datastore, &file.path)
                .map_or(0, |disk| disk.capacity)
        };
        let urls = lease.files.iter().map(|file| {
            let size = if file.disk {
                self.disk_file(&file.datastore, &file.path)
                    .map_or(0, |disk| disk.allocated)
            } else {
                8684
            };
            object("HttpNfcLeaseDeviceUrl")
                .with("key", &file.key)
                .with("importKey", &file.import_key)
                .with(
                    "url",
                    format!("{base}/nfc/{}/{}", lease.ticket, file.target_id),
                )
                .with("sslThumbprint", thumbprint.as_str())
                .with("disk", file.disk)
                .with("targetId", &file.target_id)
                .with("datastoreKey", format!("{base}/nfc/{}/", lease.ticket))
                .with_some(
                    "fileSize",
                    (lease.kind == LeaseKind::Export).then_some(size),
                )
        });
        let total: u64 = lease
            .files
            .iter()
            .filter(|file| file.disk)
            .map(capacity)
            .sum();
        object("HttpNfcLeaseInfo")
            .with("lease", &lease.reference)
            .with("entity", &lease.machine)
            .with("deviceUrl", urls.collect::<Vec<Object>>())
            .with("totalDiskCapacityInKB", total / 1024)
            .with("leaseTimeout", self.options.lease_timeout.as_secs().max(1))
    }

    /// The scheme and host of the URLs, and the thumbprint that goes with them.
    fn lease_base(&self, lease: &Lease) -> (String, String) {
        let scheme = if self.options.tls { "https" } else { "http" };
        let host = lease.host.and_then(|host| self.data_hosts.get(host));
        let base = match (&self.options.urls, host) {
            (DeviceUrls::Base(base), None) => {
                base.replace("{endpoint}", &self.endpoint.address.to_string())
            }
            (DeviceUrls::Base(base), Some(host)) => base
                .replace("{host}", &host.address.to_string())
                .replace("{port}", &host.address.port().to_string()),
            (_, None) => format!("{scheme}://*"),
            (DeviceUrls::HostName(name), Some(host)) => {
                format!("{scheme}://{name}:{}", host.address.port())
            }
            (_, Some(host)) => format!("{scheme}://{}", host.address),
        };
        let host = host.unwrap_or(&self.endpoint);
        let thumbprint = match self.options.thumbprint {
            _ if !self.options.tls || base.starts_with("http:") => String::new(),
            Thumbprint::Sha1 => host.sha1.clone(),
            Thumbprint::Sha256 => host.sha256.clone(),
            Thumbprint::None => String::new(),
            Thumbprint::Wrong => ["AB"; 20].join(":"),
        };
        (base, thumbprint)
    }

    pub fn lease_ready(&mut self, target: &Ref) {
        let now = self.clock.now();
        if let Ok(lease) = self.lease_mut(target)
            && lease.state == LeaseState::Initializing
        {
            lease.state = LeaseState::Ready;
            lease.renewed = now;
        }
    }

    /// Puts a lease that has not ended into the state `error`.
    pub fn fail_lease(&mut self, target: &Ref, fault: Fault) {
        self.end_lease(target, Err(fault));
    }

    /// Ends a lease: unlocks the machine; an import that did not succeed is taken back.
    pub fn end_lease(&mut self, target: &Ref, outcome: Result<(), Fault>) {
        let Ok(lease) = self.lease_mut(target) else {
            return;
        };
        if matches!(lease.state, LeaseState::Done | LeaseState::Error) {
            return;
        }
        lease.state = if outcome.is_ok() {
            LeaseState::Done
        } else {
            LeaseState::Error
        };
        lease.error = outcome.as_ref().err().cloned();
        lease.ended.send_replace(true);
        let (kind, machine, task) = (lease.kind, lease.machine.clone(), lease.task.clone());
        for node in self.nodes.values_mut() {
            if let super::inventory::Body::Datastore(store) = &mut node.body {
                for entry in store.files.values_mut() {
                    if let super::datastore::Entry::Disk(file) = entry
                        && file.busy.as_deref() == Some(target.id.as_str())
                    {
                        file.busy = None;
                    }
                }
            }
        }
        if let Ok(machine) = self.machine_mut(&machine)
            && machine.lock == Some(Lock::Lease(target.clone()))
        {
            machine.lock = None;
        }
        if kind == LeaseKind::Import && outcome.is_err() {
            self.destroy_machine(&machine);
        }
        self.finish_task(&task, outcome.map(|()| Some(Value::from(&machine))));
    }

    /// Ends the leases that were not renewed in time.
    pub fn expire_leases(&mut self) {
        let now = self.clock.now();
        let timeout = self.options.lease_timeout;
        let late: Vec<Ref> = self
            .leases
            .values()
            .filter(|lease| matches!(lease.state, LeaseState::Ready | LeaseState::Initializing))
            .filter(|lease| now.saturating_sub(lease.renewed) > timeout)
            .map(|lease| lease.reference.clone())
            .collect();
        for lease in late {
            self.fail_lease(
                &lease,
                Fault::new("Timedout", "The lease timed out: Operation timed out."),
            );
        }
    }

    /// Whether some lease must be ended.
    pub fn has_late_lease(&self) -> bool {
        let now = self.clock.now();
        self.leases.values().any(|lease| {
            matches!(lease.state, LeaseState::Ready | LeaseState::Initializing)
                && now.saturating_sub(lease.renewed) > self.options.lease_timeout
        })
    }

    /// Ends a closed session's leases, and forgets them.
    pub fn end_leases_of(&mut self, session_key: &str) {
        let own = self
            .leases
            .values()
            .filter(|lease| lease.session_key == session_key && !lease.gone);
        let own: Vec<Ref> = own.map(|lease| lease.reference.clone()).collect();
        for lease in own {
            self.fail_lease(
                &lease,
                Fault::new(
                    "RequestCanceled",
                    "The session that held the lease has ended.",
                ),
            );
            if let Some(lease) = self.leases.get_mut(&lease.id) {
                lease.gone = true;
            }
        }
    }
}

//! How a simulator is started, and what is put into it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use crate::disk::DiskType;

/// What the endpoint is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    VCenter,
    Esxi,
}

/// What the device URLs of a lease name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DeviceUrls {
    /// The address of one of the data hosts, each with a certificate of its own.
    Host,
    /// A host name (that must resolve to the loopback), with the data hosts' ports.
    HostName(String),
    /// `*`: the endpoint itself carries the data.
    Wildcard,
    /// URLs that begin with this text. `{host}` stands for the address of a data host, `{port}` for its port,
    /// `{endpoint}` for the endpoint's address; with the latter the endpoint carries the data.
    Base(String),
}

/// What a data host, which is not the endpoint, does with the session's cookie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DataHostCookie {
    /// It ignores the cookie, as real hosts do.
    Ignored,
    /// It answers 400 to a request that carries one: a cookie that came here is known to whoever runs this host.
    Refused,
    /// It answers 401 to a request without one.
    Required,
}

/// How a lease vouches for its data host's certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Thumbprint {
    Sha1,
    Sha256,
    None,
    /// A thumbprint that is not the data host's.
    Wrong,
}

/// How a session that is no more is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExpiredAnswer {
    /// Every call with the fault NotAuthenticated.
    Fault,
    /// Property reads with 200 and a `missingSet` of NotAuthenticated; the other calls with the fault.
    MissingSet,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DatastoreKind {
    Vmfs,
    Nfs,
    Vsan,
    Vvol,
}

#[derive(Clone, Debug)]
pub struct DatastoreSpec {
    pub name: String,
    pub capacity: u64,
    pub kind: DatastoreKind,
}

#[derive(Clone, Debug)]
pub struct Options {
    pub mode: Mode,
    /// What the server says its API is. Below 6.7 a lease takes no other digest than SHA-1.
    pub api_version: String,
    /// Where the endpoint listens; by default a free port of the loopback.
    pub listen: SocketAddr,
    pub username: String,
    pub password: String,
    /// Without it everything is plain HTTP: for runs under tools that make TLS too slow.
    pub tls: bool,
    /// The simulated ESX hosts that carry the data, each on a port of its own.
    pub data_hosts: usize,
    pub urls: DeviceUrls,
    pub thumbprint: Thumbprint,
    pub data_host_cookie: DataHostCookie,
    /// Whether data hosts speak TLS where the endpoint does.
    pub data_host_tls: bool,
    pub lease_timeout: Duration,
    /// Where the disks' contents are kept; by default a temporary directory.
    pub dir: Option<PathBuf>,
    pub datastores: Vec<DatastoreSpec>,
    /// The names of the datacenters; the datastores belong to the first. An ESXi host has its own one only.
    pub datacenters: Vec<String>,
    /// What imported disks become whatever type was asked.
    pub import_disk_type: Option<DiskType>,
    /// Datastores by name whose disks are all of one type, whatever was asked.
    pub datastore_disk_types: Vec<(String, DiskType)>,
    /// Disks get a size that is a multiple of that, rounded up; vVol arrays make whole MiB.
    pub disk_granularity: u64,
    /// Whether the size of a disk is told in bytes, and not in KiB only.
    pub capacity_in_bytes: bool,
    /// Whether a lease has a manifest; a server without one answers with an empty list.
    pub manifest: bool,
    /// Whether a manifest has a SHA-1 where SHA-256 was asked for and granted.
    pub sha1_instead: bool,
    /// Whether an export also lists an NVRAM file that is no disk.
    pub export_nvram: bool,
    /// Whether a disk that has not changed is sent as it was the last time, instead of being encoded afresh.
    pub keep_exports: bool,
    pub session_limit: usize,
    /// How long a session may be idle before it ends.
    pub session_timeout: Duration,
    pub expired_answer: ExpiredAnswer,
    /// Whether leases outlive the session that made them; a transfer under way goes on then.
    pub leases_survive_sessions: bool,
    /// Whether a lease is there for the session only that made it, as other objects of sessions are.
    pub private_leases: bool,
    /// The most objects in one answer of the PropertyCollector, whatever the caller allows.
    pub page_size: usize,
    /// Privileges that the user does not have, such as `VApp.Export`.
    pub denied_privileges: Vec<String>,
    /// Properties that the user may not read: a type and the beginning of a path, such as `VirtualMachine.config`.
    pub forbidden_paths: Vec<String>,
    /// Whether machines tell their files on vSAN datastores by the folders' internal names; both names lead there.
    pub vsan_internal_paths: bool,
    /// Whether the endpoint also answers below `/sim`, where programs that are no tests look in and meddle.
    pub control: bool,
    /// What a new lease says of its way to ready, in percent; none where it does not tell.
    pub initialized: Option<i32>,
    /// Whether tasks are gone as soon as they are done.
    pub vanishing_tasks: bool,
    /// Whether tasks can be cancelled while they are held at a gate.
    pub cancelable_tasks: bool,
    /// Whether replacement characters (U+FFFD) in texts are sent as bytes that are no UTF-8.
    pub mangled_text: bool,
    /// Whether `VirtualDiskManager.CopyVirtualDisk_Task` takes a `destSpec`; not every server does.
    pub copy_dest_spec: bool,
    /// Whether destroying a machine removes its whole folder, with every file in it, instead of the machine's own files.
    pub destroy_removes_folder: bool,
    /// Whether every datastore refuses to move disks, as virtual volumes do.
    pub refuse_disk_moves: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            mode: Mode::VCenter,
            api_version: "8.0.2.0".to_owned(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            username: "administrator@vsphere.local".to_owned(),
            password: "s3cret&<>\"'pass".to_owned(),
            tls: true,
            data_hosts: 2,
            urls: DeviceUrls::Host,
            thumbprint: Thumbprint::Sha1,
            data_host_cookie: DataHostCookie::Ignored,
            data_host_tls: true,
            lease_timeout: Duration::from_secs(300),
            dir: None,
            datastores: vec![
                DatastoreSpec::new("datastore1", 4 << 40, DatastoreKind::Vmfs),
                DatastoreSpec::new("datastore2", 2 << 40, DatastoreKind::Nfs),
            ],
            datacenters: vec!["DC0".to_owned()],
            import_disk_type: None,
            datastore_disk_types: Vec::new(),
            disk_granularity: 512,
            capacity_in_bytes: true,
            manifest: true,
            sha1_instead: false,
            export_nvram: false,
            keep_exports: false,
            session_limit: 500,
            session_timeout: Duration::from_secs(1800),
            expired_answer: ExpiredAnswer::Fault,
            leases_survive_sessions: false,
            private_leases: false,
            page_size: 1000,
            denied_privileges: Vec::new(),
            forbidden_paths: Vec::new(),
            vsan_internal_paths: true,
            control: false,
            initialized: Some(0),
            vanishing_tasks: false,
            cancelable_tasks: false,
            mangled_text: false,
            copy_dest_spec: true,
            destroy_removes_folder: false,
            refuse_disk_moves: false,
        }
    }
}

impl Options {
    /// A lone ESXi host, as it is by default: it carries its data itself.
    pub fn esxi() -> Options {
        Options {
            mode: Mode::Esxi,
            username: "root".to_owned(),
            urls: DeviceUrls::Wildcard,
            data_hosts: 0,
            datacenters: vec!["ha-datacenter".to_owned()],
            ..Options::default()
        }
    }
}

impl DatastoreSpec {
    pub fn new(name: &str, capacity: u64, kind: DatastoreKind) -> DatastoreSpec {
        DatastoreSpec {
            name: name.to_owned(),
            capacity,
            kind,
        }
    }
}

/// A virtual machine with one disk, made as if somebody had created it before.
#[derive(Clone, Debug)]
pub struct VolumeSpec {
    pub name: String,
    pub instance_uuid: Option<String>,
    pub capacity: u64,
    pub disk_type: DiskType,
    /// `lsiLogic`, `busLogic`, `lsiLogicsas`, `paraVirtual`, `ide`, `sata` or `nvme`.
    pub adapter_type: String,
    /// By default the first.
    pub datastore: Option<String>,
    /// The UUID of the disk's backing; by default a new one.
    pub disk_uuid: Option<String>,
    pub extra_config: Vec<(String, String)>,
    pub profile: Option<String>,
}

impl VolumeSpec {
    pub fn new(name: &str, capacity: u64) -> VolumeSpec {
        VolumeSpec {
            name: name.to_owned(),
            instance_uuid: None,
            capacity,
            disk_type: DiskType::Thin,
            adapter_type: "lsiLogic".to_owned(),
            datastore: None,
            disk_uuid: None,
            extra_config: Vec::new(),
            profile: None,
        }
    }
}

impl DiskType {
    /// The word of volume types for it.
    pub fn word(self) -> &'static str {
        match self {
            DiskType::Thin => "thin",
            DiskType::Thick => "thick",
            DiskType::EagerZeroedThick => "eagerZeroedThick",
        }
    }

    pub fn from_word(word: &str) -> Option<DiskType> {
        [DiskType::Thin, DiskType::Thick, DiskType::EagerZeroedThick]
            .into_iter()
            .find(|one| one.word() == word)
    }
}

//! The simulator as tests hold it: started, looked into, changed from behind, stopped by dropping it.

mod controls;
mod view;

use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::certificates::{self, Authority};
use crate::http::{self, Entrance};
use crate::options::{DeviceUrls, Options};
use crate::world::{DataHost, Shared, World};

pub use controls::Controls;
pub use view::{DiskView, LeaseView, VmView};

/// How often leases and sessions are looked at for having run out.
const TICK: Duration = Duration::from_millis(50);

/// A running vSphere endpoint. Dropping it stops its threads, closes its sockets and removes its files.
pub struct Simulator {
    controls: Controls,
    runtime: Option<Runtime>,
    address: SocketAddr,
    data_hosts: Vec<DataHost>,
    ca_pem: String,
    ca_file: PathBuf,
    sha1: String,
    sha256: String,
    tls: bool,
    /// Last, so that it goes after everything that works in it.
    _dir: Option<TempDir>,
}

impl Simulator {
    pub fn start(options: Options) -> io::Result<Simulator> {
        let temporary = match options.dir {
            Some(_) => None,
            None => Some(tempfile::Builder::new().prefix("vsphere-sim-").tempdir()?),
        };
        let dir = match (&options.dir, &temporary) {
            (Some(dir), _) => {
                std::fs::create_dir_all(dir)?;
                dir.clone()
            }
            (None, Some(temporary)) => temporary.path().to_owned(),
            (None, None) => return Err(io::Error::other("there is no directory")),
        };
        let tls = options.tls;
        let authority = Authority::new()?;
        let endpoint = authority.endpoint()?;
        let ca_file = dir.join("ca.pem");
        std::fs::write(&ca_file, &authority.pem)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("vsphere-sim")
            .enable_all()
            .build()?;
        let guard = runtime.enter();
        let listener = http::listen(options.listen)?;
        let address = listener.local_addr()?;
        let name = match &options.urls {
            DeviceUrls::HostName(name) => name.clone(),
            _ => address.ip().to_string(),
        };
        let mut entrances = vec![(listener, tls.then(|| endpoint.config.clone()), None)];
        let mut data_hosts = Vec::new();
        for index in 0..options.data_hosts {
            let identity = certificates::self_signed(&name)?;
            let listener = http::listen(SocketAddr::new(address.ip(), 0))?;
            let (sha1, sha256) = (identity.sha1, identity.sha256);
            data_hosts.push(DataHost {
                address: listener.local_addr()?,
                sha1,
                sha256,
            });
            entrances.push((
                listener,
                (tls && options.data_host_tls).then_some(identity.config),
                Some(index),
            ));
        }
        let (sha1, sha256) = (endpoint.sha1, endpoint.sha256);
        let itself = DataHost {
            address,
            sha1: sha1.clone(),
            sha256: sha256.clone(),
        };
        let world = World::new(options, dir, itself, data_hosts.clone());
        let shared = Shared::new(world);
        for (listener, tls, data_host) in entrances {
            let listener = TcpListener::from_std(listener)?;
            runtime.spawn(http::serve(
                listener,
                Entrance {
                    shared: shared.clone(),
                    tls,
                    data_host,
                },
            ));
        }
        runtime.spawn(watch_time(shared.clone()));
        drop(guard);
        Ok(Simulator {
            controls: Controls::new(shared),
            runtime: Some(runtime),
            address,
            data_hosts,
            ca_pem: authority.pem,
            ca_file,
            sha1,
            sha256,
            tls,
            _dir: temporary,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of a data host, beginning with 0.
    pub fn data_host_address(&self, index: usize) -> Option<SocketAddr> {
        self.data_hosts.get(index).map(|host| host.address)
    }

    /// `https://127.0.0.1:port`, without a path.
    pub fn url(&self) -> String {
        format!(
            "{}://{}",
            if self.tls { "https" } else { "http" },
            self.address
        )
    }

    pub fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// SHA-1 of the endpoint's certificate, as `AB:CD:...`.
    pub fn fingerprint_sha1(&self) -> &str {
        &self.sha1
    }

    /// SHA-256 of the endpoint's certificate, as `AB:CD:...`.
    pub fn fingerprint_sha256(&self) -> &str {
        &self.sha256
    }
}

impl Deref for Simulator {
    type Target = Controls;

    fn deref(&self) -> &Controls {
        &self.controls
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        // Whoever works for a lease stops at once.
        for lease in self.controls.shared.write().leases.values() {
            lease.ended.send_replace(true);
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }
}

async fn watch_time(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(TICK);
    loop {
        ticks.tick().await;
        let (late, idle) = {
            let world = shared.read();
            (world.has_late_lease(), world.has_idle_session())
        };
        if late || idle {
            let mut world = shared.write();
            world.expire_leases();
            world.expire_idle_sessions();
        }
    }
}

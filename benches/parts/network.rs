//! The way from the server into memory.

use std::env;
use std::io::{Read, stdin};
use std::time::Duration;

use vmdk_backup::error::{Kind, Result};
use vmdk_backup::log::Log;
use vmdk_backup::retry::Retries;
use vmdk_backup::runtime::Runtime;
use vmdk_backup::slab::{SLABS, SlabPool};
use vmdk_backup::transport::tls::Trust;
use vmdk_backup::volume::Volume;
use vmdk_backup::vsphere::cleanup::Cleanup;
use vmdk_backup::vsphere::device::Disk;
use vmdk_backup::vsphere::lease::{Granted, Lease};
use vmdk_backup::vsphere::session::SessionOptions;
use vmdk_backup::vsphere::{Session, find, machine, nfc};

use super::{Outcome, measured};

const STALL: Duration = Duration::from_secs(60);

struct Site {
    runtime: Runtime,
    session: Session,
    lease: Lease,
    disk: Disk,
}

fn open(volume: &str) -> Outcome<Site> {
    let options = SessionOptions {
        server: env::var("VSPHERE_SERVER")?,
        username: env::var("VSPHERE_USER")?,
        password: env::var("VSPHERE_PASSWORD")?.into(),
        trust: Trust::Insecure,
        connect_timeout: None,
        request_timeout: None,
        keepalive_interval: None,
        proxy: None,
        allow_plain_http: false,
        login_pause: None,
        retries: Retries::default(),
        log: Log::default(),
    };
    let volume = Volume {
        name: volume.to_owned(),
        ..Volume::default()
    };
    let runtime = Runtime::new()?;
    let opened = runtime.run(&mut || Ok(()), async move {
        let session = Session::connect(options).await?;
        let found = find::find(session.clone(), volume).await?;
        let backing = found.ok_or_else(|| {
            vmdk_backup::error::Error::new(Kind::NotFound, "there is no such volume")
        })?;
        let disk = Disk::choose(backing.disks, None)?;
        let granted = machine::export(session.clone(), backing.moref).await?;
        let lease = Granted::new(session.clone(), granted, Cleanup::default())
            .ready(STALL)
            .await?;
        Ok((session, lease, disk))
    });
    let (session, lease, disk) = opened?;
    Ok(Site {
        runtime,
        session,
        lease,
        disk,
    })
}

impl Site {
    fn close(self) -> Result<()> {
        let Site {
            runtime,
            session,
            lease,
            ..
        } = self;
        runtime.run(&mut || Ok(()), async move {
            lease.abort().await;
            drop(session);
            Ok(())
        })
    }
}

pub fn lease(volume: &str) -> Outcome<()> {
    let site = open(volume)?;
    let url = &site.lease.disk_url(&site.disk.slot)?.url;
    println!("url={url}\ncookie={}\n", site.session.cookie().as_str());
    stdin().read_to_end(&mut Vec::new())?;
    Ok(site.close()?)
}

pub fn receive(volume: &str) -> Outcome<()> {
    let site = open(volume)?;
    measured(|| {
        let device = site.lease.disk_url(&site.disk.slot)?;
        let target = nfc::Target::of(&site.session, device)?;
        let pool = SlabPool::new(SLABS);
        let mut download = nfc::download(&site.session, &site.lease, target, pool, STALL);
        let mut bytes = 0;
        while let Some(slab) = download.next(&mut || Ok(()))? {
            bytes += slab.len() as u64;
        }
        Ok(bytes)
    })?;
    Ok(site.close()?)
}

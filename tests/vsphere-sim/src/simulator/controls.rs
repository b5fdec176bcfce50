//! What a test does to the world from behind, and asks it.

use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::disk::Disk;
use crate::options::{Options, VolumeSpec};
use crate::plan::FaultPlan;
use crate::record::Recorded;
use crate::wire::{Fault, Outcome, Ref, object, reference};
use crate::world::datastore::{Entry, Mount};
use crate::world::inventory::Body;
use crate::world::machine::{BackingKind, Connection, Power};
use crate::world::setup::as_io;
use crate::world::{Shared, World};

/// A hold on the simulated world; the simulator lends its own.
#[derive(Clone)]
pub struct Controls {
    pub(crate) shared: Arc<Shared>,
}

impl Controls {
    pub(crate) fn new(shared: Arc<Shared>) -> Controls {
        Controls { shared }
    }

    /// The plan of what goes wrong.
    pub fn faults(&self) -> &FaultPlan {
        &self.shared.faults
    }

    /// Bytes a second that each export is sent with from now on; 0 = as fast as it goes.
    pub fn set_export_rate(&self, rate: u64) {
        self.shared.export_rate.store(rate, Ordering::Relaxed);
    }

    /// Makes a machine with one disk; returns its moref.
    pub fn add_volume(&self, spec: &VolumeSpec) -> io::Result<String> {
        self.shared
            .write()
            .plant_volume(spec)
            .map(|machine| machine.id)
            .map_err(as_io)
    }

    /// Adds a disk to a machine; returns its key.
    pub fn add_disk(&self, vm: &str, spec: &VolumeSpec) -> io::Result<i32> {
        self.shared
            .write()
            .plant_disk(&machine(vm), spec)
            .map_err(as_io)
    }

    fn with_disk<T>(
        &self,
        vm: &str,
        key: i32,
        work: impl FnOnce(&mut Disk) -> io::Result<T>,
    ) -> io::Result<T> {
        let (contents, datastore, path) = {
            let world = self.shared.read();
            let (datastore, path) = disk_place(&world, vm, key).map_err(as_io)?;
            let file = world.disk_file(&datastore, &path).map_err(as_io)?;
            (file.contents.clone(), datastore, path)
        };
        let result = work(&mut contents.write());
        let mut world = self.shared.write();
        // The file may have been moved or destroyed meanwhile.
        if let Ok(file) = world.disk_file_mut(&datastore, &path) {
            file.refresh()?;
        }
        result
    }

    /// Replaces a disk's contents by a raw image.
    pub fn load_disk(&self, vm: &str, key: i32, raw: &Path) -> io::Result<()> {
        self.with_disk(vm, key, |disk| disk.load_raw(raw))
    }

    /// Writes bytes into a disk.
    pub fn write_disk(&self, vm: &str, key: i32, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.with_disk(vm, key, |disk| {
            disk.write_at(bytes, offset)?;
            disk.renew_cid();
            Ok(())
        })
    }

    /// Inverts bytes of a disk, so that none of them is what it was.
    pub fn invert_disk(&self, vm: &str, key: i32, offset: u64, count: u64) -> io::Result<()> {
        self.with_disk(vm, key, |disk| {
            let end = offset.saturating_add(count).min(disk.capacity());
            let mut at = offset;
            let mut buffer = vec![0; 1 << 20];
            while at < end {
                let piece = (end - at).min(buffer.len() as u64) as usize;
                disk.read_at(&mut buffer[..piece], at)?;
                buffer[..piece].iter_mut().for_each(|byte| *byte = !*byte);
                disk.write_at(&buffer[..piece], at)?;
                at += piece as u64;
            }
            disk.renew_cid();
            Ok(())
        })
    }

    /// Writes a disk's contents to a raw image.
    pub fn save_disk(&self, vm: &str, key: i32, raw: &Path) -> io::Result<()> {
        self.with_disk(vm, key, |disk| disk.save_raw(raw))
    }

    /// SHA-256 of the raw disk.
    pub fn disk_sha256(&self, vm: &str, key: i32) -> io::Result<String> {
        self.with_disk(vm, key, |disk| disk.sha256())
    }

    /// SHA-256 of what is not zeros, with its place: quick for a huge disk that holds little.
    pub fn disk_content_sha256(&self, vm: &str, key: i32) -> io::Result<String> {
        self.with_disk(vm, key, |disk| disk.content_sha256())
    }

    pub fn set_power(&self, vm: &str, on: bool) -> io::Result<()> {
        let mut world = self.shared.write();
        world.machine_mut(&machine(vm)).map_err(as_io)?.power =
            if on { Power::On } else { Power::Off };
        Ok(())
    }

    /// Makes a machine a template, or a template a machine.
    pub fn set_template(&self, vm: &str, template: bool) -> io::Result<()> {
        let mut world = self.shared.write();
        world.machine_mut(&machine(vm)).map_err(as_io)?.template = template;
        Ok(())
    }

    /// Changes whether the server reaches a machine.
    pub fn set_connection(&self, vm: &str, state: Connection) -> io::Result<()> {
        let mut world = self.shared.write();
        world.machine_mut(&machine(vm)).map_err(as_io)?.connection = state;
        Ok(())
    }

    /// Gives a machine another name, as the inventory keeps names.
    pub fn rename_vm(&self, vm: &str, name: &str) -> io::Result<()> {
        let mut world = self.shared.write();
        world.node_mut(&machine(vm)).map_err(as_io)?.name = name.to_owned();
        Ok(())
    }

    /// Gives a machine another instance UUID.
    pub fn set_instance_uuid(&self, vm: &str, uuid: &str) -> io::Result<()> {
        let mut world = self.shared.write();
        world
            .machine_mut(&machine(vm))
            .map_err(as_io)?
            .instance_uuid = uuid.to_owned();
        Ok(())
    }

    /// Moves a machine into a folder below its datacenter's machine folder, which is made where
    /// it does not exist; names are as the inventory keeps them.
    pub fn move_vm(&self, vm: &str, path: &[&str]) -> io::Result<()> {
        self.shared
            .write()
            .place_machine(&machine(vm), path)
            .map_err(as_io)
    }

    /// Takes a machine out of the inventory; its files stay.
    pub fn unregister_vm(&self, vm: &str) {
        self.shared.write().remove(&machine(vm));
    }

    /// Takes a snapshot; returns its moref.
    pub fn add_snapshot(&self, vm: &str, name: &str) -> io::Result<String> {
        let mut world = self.shared.write();
        let taken = crate::methods::take_snapshot(&mut world, &machine(vm), name);
        taken.map(|snapshot| snapshot.id).map_err(as_io)
    }

    /// Makes a linked clone of a machine as it is now: its disks are deltas on those of a snapshot, which is taken for it
    /// and stays. Returns the clone's moref.
    pub fn add_linked_clone(&self, vm: &str, name: &str) -> io::Result<String> {
        let cloned = crate::methods::linked_clone(&self.shared, &machine(vm), name);
        cloned.map(|clone| clone.id).map_err(as_io)
    }

    /// Makes a disk of a machine a raw device mapping, or an encrypted one: what cannot be exported.
    pub fn change_disk(
        &self,
        vm: &str,
        key: i32,
        raw_device_mapping: bool,
        encrypted: bool,
    ) -> io::Result<()> {
        let mut world = self.shared.write();
        let machine = world.machine_mut(&machine(vm)).map_err(as_io)?;
        let disk = machine.disks.iter_mut().find(|disk| disk.key == key);
        let disk = disk.ok_or_else(|| io::Error::other("there is no such disk"))?;
        if raw_device_mapping {
            disk.backing = BackingKind::RawDeviceMapping;
        }
        disk.encrypted = encrypted;
        Ok(())
    }

    /// Gives a disk another mode, as only its machine's reconfiguration should.
    pub fn set_disk_mode(&self, vm: &str, key: i32, mode: &str) -> io::Result<()> {
        let mut world = self.shared.write();
        let machine = world.machine_mut(&machine(vm)).map_err(as_io)?;
        for disk in machine.disks.iter_mut().filter(|disk| disk.key == key) {
            mode.clone_into(&mut disk.mode);
        }
        Ok(())
    }

    /// Gives a disk what administrators give: a limit of I/O operations a second, shares and a
    /// reservation, writing through; and a sector format.
    pub fn tune_disk(&self, vm: &str, key: i32, limit: i64, format: &str) -> io::Result<()> {
        let mut world = self.shared.write();
        let machine = world.machine_mut(&machine(vm)).map_err(as_io)?;
        let disk = machine.disks.iter_mut().find(|disk| disk.key == key);
        let disk = disk.ok_or_else(|| io::Error::other("there is no such disk"))?;
        let shares = object("SharesInfo")
            .with("shares", 3000)
            .with("level", "custom");
        let allocation = object("StorageIOAllocationInfo")
            .with("limit", limit)
            .with("shares", shares)
            .with("reservation", 7);
        disk.io_allocation = Some(allocation);
        disk.write_through = true;
        disk.format = Some(format.to_owned());
        Ok(())
    }

    /// Removes a machine and the files of its disks.
    pub fn remove_vm(&self, vm: &str) {
        self.shared.write().destroy_machine(&machine(vm));
    }

    /// Takes a disk out of a machine; its file stays.
    pub fn remove_disk(&self, vm: &str, key: i32) -> io::Result<()> {
        let mut world = self.shared.write();
        let machine = world.machine_mut(&machine(vm)).map_err(as_io)?;
        machine.disks.retain(|disk| disk.key != key);
        Ok(())
    }

    /// Moves the file of a machine's disk to another path of its datastore.
    pub fn move_disk(&self, vm: &str, key: i32, to: &str) -> io::Result<()> {
        let mut world = self.shared.write();
        let (datastore, from) = disk_place(&world, vm, key).map_err(as_io)?;
        world.check_new_file(&datastore, to).map_err(as_io)?;
        let files = &mut world.datastore_mut(&datastore).map_err(as_io)?.files;
        if let Some(entry) = files.remove(&from) {
            files.insert(to.to_owned(), entry);
        }
        let machine = world.machine_mut(&machine(vm)).map_err(as_io)?;
        for disk in machine.disks.iter_mut().filter(|disk| disk.key == key) {
            disk.path = to.to_owned();
        }
        machine.change_version += 1;
        Ok(())
    }

    /// Sets an entry of a machine's extraConfig, or removes it with an empty value.
    pub fn set_extra_config(&self, vm: &str, key: &str, value: &str) -> io::Result<()> {
        self.shared
            .write()
            .machine_mut(&machine(vm))
            .map_err(as_io)?
            .set_extra(key, value);
        Ok(())
    }

    /// Makes a file that is no disk; its folders are made along.
    pub fn add_file(&self, datastore: &str, path: &str, text: &str) -> io::Result<()> {
        let mut world = self.shared.write();
        let datastore = world.datastore_named(datastore, None).map_err(as_io)?;
        let files = &mut world.datastore_mut(&datastore).map_err(as_io)?.files;
        for (end, _) in path.match_indices('/') {
            files.add_folder(path[..end].to_owned());
        }
        files.insert(path.to_owned(), Entry::Text(text.to_owned()));
        Ok(())
    }

    /// Changes what a datastore says of itself.
    pub fn set_datastore(
        &self,
        name: &str,
        accessible: bool,
        maintenance: bool,
        capacity: Option<u64>,
    ) -> io::Result<()> {
        let mut world = self.shared.write();
        let datastore = world.datastore_named(name, None).map_err(as_io)?;
        let store = world.datastore_mut(&datastore).map_err(as_io)?;
        store.accessible = accessible;
        store.maintenance_mode = if maintenance {
            "inMaintenance"
        } else {
            "normal"
        };
        store.capacity = capacity.unwrap_or(store.capacity);
        Ok(())
    }

    /// Sets the size of the largest disk that a datastore can hold.
    pub fn set_largest_disk(&self, datastore: &str, bytes: u64) -> io::Result<()> {
        let mut world = self.shared.write();
        let datastore = world.datastore_named(datastore, None).map_err(as_io)?;
        let store = world.datastore_mut(&datastore).map_err(as_io)?;
        store.largest_disk = bytes;
        Ok(())
    }

    /// Sets the version of a machine's virtual hardware.
    pub fn set_hardware(&self, vm: &str, version: &str) -> io::Result<()> {
        let mut world = self.shared.write();
        let body = world.machine_mut(&machine(vm)).map_err(as_io)?;
        body.version = version.to_owned();
        Ok(())
    }

    /// Changes how the hosts mount a datastore.
    pub fn set_mounts(
        &self,
        datastore: &str,
        read_write: bool,
        accessible: bool,
    ) -> io::Result<()> {
        let mut world = self.shared.write();
        let datastore = world.datastore_named(datastore, None).map_err(as_io)?;
        for mount in &mut world.datastore_mut(&datastore).map_err(as_io)?.mounts {
            (mount.read_write, mount.accessible) = (read_write, accessible);
        }
        Ok(())
    }

    /// Changes the state of a host, counted from 0: whether it is connected, whether in maintenance.
    pub fn set_host(&self, index: usize, connected: bool, maintenance: bool) -> io::Result<()> {
        let mut world = self.shared.write();
        let hosts = world.of_kind("HostSystem");
        let host = hosts
            .get(index)
            .ok_or_else(|| io::Error::other("there is no such host"))?;
        if let Body::Host(body) = &mut world.node_mut(host).map_err(as_io)?.body {
            body.connection_state = if connected {
                "connected"
            } else {
                "notResponding"
            };
            body.in_maintenance_mode = maintenance;
        }
        Ok(())
    }

    /// Changes the power and the quarantine of a host, counted from 0.
    pub fn set_host_power(
        &self,
        index: usize,
        power_state: &'static str,
        quarantine: bool,
    ) -> io::Result<()> {
        let mut world = self.shared.write();
        let hosts = world.of_kind("HostSystem");
        let host = hosts
            .get(index)
            .ok_or_else(|| io::Error::other("there is no such host"))?;
        if let Body::Host(body) = &mut world.node_mut(host).map_err(as_io)?.body {
            (body.power_state, body.in_quarantine_mode) = (power_state, quarantine);
        }
        Ok(())
    }

    /// Changes how one host, counted from 0, mounts a datastore; it does not at all with `None`.
    pub fn set_mount(
        &self,
        datastore: &str,
        index: usize,
        mount: Option<(bool, bool)>,
    ) -> io::Result<()> {
        let mut world = self.shared.write();
        let host = world.of_kind("HostSystem").into_iter().nth(index);
        let host = host.ok_or_else(|| io::Error::other("there is no such host"))?;
        let datastore = world.datastore_named(datastore, None).map_err(as_io)?;
        let mounts = &mut world.datastore_mut(&datastore).map_err(as_io)?.mounts;
        mounts.retain(|mount| mount.host != host);
        mounts.extend(mount.map(|(read_write, accessible)| Mount {
            host,
            read_write,
            accessible,
        }));
        Ok(())
    }

    /// The host that a machine is on, counted from 0.
    pub fn host_of(&self, vm: &str) -> Option<usize> {
        let world = self.shared.read();
        let host = &world.machine(&machine(vm)).ok()?.host;
        let mut hosts = world.of_kind("HostSystem").into_iter();
        hosts.position(|other| other == *host)
    }

    /// Makes a vApp; returns its moref.
    pub fn add_vapp(&self, name: &str) -> io::Result<String> {
        let mut world = self.shared.write();
        world.plant_vapp(name).map(|own| own.id).map_err(as_io)
    }

    /// Moves a machine into a vApp.
    pub fn move_into_vapp(&self, vm: &str, vapp: &str) -> io::Result<()> {
        let vapp = reference("VirtualApp", vapp);
        let mut world = self.shared.write();
        world.move_into_vapp(&machine(vm), &vapp).map_err(as_io)
    }

    /// Changes the options of the running simulator; those about listening and certificates have no effect any more.
    pub fn change_options(&self, change: impl FnOnce(&mut Options)) {
        change(&mut self.shared.write().options);
    }

    /// Ends all sessions, as an idle time-out or a restart does.
    pub fn expire_sessions(&self) {
        let mut world = self.shared.write();
        let keys: Vec<String> = world
            .sessions
            .iter()
            .map(|session| session.key.clone())
            .collect();
        keys.iter().for_each(|key| world.close_session(key));
    }

    /// The number of sessions that are open.
    pub fn sessions(&self) -> usize {
        self.shared.read().sessions.len()
    }

    /// Lets time pass: leases run out by it.
    pub fn advance_clock(&self, by: Duration) {
        let mut world = self.shared.write();
        world.clock.advance(by);
        world.expire_leases();
        world.expire_idle_sessions();
    }

    /// Sets the server's time of day so many seconds ahead of the machine's, or behind it.
    pub fn set_clock_skew(&self, seconds: i64) {
        self.shared.write().clock.set_skew(seconds);
    }

    /// Fails a lease from the server's side.
    pub fn fail_lease(&self, lease: &str, fault: Fault) {
        self.shared
            .write()
            .fail_lease(&reference("HttpNfcLease", lease), fault);
    }

    /// Says how far the leases are that are not ready yet, in percent; none where they do not tell.
    pub fn set_initialized(&self, percent: Option<i32>) {
        let mut world = self.shared.write();
        for lease in world.leases.values_mut() {
            lease.initialized = percent;
        }
    }

    /// Every request so far, passwords included.
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared
            .requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub fn clear_requests(&self) {
        self.shared
            .requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

fn machine(vm: &str) -> Ref {
    reference("VirtualMachine", vm)
}

fn disk_place(world: &World, vm: &str, key: i32) -> Outcome<(Ref, String)> {
    let found = world.machine(&machine(vm))?;
    let disk = found
        .disk(key)
        .ok_or_else(|| Fault::system(format!("{vm} has no disk {key}")))?;
    Ok((disk.datastore.clone(), disk.path.clone()))
}

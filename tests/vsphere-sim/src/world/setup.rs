//! The world as it is at the start, and machines that are there without anybody having asked for them.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;

use crate::options::{Mode, Options, VolumeSpec};
use crate::wire::{Fault, Outcome, Ref, reference};

use super::clock::Clock;
use super::datastore::{Datastore, DiskFile, Entry, Mount};
use super::ids::uuid;
use super::inventory::{Body, Compute, Datacenter, Folder, Host, Pool};
use super::machine::{
    BackingKind, Connection, Controller, Machine, MachineDisk, Power, controller_kind,
    descriptor_adapter, first_disk_key, first_key,
};
use super::names::Names;
use super::path::{escaped_name, file_name};
use super::{DataHost, World};

pub(super) const VM_FOLDER: [&str; 3] = ["Folder", "VirtualMachine", "VirtualApp"];

impl World {
    pub fn new(
        options: Options,
        dir: PathBuf,
        endpoint: DataHost,
        data_hosts: Vec<DataHost>,
    ) -> World {
        let names = Names::new(options.mode);
        let mut world = World {
            names,
            clock: Clock::new(),
            nodes: BTreeMap::new(),
            tasks: BTreeMap::new(),
            sessions: Vec::new(),
            leases: BTreeMap::new(),
            unregistered: Vec::new(),
            dir,
            endpoint,
            data_hosts,
            counters: HashMap::new(),
            options,
        };
        world.furnish();
        world
    }

    pub(super) fn add_folder(
        &mut self,
        own: &Ref,
        name: &str,
        parent: Option<&Ref>,
        child_types: &[&'static str],
    ) {
        let folder = Folder {
            child_types: child_types.to_vec(),
            children: Vec::new(),
        };
        self.insert(own.clone(), name, parent, Body::Folder(folder));
    }

    fn furnish(&mut self) {
        let root = self.names.root.clone();
        let root_name = if self.options.mode == Mode::Esxi {
            "ha-folder-root"
        } else {
            "Datacenters"
        };
        self.add_folder(&root, root_name, None, &["Folder", "Datacenter"]);
        let names = match self.options.mode {
            Mode::VCenter => self.options.datacenters.clone(),
            Mode::Esxi => vec!["ha-datacenter".to_owned()],
        };
        for (index, name) in names.iter().enumerate() {
            self.add_datacenter(name, index);
        }
    }

    fn add_datacenter(&mut self, name: &str, index: usize) {
        let root = self.names.root.clone();
        let esxi = self.options.mode == Mode::Esxi;
        let own = if esxi {
            reference("Datacenter", "ha-datacenter")
        } else {
            self.new_ref("Datacenter")
        };
        let mut folder = |letter: char, esxi_id: &str| {
            if esxi {
                reference("Folder", esxi_id)
            } else {
                self.new_folder_ref(letter)
            }
        };
        let folders = Datacenter {
            vm_folder: folder('v', "ha-folder-vm"),
            host_folder: folder('h', "ha-folder-host"),
            datastore_folder: folder('s', "ha-folder-datastore"),
            network_folder: folder('n', "ha-folder-network"),
        };
        let (vm, host) = (folders.vm_folder.clone(), folders.host_folder.clone());
        let (datastore, network) = (
            folders.datastore_folder.clone(),
            folders.network_folder.clone(),
        );
        self.insert(
            own.clone(),
            &escaped_name(name),
            Some(&root),
            Body::Datacenter(folders),
        );
        self.add_folder(&vm, "vm", Some(&own), &VM_FOLDER);
        self.add_folder(&host, "host", Some(&own), &["Folder", "ComputeResource"]);
        self.add_folder(
            &datastore,
            "datastore",
            Some(&own),
            &["Folder", "Datastore", "StoragePod"],
        );
        self.add_folder(
            &network,
            "network",
            Some(&own),
            &["Folder", "Network", "DistributedVirtualSwitch"],
        );
        // A number that no other object's names are counted by.
        let vm_network = reference("Network", &format!("network-{}", 7 + index));
        self.insert(vm_network, "VM Network", Some(&network), Body::Network);
        let datastores = if index == 0 {
            self.add_datastores(&datastore)
        } else {
            Vec::new()
        };
        self.add_compute(&host, &datastores, index);
    }

    fn add_datastores(&mut self, folder: &Ref) -> Vec<Ref> {
        let specs = self.options.datastores.clone();
        let mut all = Vec::new();
        for spec in specs {
            let own = self.new_ref("Datastore");
            let body = Body::Datastore(Datastore::new(spec.capacity, spec.kind));
            self.insert(own.clone(), &escaped_name(&spec.name), Some(folder), body);
            all.push(own);
        }
        all
    }

    fn add_compute(&mut self, folder: &Ref, datastores: &[Ref], index: usize) {
        let esxi = self.options.mode == Mode::Esxi;
        let (own, pool) = if esxi {
            (
                reference("ComputeResource", "ha-compute-res"),
                reference("ResourcePool", "ha-root-pool"),
            )
        } else {
            (
                self.new_ref("ClusterComputeResource"),
                self.new_ref("ResourcePool"),
            )
        };
        let count = if esxi {
            1
        } else {
            self.options.data_hosts.max(1)
        };
        let mut hosts = Vec::new();
        for number in 1..=count {
            let host = if esxi {
                reference("HostSystem", "ha-host")
            } else {
                self.new_ref("HostSystem")
            };
            let body = Body::Host(Host {
                connection_state: "connected",
                power_state: "poweredOn",
                in_maintenance_mode: false,
                in_quarantine_mode: false,
            });
            let name = if esxi {
                "localhost.localdomain".to_owned()
            } else {
                format!("esx{number}.dc{index}.sim.test")
            };
            self.insert(host.clone(), &name, Some(&own), body);
            hosts.push(host);
        }
        for datastore in datastores {
            if let Ok(store) = self.datastore_mut(datastore) {
                let mount = |host: &Ref| Mount {
                    host: host.clone(),
                    read_write: true,
                    accessible: true,
                };
                store.mounts = hosts.iter().map(mount).collect();
            }
        }
        let name = if esxi {
            "localhost.localdomain".to_owned()
        } else {
            format!("DC{index}_C0")
        };
        self.insert(
            pool.clone(),
            "Resources",
            Some(&own),
            Body::Pool(Pool {
                owner: own.clone(),
                pools: Vec::new(),
            }),
        );
        let compute = Compute {
            pool,
            hosts,
            datastores: datastores.to_vec(),
        };
        self.insert(own, &name, Some(folder), Body::Compute(compute));
    }

    /// The first datacenter and its virtual machine folder.
    pub fn home(&self) -> Outcome<(Ref, Ref)> {
        let missing = || Fault::system("there is no datacenter");
        let datacenter = self
            .folder(&self.names.root)?
            .children
            .first()
            .cloned()
            .ok_or_else(missing)?;
        let folder = self.datacenter(&datacenter)?.vm_folder.clone();
        Ok((datacenter, folder))
    }

    /// Makes a machine with one disk.
    pub fn plant_volume(&mut self, spec: &VolumeSpec) -> Outcome<Ref> {
        let (_, folder) = self.home()?;
        let datastore = match &spec.datastore {
            Some(name) => self.datastore_named(name, None)?,
            None => self.of_first_datastore()?,
        };
        let machine = self.plant_machine(&spec.name, &folder, &datastore)?;
        let planted = self.machine_mut(&machine)?;
        if let Some(uuid) = &spec.instance_uuid {
            planted.instance_uuid = uuid.to_lowercase();
        }
        planted.extra_config = spec.extra_config.clone();
        planted.profile = spec.profile.clone();
        self.plant_disk(&machine, spec)?;
        Ok(machine)
    }

    fn of_first_datastore(&self) -> Outcome<Ref> {
        let first = self
            .options
            .datastores
            .first()
            .ok_or_else(|| Fault::system("there is no datastore"))?;
        self.datastore_named(&first.name, None)
    }

    /// Makes a vApp in the first compute resource's pool.
    pub fn plant_vapp(&mut self, name: &str) -> Outcome<Ref> {
        let computes = self.nodes.values().find_map(|node| match &node.body {
            Body::Compute(compute) => Some((node.reference.clone(), compute.pool.clone())),
            _ => None,
        });
        let (owner, pool) = computes.ok_or_else(|| Fault::system("there is no cluster"))?;
        let own = self.new_ref("VirtualApp");
        let pools = Vec::new();
        let body = Body::Pool(Pool { owner, pools });
        self.insert(own.clone(), &escaped_name(name), Some(&pool), body);
        if let Body::Pool(parent) = &mut self.node_mut(&pool)?.body {
            parent.pools.push(own.clone());
        }
        Ok(own)
    }

    /// Takes a machine out of its folder and into a vApp.
    pub fn move_into_vapp(&mut self, machine: &Ref, vapp: &Ref) -> Outcome<()> {
        self.node(vapp)?;
        let node = self
            .remove(machine)
            .ok_or_else(|| Fault::not_found(machine))?;
        self.insert(machine.clone(), &node.name, Some(vapp), node.body);
        self.machine_mut(machine)?.pool = vapp.clone();
        Ok(())
    }

    fn plant_machine(&mut self, name: &str, folder: &Ref, datastore: &Ref) -> Outcome<Ref> {
        let name = escaped_name(name);
        self.check_free_name(folder, &name)?;
        let place = self.datastore(datastore)?.free_folder(&file_name(&name));
        let vmx = format!("{place}/{}.vmx", file_name(&name));
        let store = self.datastore_mut(datastore)?;
        store.files.insert(place, Entry::Folder);
        store.files.insert(
            vmx.clone(),
            Entry::Text(format!("displayName = \"{name}\"\n")),
        );
        let host = self
            .datastore(datastore)?
            .mounts
            .first()
            .map(|mount| mount.host.clone());
        let host = host.ok_or_else(|| Fault::system("no host mounts the datastore"))?;
        let owner = self
            .node(&host)?
            .parent
            .clone()
            .ok_or_else(|| Fault::not_found(&host))?;
        let Body::Compute(compute) = &self.node(&owner)?.body else {
            return Err(Fault::not_found(&owner));
        };
        let pool = compute.pool.clone();
        let machine = self.new_machine_ref();
        let body = Machine {
            uuid: uuid("4215"),
            instance_uuid: uuid("5015"),
            version: "vmx-08".to_owned(),
            guest_id: "otherGuest".to_owned(),
            annotation: String::new(),
            memory_mb: 128,
            cpus: 1,
            extra_config: Vec::new(),
            managed_by: None,
            profile: None,
            controllers: default_controllers(),
            disks: Vec::new(),
            cards: Vec::new(),
            power: Power::Off,
            connection: Connection::Connected,
            snapshots: Vec::new(),
            current_snapshot: None,
            pool,
            host,
            datastore: datastore.clone(),
            vmx,
            template: false,
            change_version: 1,
            lock: None,
        };
        self.insert(
            machine.clone(),
            &name,
            Some(folder),
            Body::Machine(Box::new(body)),
        );
        Ok(machine)
    }

    /// Adds a disk to a machine; returns its key.
    pub fn plant_disk(&mut self, target: &Ref, spec: &VolumeSpec) -> Outcome<i32> {
        let kind = controller_kind(&spec.adapter_type);
        let place = self.fresh_path();
        let machine = self.machine(target)?;
        let datastore = machine.datastore.clone();
        let folder = super::path::folder_of(&machine.vmx).to_owned();
        let path = self
            .datastore(&datastore)?
            .free_disk(&folder, &file_name(&spec.name));
        let mut file = DiskFile::create(
            &place,
            spec.capacity,
            spec.disk_type,
            descriptor_adapter(kind),
        )?;
        if let Some(uuid) = &spec.disk_uuid {
            file.uuid = uuid.clone();
        }
        self.check_space(&datastore, file.space(), &path)?;
        self.datastore_mut(&datastore)?
            .files
            .insert(path.clone(), Entry::Disk(file));
        let machine = self.machine_mut(target)?;
        let existing = machine
            .controllers
            .iter()
            .filter(|controller| controller.kind == kind);
        let with_room = existing
            .map(|controller| controller.key)
            .find(|key| machine.free_unit(*key).is_some());
        let controller_key = with_room.unwrap_or_else(|| {
            let key = World::new_device_key(machine, first_key(kind));
            let bus_number = key - first_key(kind);
            machine.controllers.push(Controller {
                key,
                kind: kind.to_owned(),
                bus_number,
            });
            key
        });
        let unit_number = machine.free_unit(controller_key).unwrap_or(0);
        let key = World::new_device_key(machine, first_disk_key(kind) + unit_number);
        let label = format!("Hard disk {}", machine.disks.len() + 1);
        machine.disks.push(MachineDisk {
            key,
            controller_key,
            unit_number,
            datastore,
            path,
            mode: "persistent".to_owned(),
            backing: BackingKind::Flat,
            encrypted: false,
            label,
            write_through: false,
            io_allocation: None,
            format: None,
        });
        Ok(key)
    }
}

/// The controllers that every machine has.
pub fn default_controllers() -> Vec<Controller> {
    let ide = |number: i32| Controller {
        key: 200 + number,
        kind: "VirtualIDEController".to_owned(),
        bus_number: number,
    };
    let pci = Controller {
        key: 100,
        kind: "VirtualPCIController".to_owned(),
        bus_number: 0,
    };
    vec![ide(0), ide(1), pci]
}

/// An error of the file system while the world is made.
pub fn as_io(fault: Fault) -> io::Error {
    io::Error::other(format!("{}: {}", fault.kind(), fault.message))
}

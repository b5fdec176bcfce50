//! Folders, datacenters, clusters, hosts, pools: the tree that everything hangs in.

use crate::wire::{Fault, Outcome, Ref};

use super::World;
use super::datastore::Datastore;
use super::machine::Machine;
use super::setup::VM_FOLDER;

/// A thing with a place in the inventory.
pub struct Node {
    pub reference: Ref,
    pub name: String,
    pub parent: Option<Ref>,
    pub body: Body,
}

pub enum Body {
    Folder(Folder),
    Datacenter(Datacenter),
    Compute(Compute),
    Pool(Pool),
    Host(Host),
    Datastore(Datastore),
    /// A name to connect cards to.
    Network,
    Machine(Box<Machine>),
}

pub struct Folder {
    pub child_types: Vec<&'static str>,
    pub children: Vec<Ref>,
}

pub struct Datacenter {
    pub vm_folder: Ref,
    pub host_folder: Ref,
    pub datastore_folder: Ref,
    pub network_folder: Ref,
}

pub struct Compute {
    pub pool: Ref,
    pub hosts: Vec<Ref>,
    pub datastores: Vec<Ref>,
}

pub struct Pool {
    pub owner: Ref,
    pub pools: Vec<Ref>,
}

pub struct Host {
    pub connection_state: &'static str,
    pub power_state: &'static str,
    pub in_maintenance_mode: bool,
    pub in_quarantine_mode: bool,
}

impl World {
    pub fn node(&self, target: &Ref) -> Outcome<&Node> {
        let found = self
            .nodes
            .get(&target.id)
            .filter(|node| node.reference.kind == target.kind);
        found.ok_or_else(|| Fault::not_found(target))
    }

    pub fn node_mut(&mut self, target: &Ref) -> Outcome<&mut Node> {
        let found = self
            .nodes
            .get_mut(&target.id)
            .filter(|node| node.reference.kind == target.kind);
        found.ok_or_else(|| Fault::not_found(target))
    }

    pub fn insert(&mut self, reference: Ref, name: &str, parent: Option<&Ref>, body: Body) {
        let node = Node {
            reference: reference.clone(),
            name: name.to_owned(),
            parent: parent.cloned(),
            body,
        };
        self.nodes.insert(reference.id.clone(), node);
        if let Some(folder) = parent.and_then(|parent| self.folder_mut(parent).ok()) {
            folder.children.push(reference);
        }
    }

    /// Takes a thing out of the inventory.
    pub fn remove(&mut self, target: &Ref) -> Option<Node> {
        let node = self.nodes.remove(&target.id)?;
        if let Some(folder) = node
            .parent
            .as_ref()
            .and_then(|parent| self.folder_mut(parent).ok())
        {
            folder.children.retain(|child| child != target);
        }
        Some(node)
    }

    pub fn folder(&self, target: &Ref) -> Outcome<&Folder> {
        match &self.node(target)?.body {
            Body::Folder(folder) => Ok(folder),
            _ => Err(Fault::not_found(target)),
        }
    }

    pub fn folder_mut(&mut self, target: &Ref) -> Outcome<&mut Folder> {
        match &mut self.node_mut(target)?.body {
            Body::Folder(folder) => Ok(folder),
            _ => Err(Fault::not_found(target)),
        }
    }

    pub fn machine(&self, target: &Ref) -> Outcome<&Machine> {
        match &self.node(target)?.body {
            Body::Machine(machine) => Ok(machine),
            _ => Err(Fault::not_found(target)),
        }
    }

    pub fn machine_mut(&mut self, target: &Ref) -> Outcome<&mut Machine> {
        match &mut self.node_mut(target)?.body {
            Body::Machine(machine) => Ok(machine),
            _ => Err(Fault::not_found(target)),
        }
    }

    pub fn datastore(&self, target: &Ref) -> Outcome<&Datastore> {
        match &self.node(target)?.body {
            Body::Datastore(datastore) => Ok(datastore),
            _ => Err(Fault::not_found(target)),
        }
    }

    pub fn datastore_mut(&mut self, target: &Ref) -> Outcome<&mut Datastore> {
        match &mut self.node_mut(target)?.body {
            Body::Datastore(datastore) => Ok(datastore),
            _ => Err(Fault::not_found(target)),
        }
    }

    pub fn machines(&self) -> impl Iterator<Item = (&Node, &Machine)> {
        self.nodes.values().filter_map(|node| match &node.body {
            Body::Machine(machine) => Some((node, machine.as_ref())),
            _ => None,
        })
    }

    /// Takes a pool out of the inventory; what is in it goes to the pool that it was in.
    pub fn dissolve_pool(&mut self, target: &Ref) -> Outcome<()> {
        let parent = self.node(target)?.parent.clone();
        let parent = parent.ok_or_else(|| Fault::not_found(target))?;
        let Body::Pool(gone) = &self.node(target)?.body else {
            return Err(Fault::not_found(target));
        };
        let inner = gone.pools.clone();
        self.nodes.remove(&target.id);
        for node in self.nodes.values_mut() {
            if inner.contains(&node.reference) {
                node.parent = Some(parent.clone());
            }
            match &mut node.body {
                Body::Machine(machine) if &machine.pool == target => machine.pool = parent.clone(),
                Body::Pool(pool) if node.reference == parent => {
                    pool.pools.retain(|pool| pool != target);
                    pool.pools.extend(inner.iter().cloned());
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub fn of_kind(&self, kind: &str) -> Vec<Ref> {
        let found = self
            .nodes
            .values()
            .filter(|node| node.reference.kind == kind);
        found.map(|node| node.reference.clone()).collect()
    }

    /// The child of that name, directly below a folder or a datacenter.
    pub fn child(&self, parent: &Ref, name: &str) -> Option<Ref> {
        let node = self.node(parent).ok()?;
        let children: Vec<&Ref> = match &node.body {
            Body::Folder(folder) => folder.children.iter().collect(),
            Body::Datacenter(dc) => {
                vec![
                    &dc.vm_folder,
                    &dc.host_folder,
                    &dc.datastore_folder,
                    &dc.network_folder,
                ]
            }
            Body::Compute(compute) => compute.hosts.iter().chain([&compute.pool]).collect(),
            Body::Pool(pool) => {
                // A vApp's machines are right below it, those of a pool in a folder.
                let inside = self.nodes.values();
                let inside = inside.filter(|node| node.parent.as_ref() == Some(parent));
                let machines = inside.filter(|node| node.reference.kind == "VirtualMachine");
                let machines = machines.map(|node| &node.reference);
                pool.pools.iter().chain(machines).collect()
            }
            _ => return None,
        };
        let named = |child: &&&Ref| self.node(child).is_ok_and(|node| node.name == name);
        children.iter().find(named).map(|child| (*child).clone())
    }

    /// Refuses a name that something in the folder has already.
    pub fn check_free_name(&self, folder: &Ref, name: &str) -> Outcome<()> {
        match self.child(folder, name) {
            Some(other) => Err(Fault::duplicate_name(name, &other)),
            None => Ok(()),
        }
    }

    /// The datacenter that a thing is in.
    pub fn datacenter_of(&self, target: &Ref) -> Option<Ref> {
        let mut next = Some(target.clone());
        while let Some(reference) = next {
            if reference.kind == "Datacenter" {
                return Some(reference);
            }
            next = self.node(&reference).ok()?.parent.clone();
        }
        None
    }

    pub fn datacenter(&self, target: &Ref) -> Outcome<&Datacenter> {
        match &self.node(target)?.body {
            Body::Datacenter(datacenter) => Ok(datacenter),
            _ => Err(Fault::not_found(target)),
        }
    }

    /// The compute resource that a pool belongs to.
    pub fn compute_of_pool(&self, pool: &Ref) -> Outcome<(&Ref, &Compute)> {
        let Body::Pool(found) = &self.node(pool)?.body else {
            return Err(Fault::not_found(pool));
        };
        match &self.node(&found.owner)?.body {
            Body::Compute(compute) => Ok((&found.owner, compute)),
            _ => Err(Fault::not_found(&found.owner)),
        }
    }

    /// Whether a thing lies below another, or is it.
    pub fn is_below(&self, target: &Ref, ancestor: &Ref) -> bool {
        let mut next = Some(target.clone());
        while let Some(reference) = next {
            if &reference == ancestor {
                return true;
            }
            next = self
                .node(&reference)
                .ok()
                .and_then(|node| node.parent.clone());
        }
        false
    }

    /// The networks of the datacenter that a thing is in.
    pub fn networks_near(&self, target: &Ref) -> Vec<Ref> {
        let datacenter = self.datacenter_of(target);
        let mut networks = self.of_kind("Network");
        networks.retain(|network| {
            datacenter
                .as_ref()
                .is_none_or(|datacenter| self.is_below(network, datacenter))
        });
        networks
    }

    /// The datastores of a datacenter, in the order in which they were made.
    pub fn datastores_of(&self, datacenter: &Ref) -> Vec<Ref> {
        let mut folders: Vec<&Ref> = self
            .datacenter(datacenter)
            .iter()
            .map(|found| &found.datastore_folder)
            .collect();
        let mut found = Vec::new();
        while let Some(folder) = folders.pop() {
            for child in self
                .folder(folder)
                .iter()
                .flat_map(|folder| &folder.children)
            {
                match child.kind.as_str() {
                    "Folder" => folders.push(child),
                    _ => found.push(child.clone()),
                }
            }
        }
        found
    }

    /// Moves a machine into the folder at `path` below its datacenter's machine folder.
    pub fn place_machine(&mut self, target: &Ref, path: &[&str]) -> Outcome<()> {
        let datacenter = self
            .datacenter_of(target)
            .ok_or_else(|| Fault::not_found(target))?;
        let mut at = self.datacenter(&datacenter)?.vm_folder.clone();
        for name in path {
            at = match self.child(&at, name) {
                Some(folder) => folder,
                None => {
                    let own = self.new_folder_ref('v');
                    self.add_folder(&own, name, Some(&at), &VM_FOLDER);
                    own
                }
            };
        }
        let node = self
            .remove(target)
            .ok_or_else(|| Fault::not_found(target))?;
        self.insert(target.clone(), &node.name, Some(&at), node.body);
        Ok(())
    }
}

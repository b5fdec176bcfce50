//! What there is at a server, to be compared.

use crate::fixture::Scene;
use vsphere_sim::VmView;

/// All that a job could leave at the server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Things {
    vms: Vec<String>,
    files: Vec<String>,
    loose: Vec<String>,
    tags: Vec<String>,
}

impl Things {
    pub fn of(scene: &Scene) -> Things {
        let vms = scene.sim.vms();
        let disk = scene.disk().file;
        let mut files = Vec::new();
        for datastore in &scene.options.datastores {
            let named = scene.sim.files(&datastore.name).into_iter();
            let named = named.map(|file| format!("[{}] {file}", datastore.name));
            // The volume's disk may be another one now.
            files.extend(named.filter(|file| *file != disk));
        }
        files.sort();
        let tags = |vm: &VmView| {
            let tagged = vm.extra_config.iter();
            let tagged = tagged.filter(|(key, _)| key.starts_with("vmdk_backup."));
            tagged
                .map(|(key, value)| format!("{} {key}={value}", vm.name))
                .collect::<Vec<_>>()
        };
        Things {
            files,
            loose: scene.sim.loose_disks(),
            tags: vms.iter().flat_map(tags).collect(),
            vms: vms.into_iter().map(|vm| vm.name).collect(),
        }
    }

    /// What is there now and was not `before`, without the machine that was to be made.
    pub fn left(scene: &Scene, before: &Things, made: Option<&str>) -> Things {
        let mut now = Things::of(scene);
        if let Some(vm) = made.and_then(|name| scene.sim.find_vm(name)) {
            let folder = vm.vmx.rsplit_once('/').map_or("", |(folder, _)| folder);
            let beneath = format!("{folder}/");
            now.vms.retain(|name| *name != vm.name);
            now.files
                .retain(|file| file != folder && !file.starts_with(&beneath));
        }
        now.vms.retain(|one| !before.vms.contains(one));
        now.files.retain(|one| !before.files.contains(one));
        now
    }

    /// The names of the virtual machines.
    pub fn vms(&self) -> &[String] {
        &self.vms
    }
}

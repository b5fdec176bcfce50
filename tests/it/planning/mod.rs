//! Whatever can be known before a disk is moved is decided, or refused, before it is.

mod site;
mod size;
mod tasks;

use crate::fixture::{Memory, Scene};
use crate::jobs;
use vmdk_backup::error::{Error, Kind};
use vmdk_backup::ops::{Common, Summary};
use vmdk_backup::volume::Volume;
use vsphere_sim::Options;

/// The calls that change the server, or begin to.
const CHANGES: [&str; 11] = [
    "ExportVm",
    "ImportVApp",
    "CreateVM_Task",
    "CreateChildVM_Task",
    "CreateFolder",
    "ReconfigVM_Task",
    "Destroy_Task",
    "MoveVirtualDisk_Task",
    "CopyVirtualDisk_Task",
    "DeleteVirtualDisk_Task",
    "ExtendVirtualDisk_Task",
];

/// A volume that was backed up as `b`, and then damaged.
struct Case {
    scene: Scene,
    service: Memory,
}

impl Case {
    fn new(options: Options) -> Case {
        Self::of(Scene::new(options))
    }

    fn of(scene: Scene) -> Case {
        let service = Memory::default();
        jobs::backup(&scene, &service, "b", Common::default()).unwrap();
        scene.damage();
        scene.sim.clear_requests();
        Case { scene, service }
    }

    fn backup(&self, id: &str) -> Result<Summary, Error> {
        jobs::backup(&self.scene, &self.service, id, Common::default())
    }

    fn restore(&self, volume: &Volume) -> Result<Summary, Error> {
        jobs::restore(&self.scene, &self.service, volume, Common::default())
    }

    /// Restores into the volume itself, and looks whether it has its contents back.
    fn restored(&self) -> Summary {
        let done = self.restore(&self.scene.volume()).unwrap();
        self.scene.assert_restored(&self.scene.vm);
        done
    }

    /// Restores as a new volume, and looks whether that has the contents.
    fn restored_as(&self, volume: &Volume) -> Summary {
        let done = self.restore(volume).unwrap();
        assert!(done.backing_created);
        self.scene.assert_restored(&done.backing);
        done
    }

    /// A restore into `volume` that is refused before anything is changed on the server.
    fn refused(&self, volume: &Volume, kind: Kind, words: &[&str]) {
        let state = self.scene.state();
        self.scene.sim.clear_requests();
        let error = self.restore(volume).expect_err(&words.join(", "));
        self.assert_unchanged(&state, &error, kind, words);
    }

    fn assert_unchanged(&self, state: &str, error: &Error, kind: Kind, words: &[&str]) {
        println!("{error}");
        assert_eq!(error.kind(), kind, "{error}");
        for word in words {
            assert!(error.to_string().contains(word), "{word:?}: {error}");
        }
        let requests = self.scene.sim.requests();
        let changes = requests.iter().map(|request| request.method.as_str());
        let changes: Vec<&str> = changes.filter(|name| CHANGES.contains(name)).collect();
        assert!(changes.is_empty(), "{changes:?} before: {error}");
        assert_eq!(self.scene.state(), state, "after: {error}");
    }
}

fn named(name: &str) -> Volume {
    Volume {
        name: name.into(),
        ..Volume::default()
    }
}

//! Progress: never back within a phase, and to the end of each that has one.

use crate::fixture::{MIB, Scene};
use crate::jobs::{backup, restore};
use std::cell::RefCell;
use std::ops::ControlFlow;
use std::rc::Rc;
use vmdk_backup::client::{Client, ConnectOptions};
use vmdk_backup::error::Phase;
use vmdk_backup::ops::{
    Common, ConvertOptions, Progress, ProgressFn, VerifyOptions, convert, verify_backup,
};
use vmdk_backup::service::{Directory, Format, Staging};
use vsphere_sim::{Options, VolumeSpec};

/// What was told of an operation.
#[derive(Clone, Default)]
struct Told(Rc<RefCell<Vec<Progress>>>);

impl Told {
    fn progress(&self) -> Option<ProgressFn<'static>> {
        let told = self.0.clone();
        Some(Box::new(move |progress| {
            told.borrow_mut().push(progress);
            ControlFlow::Continue(())
        }))
    }

    /// Each phase with a total was told to its end, and none went back. The phases with a total.
    #[track_caller]
    fn complete(&self) -> Vec<Phase> {
        let told = self.0.take();
        let mut complete = Vec::new();
        for phase in told.chunk_by(|one, next| (one.phase, one.total) == (next.phase, next.total)) {
            let last = phase[phase.len() - 1];
            assert!(phase.is_sorted_by_key(|told| told.done), "{phase:?}");
            if last.total > 0 {
                assert_eq!(last.done, last.total, "{:?}", last.phase);
                complete.push(last.phase);
            }
        }
        complete
    }
}

/// A disk that has nothing but zeros behind its first sixth.
fn sparse() -> Scene {
    let scene = Scene::with_volume(Options::default(), VolumeSpec::new("volume-1", 40 * MIB));
    let raw = std::fs::File::options()
        .write(true)
        .open(&scene.raw)
        .unwrap();
    raw.set_len(7 * MIB).unwrap();
    raw.set_len(40 * MIB).unwrap();
    scene
        .sim
        .load_disk(&scene.vm, scene.disk().key, &scene.raw)
        .unwrap();
    scene
}

#[test]
fn the_progress_of_a_sparse_disk_ends_at_its_end() {
    use Phase::{Service, Transfer, Verify};
    let scene = sparse();
    let told = Told::default();
    for (format, staging, out, back) in [
        (
            Format::Stream,
            Staging::Stream,
            &[Transfer][..],
            &[Transfer][..],
        ),
        (
            Format::Stream,
            Staging::File,
            &[Transfer, Service],
            &[Service, Verify, Transfer],
        ),
        (
            Format::Raw,
            Staging::Stream,
            &[Transfer],
            &[Service, Transfer],
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let service = Directory::new(directory.path()).unwrap();
        let common = || Common {
            format,
            staging: Some(staging),
            progress: told.progress(),
            ..Common::default()
        };
        backup(&scene, &service, "b", common()).unwrap();
        assert_eq!(told.complete(), out, "{format} {staging:?}");
        let verify = VerifyOptions {
            backup_id: "b".into(),
            progress: told.progress(),
            ..VerifyOptions::default()
        };
        verify_backup(&service, verify).unwrap();
        assert_eq!(told.complete(), [Verify], "{format}");
        restore(&scene, &service, &scene.volume(), common()).unwrap();
        assert_eq!(told.complete(), back, "{format} {staging:?}");
    }
}

#[test]
fn the_progress_of_a_conversion_ends_at_its_end() {
    let scene = sparse();
    let (stream, told) = (scene.dir.path().join("s.vmdk"), Told::default());
    for (from, to, format) in [
        (&scene.raw, stream.clone(), Format::Stream),
        (&stream, scene.dir.path().join("back.raw"), Format::Raw),
        (&stream, scene.dir.path().join("again.vmdk"), Format::Stream),
    ] {
        let options = ConvertOptions {
            progress: told.progress(),
            ..crate::convert::options(from, &to, format)
        };
        convert(options).unwrap();
        // How long a stream becomes is only known at its end.
        let phases: &[Phase] = match from == &scene.raw {
            true => &[],
            false => &[Phase::Transfer],
        };
        assert_eq!(told.complete(), phases);
    }
}

#[test]
fn what_fails_while_connecting_is_of_that_phase() {
    let scene = Scene::new(Options::default());
    let wrong = ConnectOptions {
        password: "wrong".to_owned().into(),
        ..scene.connect_options()
    };
    let nobody = ConnectOptions {
        server: "127.0.0.1:1".into(),
        ..scene.impatient_options()
    };
    let page = ConnectOptions {
        server: format!("{}/ui/", scene.sim.url().trim_end_matches("/sdk")),
        ..scene.connect_options()
    };
    for options in [wrong, nobody, page] {
        let error = Client::connect(options).err().unwrap();
        assert_eq!(error.phase(), Some(Phase::Connect), "{error}");
    }
}

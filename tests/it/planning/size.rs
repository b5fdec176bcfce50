//! Sizes and allocation: what a server makes of a request is no reason to lose a disk that is there.

use super::{Case, named};
use crate::fixture::{MIB, Scene};
use crate::jobs;
use vmdk_backup::error::Kind;
use vmdk_backup::ops::{Common, Summary};
use vmdk_backup::service::Format;
use vmdk_backup::volume::{AdapterType, DiskType, Placement, Volume};
use vsphere_sim::{DatastoreKind, DatastoreSpec, Options, VolumeSpec};

const SECTOR: u64 = 512;
/// A number of sectors that is odd, so that the disk is not of whole KiB.
const ODD: u64 = 10_291 * SECTOR;

fn odd(options: Options) -> Case {
    Case::of(Scene::with_volume(
        options,
        VolumeSpec::new("volume-1", ODD),
    ))
}

fn sized(name: &str, size_bytes: u64) -> Volume {
    Volume {
        size_bytes,
        ..named(name)
    }
}

fn told(summary: &Summary, words: &str) -> bool {
    summary.notices.iter().any(|notice| notice.contains(words))
}

fn on(datastore: &str, disk_type: DiskType) -> Volume {
    Volume {
        disk_type: Some(disk_type),
        placement: Placement {
            datastore: Some(datastore.into()),
            ..Placement::default()
        },
        ..named(&format!("{disk_type}-on-{datastore}"))
    }
}

#[test]
fn a_disk_of_an_odd_number_of_sectors_is_backed_up_and_restored() {
    let case = odd(Options::default());
    assert_eq!(case.restored().notices, [""; 0]);
    assert_eq!(case.restored_as(&named("new")).capacity, ODD);
}

#[test]
fn a_size_that_no_server_makes_is_rounded_up_before_the_disk_moves() {
    let case = odd(Options::default());
    for (name, asked) in [("one", ODD + 2 * SECTOR), ("two", 8 * MIB + SECTOR)] {
        let done = case.restored_as(&sized(name, asked));
        let disk = case.scene.sim.vm(&done.backing).unwrap().disks.remove(0);
        assert_eq!(disk.capacity, asked + SECTOR);
        assert!(told(&done, "next size"), "{:?}", done.notices);
    }
    // The volume itself grows, too.
    let grown = Volume {
        size_bytes: ODD + 2 * SECTOR,
        ..case.scene.volume()
    };
    case.restore(&grown).unwrap();
    assert_eq!(case.scene.disk().capacity, ODD + 3 * SECTOR);
    case.scene.assert_restored(&case.scene.vm);
}

#[test]
fn a_server_that_tells_sizes_in_kib_only_is_understood() {
    let options = Options {
        capacity_in_bytes: false,
        ..Options::default()
    };
    let case = odd(options);
    assert_eq!(case.restored().notices, [""; 0]);
    assert_eq!(case.scene.disk().capacity, ODD);
    case.backup("again").unwrap();
    case.restored_as(&named("new"));
    case.restored_as(&sized("larger", 2 * ODD));
    let smaller = sized("smaller", ODD - 3 * SECTOR);
    case.refused(&smaller, Kind::InvalidArgument, &["only"]);
}

#[test]
fn a_datastore_that_rounds_sizes_up_is_a_warning() {
    let options = Options {
        disk_granularity: MIB,
        ..Options::default()
    };
    let case = odd(options);
    let done = case.restored_as(&named("new"));
    let disk = case.scene.sim.vm(&done.backing).unwrap().disks.remove(0);
    assert_eq!(disk.capacity, ODD.next_multiple_of(MIB));
    assert!(told(&done, "rounds up"), "{:?}", done.notices);
    case.restored();
    assert_eq!(case.scene.disk().capacity, ODD.next_multiple_of(MIB));

    let tiny = sized("tiny", 5 * SECTOR);
    let made = jobs::backup_of(&case.scene, &case.service, "tiny", &tiny).unwrap();
    assert_eq!(made.capacity, MIB);
    assert!(told(&made, "1048576"), "{:?}", made.notices);
}

#[test]
fn a_raw_service_hears_the_size_that_a_new_backing_really_has() {
    let scene = Scene::new(Options {
        disk_granularity: MIB,
        ..Options::default()
    });
    let directory = scene.dir.path().join("raw");
    std::fs::create_dir(&directory).unwrap();
    let service = vmdk_backup::service::Directory::new(&directory).unwrap();
    let common = Common {
        format: Format::Raw,
        ..Common::default()
    };
    let options = vmdk_backup::ops::BackupOptions {
        backup_id: "raw".into(),
        common,
        existing_only: false,
    };
    let volume = sized("odd", 8 * MIB + SECTOR);
    let client = scene.client();
    let made = vmdk_backup::ops::backup_volume(&client, &service, &volume, options).unwrap();
    assert_eq!(made.capacity, 9 * MIB);
}

#[test]
fn a_disk_that_is_too_large_for_every_place_is_refused_before_it_moves() {
    let case = Case::new(Options::default());
    for datastore in ["datastore1", "datastore2"] {
        case.scene
            .sim
            .set_largest_disk(datastore, 16 * MIB)
            .unwrap();
    }
    let words = ["datastore1", "at most 16777216 bytes"];
    case.refused(&named("new"), Kind::InvalidArgument, &words);
    case.refused(&case.scene.volume(), Kind::InvalidArgument, &words);
    // One that holds it is chosen, though another one comes first.
    case.scene
        .sim
        .set_largest_disk("datastore2", 64 * MIB)
        .unwrap();
    let done = case.restored_as(&named("new"));
    let vmx = case.scene.sim.vm(&done.backing).unwrap().vmx;
    assert!(vmx.starts_with("[datastore2]"), "{vmx}");

    case.refused(
        &sized("huge", 63 << 40),
        Kind::InvalidArgument,
        &["at most"],
    );
}

#[test]
fn a_disk_that_is_too_large_for_its_hardware_is_refused_before_it_moves() {
    let case = Case::new(Options::default());
    let huge = Volume {
        size_bytes: 3 << 40,
        ..case.scene.volume()
    };
    case.scene
        .sim
        .set_hardware(&case.scene.vm, "vmx-08")
        .unwrap();
    case.refused(&huge, Kind::Unsupported, &["vmx-08", "upgrade"]);
    let on_buslogic = Volume {
        adapter_type: Some(AdapterType::BusLogic),
        ..sized("huge", 3 << 40)
    };
    case.refused(&on_buslogic, Kind::InvalidArgument, &["busLogic"]);
    case.scene
        .sim
        .set_hardware(&case.scene.vm, "vmx-10")
        .unwrap();
    case.restore(&huge).unwrap();
}

#[test]
fn a_datastore_that_decides_the_allocation_is_a_warning() {
    let case = Case::new(Options {
        datastores: vec![
            DatastoreSpec::new("datastore1", 4 << 40, DatastoreKind::Vmfs),
            DatastoreSpec::new("nas", 2 << 40, DatastoreKind::Nfs),
            DatastoreSpec::new("vsan", 2 << 40, DatastoreKind::Vsan),
            DatastoreSpec::new("vvol", 2 << 40, DatastoreKind::Vvol),
        ],
        datastore_disk_types: vec![
            ("nas".into(), DiskType::Thin.into_sim()),
            ("vsan".into(), DiskType::Thin.into_sim()),
            ("vvol".into(), DiskType::Thick.into_sim()),
        ],
        ..Options::default()
    });
    for datastore in ["nas", "vsan", "vvol"] {
        for disk_type in [DiskType::Thin, DiskType::Thick, DiskType::EagerZeroedThick] {
            case.scene.sim.clear_requests();
            let done = case.restored_as(&on(datastore, disk_type));
            let made = case.scene.sim.vm(&done.backing).unwrap().disks.remove(0);
            let as_asked = made.disk_type == disk_type.into_sim();
            println!("{disk_type} on {datastore}: {:?}", done.notices);
            assert_eq!(done.notices.len(), usize::from(!as_asked));
            let requests = case.scene.sim.requests();
            let copied = requests.iter().any(|r| r.method == "CopyVirtualDisk_Task");
            // Of NFS it is not known before whether its server can be told.
            assert_eq!(copied, datastore == "nas" && !as_asked);
            if !as_asked {
                let told = &done.notices[0];
                assert!(told.contains(datastore), "{told}");
                assert!(told.contains(disk_type.name()), "{told}");
            }
        }
    }
}

trait IntoSim {
    fn into_sim(self) -> vsphere_sim::DiskType;
}

impl IntoSim for DiskType {
    fn into_sim(self) -> vsphere_sim::DiskType {
        vsphere_sim::DiskType::from_word(self.name()).unwrap()
    }
}

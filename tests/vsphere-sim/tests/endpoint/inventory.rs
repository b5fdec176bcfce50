//! Machines, disks and files.

use vsphere_sim::{DatastoreKind, DatastoreSpec, DiskType, Options, VolumeSpec};

use crate::client::{MIB, Site, THIN, config, element, options};

fn create(site: &Site, name: &str, backing: &str) -> Result<String, String> {
    let pool = site.pool();
    let config = config(name, backing, 4096);
    let arguments = format!("<config>{config}</config><pool type=\"ResourcePool\">{pool}</pool>");
    site.client
        .task("CreateVM_Task", "Folder", &site.vm_folder(), &arguments)
}

fn reconfigure(site: &Site, vm: &str, spec: &str) -> Result<String, String> {
    site.client.task(
        "ReconfigVM_Task",
        "VirtualMachine",
        vm,
        &format!("<spec>{spec}</spec>"),
    )
}

fn remove_disk(key: i32, destroy: bool) -> String {
    let operation = if destroy {
        "<fileOperation>destroy</fileOperation>"
    } else {
        ""
    };
    format!(
        "<deviceChange><operation>remove</operation>{operation}<device xsi:type=\"VirtualDisk\"><key>{key}</key>\
         <capacityInKB>0</capacityInKB></device></deviceChange>"
    )
}

fn add_disk(file: &str, controller: i32, unit: i32) -> String {
    format!(
        "<deviceChange><operation>add</operation><device xsi:type=\"VirtualDisk\"><key>-1</key>\
         <backing xsi:type=\"VirtualDiskFlatVer2BackingInfo\"><fileName>{file}</fileName>\
         <diskMode>persistent</diskMode></backing><controllerKey>{controller}</controllerKey>\
         <unitNumber>{unit}</unitNumber><capacityInKB>0</capacityInKB></device></deviceChange>"
    )
}

fn disk_manager(site: &Site, method: &str, arguments: &str) -> Result<String, String> {
    site.client.task(
        method,
        "VirtualDiskManager",
        "virtualDiskManager",
        arguments,
    )
}

#[test]
fn a_machine_gets_the_disk_type_that_its_backing_asks_for() {
    let site = Site::new();
    let kinds = [
        (THIN, DiskType::Thin),
        ("", DiskType::Thick),
        (
            "<eagerlyScrub>true</eagerlyScrub>",
            DiskType::EagerZeroedThick,
        ),
    ];
    for (number, (backing, expected)) in kinds.into_iter().enumerate() {
        let vm = create(&site, &format!("vm{number}"), backing).unwrap();
        let view = site.simulator.vm(&vm).unwrap();
        assert_eq!(view.disks[0].disk_type, expected);
        assert_eq!(
            (view.disks[0].key, view.disks[0].controller_key),
            (2000, 1000)
        );
        assert_eq!(view.disks[0].controller, "ParaVirtualSCSIController");
    }
}

#[test]
fn a_name_that_is_taken_is_refused() {
    let site = Site::new();
    create(&site, "a%2fb", THIN).unwrap();
    assert_eq!(create(&site, "a/b", THIN).unwrap_err(), "DuplicateName");
}

#[test]
fn a_datastore_that_is_full_takes_no_thick_disk_and_keeps_nothing_of_it() {
    let datastores = vec![DatastoreSpec::new(
        "datastore1",
        3 * MIB,
        DatastoreKind::Vmfs,
    )];
    let site = Site::with(Options {
        datastores,
        ..options()
    });
    assert_eq!(create(&site, "thick", "").unwrap_err(), "NoDiskSpace");
    assert_eq!(site.simulator.files("datastore1"), Vec::<String>::new());
    create(&site, "thin", THIN).unwrap();
}

#[test]
fn a_reconfiguration_is_done_as_a_whole_or_not_at_all() {
    let site = Site::new();
    let vm = site.volume("v");
    let before = site.simulator.vm(&vm).unwrap();
    let spec = format!(
        "<name>renamed</name>{}{}",
        remove_disk(site.key(&vm), true),
        add_disk("[datastore1] nowhere/x.vmdk", 1000, 0)
    );
    assert_eq!(reconfigure(&site, &vm, &spec).unwrap_err(), "FileNotFound");
    let after = site.simulator.vm(&vm).unwrap();
    assert_eq!(after, before);
}

#[test]
fn one_disk_takes_the_place_of_another_in_one_reconfiguration() {
    let site = Site::new();
    let (old, new) = (site.volume("old"), site.volume("new"));
    let (sum, file) = (site.sum(&new), site.file(&new));
    reconfigure(&site, &new, &remove_disk(site.key(&new), false)).unwrap();
    let old_file = site.file(&old);
    let spec = format!(
        "{}{}",
        remove_disk(site.key(&old), false),
        add_disk(&file, 1000, 0)
    );
    reconfigure(&site, &old, &spec).unwrap();
    assert_eq!(site.sum(&old), sum);
    assert_eq!(site.simulator.loose_disks(), [old_file]);
}

#[test]
fn a_disk_that_is_attached_elsewhere_is_locked() {
    let site = Site::new();
    let (one, two) = (site.volume("one"), site.volume("two"));
    let add = add_disk(&site.file(&two), 1000, 1);
    assert_eq!(reconfigure(&site, &one, &add).unwrap_err(), "FileLocked");
    let delete = format!("<name>{}</name>", site.file(&two));
    assert_eq!(
        disk_manager(&site, "DeleteVirtualDisk_Task", &delete).unwrap_err(),
        "FileLocked"
    );
}

#[test]
fn the_unit_of_the_controller_itself_takes_no_disk() {
    let site = Site::new();
    let (one, two) = (site.volume("one"), site.volume("two"));
    reconfigure(&site, &two, &remove_disk(site.key(&two), false)).unwrap();
    let loose = site.simulator.loose_disks();
    assert_eq!(
        reconfigure(&site, &one, &add_disk(&loose[0], 1000, 7)).unwrap_err(),
        "InvalidDeviceSpec"
    );
    assert_eq!(
        reconfigure(&site, &one, &add_disk(&loose[0], 1000, 0)).unwrap_err(),
        "InvalidDeviceSpec"
    );
    assert_eq!(
        reconfigure(&site, &one, &add_disk(&loose[0], 4711, 0)).unwrap_err(),
        "InvalidController"
    );
    reconfigure(&site, &one, &add_disk(&loose[0], 1000, 8)).unwrap();
}

#[test]
fn an_empty_value_takes_an_option_away() {
    let site = Site::new();
    let vm = site.volume("v");
    let option = |value: &str| {
        format!(
            "<extraConfig><key>k</key><value xsi:type=\"xsd:string\">{value}</value></extraConfig>"
        )
    };
    reconfigure(&site, &vm, &option("1")).unwrap();
    let path = "config.extraConfig[&quot;k&quot;].value";
    let reply = site.client.property("VirtualMachine", &vm, path).unwrap();
    assert_eq!(element(&reply, "val").as_deref(), Some("1"));
    reconfigure(&site, &vm, &option("")).unwrap();
    assert_eq!(site.simulator.vm(&vm).unwrap().extra_config, []);
}

#[test]
fn a_destroyed_machine_takes_only_what_is_attached_to_it() {
    let site = Site::new();
    let vm = site.volume("v");
    site.simulator
        .add_file("datastore1", "v/notes.txt", "hello")
        .unwrap();
    reconfigure(&site, &vm, &remove_disk(site.key(&vm), false)).unwrap();
    site.client
        .task("Destroy_Task", "VirtualMachine", &vm, "")
        .unwrap();
    assert_eq!(
        site.simulator.files("datastore1"),
        ["v", "v/notes.txt", "v/v.vmdk"]
    );
    assert!(site.simulator.vm(&vm).is_none());
}

#[test]
fn a_machine_that_runs_is_not_destroyed() {
    let site = Site::new();
    let vm = site.volume("v");
    site.client
        .task("PowerOnVM_Task", "VirtualMachine", &vm, "")
        .unwrap();
    let fault = site
        .client
        .task("Destroy_Task", "VirtualMachine", &vm, "")
        .unwrap_err();
    assert_eq!(fault, "InvalidPowerState");
}

#[test]
fn a_moved_disk_keeps_its_uuid_and_a_copied_one_does_not() {
    let site = Site::new();
    let vm = site.volume("v");
    reconfigure(&site, &vm, &remove_disk(site.key(&vm), false)).unwrap();
    let names = |destination: &str| {
        format!(
            "<sourceName>[datastore1] v/v.vmdk</sourceName><destName>[datastore1] v/{destination}</destName>"
        )
    };
    let (uuid, ..) = site.simulator.disk_at("[datastore1] v/v.vmdk").unwrap();
    disk_manager(&site, "CopyVirtualDisk_Task", &names("copy.vmdk")).unwrap();
    let (copied, _, disk_type) = site.simulator.disk_at("[datastore1] v/copy.vmdk").unwrap();
    assert_ne!(copied, uuid);
    // What the API says of a copy without a spec.
    assert_eq!(disk_type, DiskType::Thick);
    disk_manager(&site, "MoveVirtualDisk_Task", &names("moved.vmdk")).unwrap();
    let (moved, _, disk_type) = site.simulator.disk_at("[datastore1] v/moved.vmdk").unwrap();
    assert_eq!((moved, disk_type), (uuid, DiskType::Thin));
}

#[test]
fn a_copy_does_not_overwrite() {
    let site = Site::new();
    let (one, two) = (site.volume("one"), site.volume("two"));
    let names = format!(
        "<sourceName>{}</sourceName><destName>{}</destName>",
        site.file(&one),
        site.file(&two)
    );
    assert_eq!(
        disk_manager(&site, "CopyVirtualDisk_Task", &names).unwrap_err(),
        "FileAlreadyExists"
    );
    let sums = (site.sum(&one), site.sum(&two));
    assert_ne!(sums.0, sums.1);
}

#[test]
fn disks_of_virtual_volumes_do_not_move() {
    let datastores = vec![DatastoreSpec::new(
        "datastore1",
        100 * MIB,
        DatastoreKind::Vvol,
    )];
    let site = Site::with(Options {
        datastores,
        ..options()
    });
    let vm = site.volume("v");
    reconfigure(&site, &vm, &remove_disk(site.key(&vm), false)).unwrap();
    let names =
        "<sourceName>[datastore1] v/v.vmdk</sourceName><destName>[datastore1] v/w.vmdk</destName>";
    assert_eq!(
        disk_manager(&site, "MoveVirtualDisk_Task", names).unwrap_err(),
        "NotSupported"
    );
}

#[test]
fn a_disk_that_grew_without_zeroing_is_eager_zeroed_no_more() {
    let site = Site::new();
    let extend = |vm: &str, eager: bool| {
        let arguments = format!(
            "<name>{}</name><newCapacityKb>8192</newCapacityKb><eagerZero>{eager}</eagerZero>",
            site.file(vm)
        );
        disk_manager(&site, "ExtendVirtualDisk_Task", &arguments).unwrap();
        site.simulator.vm(vm).unwrap().disks[0].disk_type
    };
    let volume = |name: &str| {
        let spec = VolumeSpec {
            disk_type: DiskType::EagerZeroedThick,
            ..VolumeSpec::new(name, 4 * MIB)
        };
        site.simulator.add_volume(&spec).unwrap()
    };
    assert_eq!(extend(&volume("lazy"), false), DiskType::Thick);
    assert_eq!(extend(&volume("eager"), true), DiskType::EagerZeroedThick);
}

#[test]
fn a_clone_holds_the_same_and_is_another() {
    let site = Site::new();
    let vm = site.volume("v");
    let arguments = format!(
        "<folder type=\"Folder\">{}</folder><name>c</name><spec><location><transform>flat</transform></location>\
         <template>false</template><powerOn>false</powerOn></spec>",
        site.vm_folder()
    );
    let clone = site
        .client
        .task("CloneVM_Task", "VirtualMachine", &vm, &arguments)
        .unwrap();
    assert_eq!(site.sum(&clone), site.sum(&vm));
    let (one, two) = (
        site.simulator.vm(&vm).unwrap(),
        site.simulator.vm(&clone).unwrap(),
    );
    assert_ne!(one.instance_uuid, two.instance_uuid);
    assert_ne!(one.disks[0].uuid, two.disks[0].uuid);
    assert_eq!(two.disks[0].disk_type, DiskType::Thick);
}

#[test]
fn a_machine_moves_to_another_datastore() {
    let site = Site::new();
    let vm = site.volume("v");
    let sum = site.sum(&vm);
    let host = site.client.only("HostSystem");
    let mounted = site
        .client
        .property("HostSystem", &host, "datastore")
        .unwrap();
    let second = mounted
        .rsplit("ManagedObjectReference\">")
        .next()
        .unwrap()
        .split('<')
        .next()
        .unwrap();
    let spec = format!("<spec><datastore type=\"Datastore\">{second}</datastore></spec>");
    site.client
        .task("RelocateVM_Task", "VirtualMachine", &vm, &spec)
        .unwrap();
    assert_eq!(site.file(&vm), "[datastore2] v/v.vmdk");
    assert_eq!(site.sum(&vm), sum);
    assert_eq!(site.simulator.files("datastore1"), Vec::<String>::new());
}

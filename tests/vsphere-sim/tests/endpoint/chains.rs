//! Disks that lie on others: snapshots and linked clones.

use crate::client::{MIB, Site, element};

const KIND: &str = "VirtualMachine";

fn backing_texts(site: &Site, vm: &str, name: &str) -> Vec<String> {
    let devices = site
        .client
        .property(KIND, vm, "config.hardware.device")
        .unwrap();
    let tag = format!("<{name}>");
    let parts = devices.split(&tag).skip(1);
    parts
        .map(|part| part.split('<').next().unwrap().to_owned())
        .collect()
}

fn files(site: &Site) -> Vec<String> {
    let mut files = site.simulator.files("datastore1");
    files.retain(|file| file.ends_with(".vmdk"));
    files
}

fn snapshot(site: &Site, vm: &str, name: &str) -> String {
    let arguments = format!("<name>{name}</name><memory>false</memory><quiesce>false</quiesce>");
    site.client
        .task("CreateSnapshot_Task", KIND, vm, &arguments)
        .unwrap()
}

fn remove(site: &Site, snapshot: &str, children: bool) {
    let arguments = format!("<removeChildren>{children}</removeChildren>");
    site.client
        .task(
            "RemoveSnapshot_Task",
            "VirtualMachineSnapshot",
            snapshot,
            &arguments,
        )
        .unwrap();
}

fn clone(site: &Site, vm: &str, name: &str, location: &str, more: &str) -> Result<String, String> {
    let arguments = format!(
        "<folder type=\"Folder\">{}</folder><name>{name}</name><spec><location>{location}</location>\
         <template>false</template><powerOn>false</powerOn>{more}</spec>",
        site.vm_folder()
    );
    site.client.task("CloneVM_Task", KIND, vm, &arguments)
}

const LINKED: &str = "<diskMoveType>createNewChildDiskBacking</diskMoveType>";

fn linked(site: &Site, vm: &str, name: &str, snapshot: &str) -> String {
    let more = format!("<snapshot type=\"VirtualMachineSnapshot\">{snapshot}</snapshot>");
    clone(site, vm, name, LINKED, &more).unwrap()
}

fn write(site: &Site, vm: &str, text: &[u8]) {
    let key = site.key(vm);
    site.simulator.write_disk(vm, key, 0, text).unwrap();
}

#[test]
fn a_snapshot_puts_a_delta_on_the_disk_and_its_removal_takes_it_off() {
    let site = Site::new();
    let vm = site.volume("v");
    let before = site.sum(&vm);
    let taken = snapshot(&site, &vm, "s");
    assert_eq!(
        backing_texts(&site, &vm, "fileName"),
        ["[datastore1] v/v-000001.vmdk", "[datastore1] v/v.vmdk"]
    );
    assert_eq!(
        backing_texts(&site, &vm, "deltaDiskFormat"),
        ["redoLogFormat"]
    );
    assert_eq!(site.sum(&vm), before);
    write(&site, &vm, b"later");
    let after = site.sum(&vm);
    assert_ne!(after, before);
    remove(&site, &taken, false);
    assert_eq!(
        backing_texts(&site, &vm, "fileName"),
        ["[datastore1] v/v.vmdk"]
    );
    assert_eq!(
        (site.sum(&vm), files(&site)),
        (after, vec!["v/v.vmdk".to_owned()])
    );
}

#[test]
fn an_export_of_a_snapshot_has_what_the_disk_held_then() {
    let site = Site::new();
    let vm = site.volume("v");
    let then = site.stream(&vm);
    let taken = snapshot(&site, &vm, "s");
    write(&site, &vm, b"later");
    let reply = site
        .client
        .call("ExportSnapshot", "VirtualMachineSnapshot", &taken, "")
        .unwrap();
    let lease = element(&reply, "returnval").unwrap();
    site.client
        .wait_for("HttpNfcLease", &lease, "state", &["ready"]);
    let (address, path) = site.device_url(&lease);
    let body = crate::http::request(address, "GET", &path, "", &[])
        .unwrap()
        .body;
    site.client
        .call("HttpNfcLeaseComplete", "HttpNfcLease", &lease, "")
        .unwrap();
    let grains = |stream: &[u8]| stream[stream.len() / 2..].to_vec();
    assert_eq!(grains(&body), grains(&then));
    assert_ne!(grains(&site.stream(&vm)), grains(&then));
}

#[test]
fn a_machine_goes_back_to_a_snapshot_and_on_from_there() {
    let site = Site::new();
    let vm = site.volume("v");
    let first = site.sum(&vm);
    let one = snapshot(&site, &vm, "one");
    write(&site, &vm, b"second");
    let second = site.sum(&vm);
    let two = snapshot(&site, &vm, "two");
    write(&site, &vm, b"third");
    let revert = |snapshot: &str| {
        site.client
            .task(
                "RevertToSnapshot_Task",
                "VirtualMachineSnapshot",
                snapshot,
                "",
            )
            .unwrap();
    };
    revert(&one);
    assert_eq!(site.sum(&vm), first);
    revert(&two);
    assert_eq!(site.sum(&vm), second);
    assert_eq!(site.simulator.vm(&vm).unwrap().disks[0].parents.len(), 2);
    remove(&site, &one, true);
    assert_eq!(site.sum(&vm), second);
    assert_eq!(files(&site), ["v/v.vmdk"]);
    assert!(site.simulator.loose_disks().is_empty());
}

#[test]
fn a_linked_clone_lies_on_its_source_and_outlives_it() {
    let site = Site::new();
    let vm = site.volume("v");
    let then = site.sum(&vm);
    // Nobody may write to what a clone lies on.
    let refused = clone(&site, &vm, "c", LINKED, "").unwrap_err();
    assert_eq!(refused, "InvalidArgument");
    let taken = snapshot(&site, &vm, "s");
    write(&site, &vm, b"later");
    let link = linked(&site, &vm, "c", &taken);
    let disk = &site.simulator.vm(&link).unwrap().disks[0];
    assert_eq!(disk.parents, ["[datastore1] v/v.vmdk"]);
    assert_eq!(site.sum(&link), then);
    // A full clone of the snapshot lies on nothing.
    let more = format!("<snapshot type=\"VirtualMachineSnapshot\">{taken}</snapshot>");
    let full = clone(&site, &vm, "f", "", &more).unwrap();
    assert!(
        site.simulator.vm(&full).unwrap().disks[0]
            .parents
            .is_empty()
    );
    assert_eq!(site.sum(&full), then);
    // The snapshot goes, the parent of the clone does not.
    remove(&site, &taken, false);
    assert_eq!(site.sum(&link), then);
    site.client.task("Destroy_Task", KIND, &vm, "").unwrap();
    assert_eq!(site.sum(&link), then);
    assert!(files(&site).contains(&"v/v.vmdk".to_owned()));
    site.client.task("Destroy_Task", KIND, &link, "").unwrap();
    assert_eq!(files(&site), ["f/f.vmdk"]);
}

#[test]
fn a_delta_is_copied_with_what_it_lies_on_and_is_not_extended() {
    let site = Site::new();
    let vm = site.volume("v");
    let link = site.simulator.add_linked_clone(&vm, "c").unwrap();
    write(&site, &link, b"own");
    let manager = ("VirtualDiskManager", "virtualDiskManager");
    let arguments = "<name>[datastore1] c/c.vmdk</name><newCapacityKb>8192</newCapacityKb>";
    let extended = site
        .client
        .task("ExtendVirtualDisk_Task", manager.0, manager.1, arguments);
    assert_eq!(extended.unwrap_err(), "NotSupported");
    let delete = "<name>[datastore1] v/v.vmdk</name>";
    let deleted = site
        .client
        .task("DeleteVirtualDisk_Task", manager.0, manager.1, delete);
    assert_eq!(deleted.unwrap_err(), "FileLocked");
    let full = clone(&site, &link, "f", "", "").unwrap();
    assert_eq!(site.sum(&full), site.sum(&link));
    assert_eq!(site.simulator.vm(&full).unwrap().disks[0].capacity, 4 * MIB);
    // A delta without its parent cannot be read.
    let unregister = |vm: &str| site.client.call("UnregisterVM", KIND, vm, "").unwrap();
    unregister(&vm);
    unregister(&full);
    let key = site.key(&link);
    site.simulator.remove_disk(&link, key).unwrap();
    site.client
        .task("DeleteVirtualDisk_Task", manager.0, manager.1, delete)
        .unwrap();
    let copy =
        "<sourceName>[datastore1] c/c.vmdk</sourceName><destName>[datastore1] c/d.vmdk</destName>";
    let copied = site
        .client
        .task("CopyVirtualDisk_Task", manager.0, manager.1, copy);
    assert_eq!(copied.unwrap_err(), "FileNotFound");
}

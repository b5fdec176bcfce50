//! Datastore files over HTTP, and the two names of a folder on vSAN.

use vsphere_sim::{DatastoreKind, DatastoreSpec, Options};

use crate::client::{MIB, Site, element, options};
use crate::http::request;

fn get(site: &Site, path: &str, headers: &str) -> crate::http::Reply {
    let path = format!("/folder/{path}?dcPath=DC0&dsName=datastore1");
    let headers = format!("Cookie: {}\r\n{headers}", site.client.cookie);
    request(site.simulator.address(), "GET", &path, &headers, b"").unwrap()
}

#[test]
fn a_file_is_read_as_a_whole_or_from_a_range() {
    let site = Site::new();
    site.simulator
        .add_file("datastore1", "f/notes.txt", "0123456789")
        .unwrap();
    assert_eq!(get(&site, "f/notes.txt", "").text(), "0123456789");
    let part = get(&site, "f/notes.txt", "Range: bytes=2-4\r\n");
    assert_eq!((part.status, part.text().as_str()), (206, "234"));
    assert_eq!(part.header("content-range"), Some("bytes 2-4/10"));
    assert_eq!(get(&site, "f/other.txt", "").status, 404);
}

#[test]
fn a_disk_has_a_descriptor_and_an_extent() {
    let site = Site::new();
    site.volume("v");
    assert!(
        get(&site, "v/v.vmdk", "")
            .text()
            .contains("RW 8192 VMFS \"v-flat.vmdk\"")
    );
    let part = get(&site, "v/v-flat.vmdk", "Range: bytes=1048576-1048578\r\n");
    assert_eq!((part.status, part.text().as_str()), (206, "vvv"));
    assert_eq!(get(&site, "v/v-flat.vmdk", "").body.len() as u64, 4 * MIB);
}

#[test]
fn a_file_is_not_read_without_a_session() {
    let mut site = Site::new();
    site.client.cookie.clear();
    assert_eq!(get(&site, "v/v.vmdk", "").status, 401);
}

fn put(site: &Site, path: &str, body: &[u8]) -> u16 {
    let path = format!("/folder/{path}?dcPath=DC0&dsName=datastore1");
    let headers = format!("Cookie: {}\r\n", site.client.cookie);
    let reply = request(site.simulator.address(), "PUT", &path, &headers, body);
    reply.unwrap().status
}

/// Has a disk made of a file on the datastore, as the backing of a new machine.
fn copy_disk(site: &Site, from: &str, to: &str) -> Result<String, String> {
    let arguments = format!(
        "<sourceName>[datastore1] {from}</sourceName><destName>[datastore1] {to}</destName>"
    );
    let manager = ("VirtualDiskManager", "virtualDiskManager");
    site.client
        .task("CopyVirtualDisk_Task", manager.0, manager.1, &arguments)
}

#[test]
fn a_stream_that_was_put_there_becomes_a_disk_when_it_is_copied() {
    let site = Site::new();
    let stream = site.stream(&site.volume("v"));
    assert_eq!(put(&site, "v/stream.vmdk", &stream), 201);
    copy_disk(&site, "v/stream.vmdk", "v/copy.vmdk").unwrap();
    assert_eq!(
        get(&site, "v/copy-flat.vmdk", "").body,
        get(&site, "v/v-flat.vmdk", "").body
    );
}

#[test]
fn what_was_put_there_and_is_no_stream_becomes_no_disk() {
    let site = Site::new();
    let stream = site.stream(&site.volume("v"));
    put(&site, "v/stream.vmdk", &stream[..stream.len() - 512]);
    let error = copy_disk(&site, "v/stream.vmdk", "v/copy.vmdk").unwrap_err();
    assert_eq!(error, "InvalidFormat");
    assert_eq!(get(&site, "v/copy.vmdk", "").status, 404);
}

#[test]
fn a_file_is_not_put_in_the_place_of_another() {
    let site = Site::new();
    site.volume("v");
    assert_eq!(put(&site, "v/v.vmdk", b"x"), 409);
}

#[test]
fn a_disk_on_vsan_is_told_by_its_internal_name_and_found_by_both() {
    let datastores = vec![DatastoreSpec::new(
        "datastore1",
        100 * MIB,
        DatastoreKind::Vsan,
    )];
    let site = Site::with(Options {
        datastores,
        ..options()
    });
    let vm = site.volume("v");
    let config = site
        .client
        .property("VirtualMachine", &vm, "config.hardware.device")
        .unwrap();
    let told = element(&config, "fileName").unwrap();
    assert_ne!(told, "[datastore1] v/v.vmdk");
    let uuid = |path: &str| {
        let arguments = format!("<name>{path}</name>");
        let manager = ("VirtualDiskManager", "virtualDiskManager");
        site.client
            .call("QueryVirtualDiskUuid", manager.0, manager.1, &arguments)
            .unwrap()
    };
    assert_eq!(uuid(&told), uuid("[datastore1] v/v.vmdk"));
}

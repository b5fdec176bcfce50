//! Leases and the bytes that flow under them.

use std::time::Duration;

use vsphere_sim::{DiskType, Options};

use crate::client::{Site, THIN, element, import_spec, options, wildcard};
use crate::http::request;

#[test]
fn what_is_exported_can_be_imported_and_holds_the_same() {
    let site = Site::new();
    let vm = site.volume("v");
    let stream = site.stream(&vm);
    let lease = site.import("imported", THIN);
    assert_eq!(site.upload(&lease, &stream).unwrap().status, 200);
    site.client
        .call("HttpNfcLeaseComplete", "HttpNfcLease", &lease, "")
        .unwrap();
    let imported = site.simulator.find_vm("imported").unwrap();
    assert_eq!(site.sum(&imported.moref), site.sum(&vm));
    assert_eq!(imported.disks[0].disk_type, DiskType::Thin);
    assert!(!imported.locked);
    assert_eq!(site.simulator.open_leases(), 0);
}

#[test]
fn an_export_that_was_kept_is_that_of_the_disk_as_it_is() {
    let site = Site::with(Options {
        keep_exports: true,
        ..options()
    });
    let vm = site.volume("v");
    let first = site.stream(&vm);
    assert_eq!(site.stream(&vm), first);
    site.simulator
        .write_disk(&vm, site.key(&vm), 0, b"changed")
        .unwrap();
    let lease = site.import("imported", THIN);
    site.upload(&lease, &site.stream(&vm)).unwrap();
    let imported = site.simulator.find_vm("imported").unwrap();
    assert_eq!(site.sum(&imported.moref), site.sum(&vm));
}

#[test]
fn a_kept_export_has_its_manifest() {
    let site = Site::with(Options {
        keep_exports: true,
        ..options()
    });
    let vm = site.volume("v");
    let manifest = || {
        let lease = site.export(&vm);
        let (address, path) = site.device_url(&lease);
        request(address, "GET", &path, "", &[]).unwrap();
        let call = ("HttpNfcLease", lease.as_str());
        let told = site
            .client
            .call("HttpNfcLeaseGetManifest", call.0, call.1, "");
        site.client
            .call("HttpNfcLeaseComplete", call.0, call.1, "")
            .unwrap();
        element(&told.unwrap(), "sha1").unwrap()
    };
    assert_eq!(manifest(), manifest());
}

#[test]
fn an_imported_disk_is_of_the_type_that_the_options_say() {
    let site = Site::with(Options {
        import_disk_type: Some(DiskType::EagerZeroedThick),
        ..options()
    });
    let stream = site.stream(&site.volume("v"));
    let lease = site.import("imported", THIN);
    site.upload(&lease, &stream).unwrap();
    assert_eq!(
        site.simulator.find_vm("imported").unwrap().disks[0].disk_type,
        DiskType::EagerZeroedThick
    );
}

#[test]
fn a_put_makes_a_thin_disk_thick() {
    let site = Site::new();
    let stream = site.stream(&site.volume("v"));
    let lease = site.import("imported", THIN);
    let (address, path) = site.device_url(&lease);
    assert_eq!(
        request(address, "PUT", &path, "", &stream).unwrap().status,
        200
    );
    assert_eq!(
        site.simulator.find_vm("imported").unwrap().disks[0].disk_type,
        DiskType::Thick
    );
}

#[test]
fn a_post_of_another_content_type_is_refused() {
    let site = Site::new();
    let lease = site.import("imported", THIN);
    let (address, path) = site.device_url(&lease);
    assert_eq!(
        request(address, "POST", &path, "Content-Type: text/plain\r\n", b"x")
            .unwrap()
            .status,
        415
    );
}

#[test]
fn the_endpoint_carries_the_data_where_urls_name_no_host() {
    let site = Site::with(wildcard());
    let vm = site.volume("v");
    let lease = site.export(&vm);
    let info = site
        .client
        .property("HttpNfcLease", &lease, "info")
        .unwrap();
    assert!(
        element(&info, "url").unwrap().starts_with("http://*/nfc/"),
        "{info}"
    );
    assert_eq!(site.device_url(&lease).0, site.simulator.address());
}

#[test]
fn a_ticket_is_good_at_its_own_host_only() {
    let site = Site::new();
    let lease = site.export(&site.volume("v"));
    let (address, path) = site.device_url(&lease);
    let hosts = [0, 1].map(|index| site.simulator.data_host_address(index).unwrap());
    let other = hosts.into_iter().find(|host| *host != address).unwrap();
    assert_eq!(request(other, "GET", &path, "", b"").unwrap().status, 404);
    assert_eq!(request(address, "GET", &path, "", b"").unwrap().status, 200);
}

#[test]
fn a_lease_keeps_others_from_its_machine() {
    let site = Site::new();
    let vm = site.volume("v");
    let lease = site.export(&vm);
    let calls = [
        ("PowerOnVM_Task", ""),
        ("Destroy_Task", ""),
        ("ExportVm", ""),
        ("ReconfigVM_Task", "<spec></spec>"),
    ];
    for (method, arguments) in calls {
        let fault = site
            .client
            .call(method, "VirtualMachine", &vm, arguments)
            .unwrap_err();
        assert_eq!(fault, "TaskInProgress", "{method}");
    }
    site.client
        .call("HttpNfcLeaseAbort", "HttpNfcLease", &lease, "")
        .unwrap();
    site.client
        .task("Destroy_Task", "VirtualMachine", &vm, "")
        .unwrap();
}

#[test]
fn a_machine_that_runs_is_not_exported() {
    let site = Site::new();
    let vm = site.volume("v");
    site.simulator.set_power(&vm, true).unwrap();
    let fault = site
        .client
        .call("ExportVm", "VirtualMachine", &vm, "")
        .unwrap_err();
    assert_eq!(fault, "InvalidPowerState");
}

#[test]
fn a_raw_device_mapping_is_not_exported() {
    let site = Site::new();
    let vm = site.volume("v");
    site.simulator
        .change_disk(&vm, site.key(&vm), true, false)
        .unwrap();
    assert_eq!(
        site.client
            .call("ExportVm", "VirtualMachine", &vm, "")
            .unwrap_err(),
        "NotSupported"
    );
}

#[test]
fn an_import_is_not_complete_before_its_upload() {
    let site = Site::new();
    let lease = site.import("imported", THIN);
    let fault = site
        .client
        .call("HttpNfcLeaseComplete", "HttpNfcLease", &lease, "")
        .unwrap_err();
    assert_eq!(fault, "InvalidState");
}

#[test]
fn an_aborted_import_leaves_nothing() {
    let site = Site::new();
    let lease = site.import("imported", THIN);
    site.client
        .call("HttpNfcLeaseAbort", "HttpNfcLease", &lease, "")
        .unwrap();
    assert!(site.simulator.vms().is_empty());
    assert_eq!(site.simulator.files("datastore1"), Vec::<String>::new());
    assert_eq!(site.simulator.leases()[0].state, "error");
}

#[test]
fn a_lease_that_nobody_renews_is_taken_back() {
    let site = Site::new();
    let lease = site.import("imported", THIN);
    site.simulator.advance_clock(Duration::from_secs(299));
    site.client
        .call(
            "HttpNfcLeaseProgress",
            "HttpNfcLease",
            &lease,
            "<percent>0</percent>",
        )
        .unwrap();
    site.simulator.advance_clock(Duration::from_secs(299));
    assert_eq!(site.simulator.open_leases(), 1);
    site.simulator.advance_clock(Duration::from_secs(2));
    assert_eq!(site.simulator.open_leases(), 0);
    assert!(site.simulator.vms().is_empty());
    let fault = site.client.call(
        "HttpNfcLeaseProgress",
        "HttpNfcLease",
        &lease,
        "<percent>0</percent>",
    );
    assert_eq!(fault.unwrap_err(), "Timedout");
}

#[test]
fn the_end_of_a_session_ends_its_leases() {
    let mut site = Site::new();
    let vm = site.volume("v");
    let lease = site.export(&vm);
    site.simulator.expire_sessions();
    site.client.cookie.clear();
    site.client
        .login("administrator@vsphere.local", "secret")
        .unwrap();
    let fault = site
        .client
        .property("HttpNfcLease", &lease, "state")
        .unwrap_err();
    assert_eq!(fault, "ManagedObjectNotFound");
    assert!(!site.simulator.vm(&vm).unwrap().locked);
}

#[test]
fn leases_outlive_their_session_where_so_chosen() {
    let mut site = Site::with(Options {
        leases_survive_sessions: true,
        ..options()
    });
    let lease = site.export(&site.volume("v"));
    site.simulator.expire_sessions();
    site.client.cookie.clear();
    site.client
        .login("administrator@vsphere.local", "secret")
        .unwrap();
    let state = site
        .client
        .property("HttpNfcLease", &lease, "state")
        .unwrap();
    assert_eq!(element(&state, "val").as_deref(), Some("ready"));
}

#[test]
fn a_stream_that_is_broken_fails_the_lease() {
    let site = Site::new();
    let mut stream = site.stream(&site.volume("v"));
    let middle = stream.len() / 2;
    stream.truncate(middle);
    let lease = site.import("imported", THIN);
    assert_eq!(site.upload(&lease, &stream).unwrap().status, 500);
    let state = site
        .client
        .property("HttpNfcLease", &lease, "state")
        .unwrap();
    assert_eq!(element(&state, "val").as_deref(), Some("error"));
    assert!(site.simulator.find_vm("imported").is_none());
}

#[test]
fn a_client_that_sends_nonsense_for_long_still_sees_the_answer() {
    let site = Site::new();
    let lease = site.import("imported", THIN);
    let reply = site.upload(&lease, &vec![7; 32 << 20]).unwrap();
    assert_eq!(reply.status, 500);
    assert!(
        reply.text().contains("Failed to import the disk"),
        "{}",
        reply.text()
    );
}

#[test]
fn a_manifest_tells_what_flowed() {
    let site = Site::new();
    let lease = site.export(&site.volume("v"));
    let manifest = || {
        site.client
            .call("HttpNfcLeaseGetManifest", "HttpNfcLease", &lease, "")
            .unwrap()
    };
    assert_eq!(element(&manifest(), "key"), None);
    let (address, path) = site.device_url(&lease);
    let stream = request(address, "GET", &path, "", b"").unwrap().body;
    let told = manifest();
    assert_eq!(element(&told, "size"), Some(stream.len().to_string()));
    assert_eq!(element(&told, "capacity").as_deref(), Some("4194304"));
    assert_eq!(element(&told, "sha1").unwrap().len(), 40);
    let key = element(&told, "key").unwrap();
    let types = format!(
        "<deviceUrlsToChecksumTypes><key>{key}</key><value>sha256</value></deviceUrlsToChecksumTypes>"
    );
    site.client
        .call(
            "HttpNfcLeaseSetManifestChecksumType",
            "HttpNfcLease",
            &lease,
            &types,
        )
        .unwrap();
    assert_eq!(element(&manifest(), "checksum").unwrap().len(), 64);
}

#[test]
fn a_disk_that_does_not_fit_is_not_imported() {
    let site = Site::new();
    let stream = site.stream(&site.volume("v"));
    let lease = site.import("imported", THIN);
    site.simulator
        .set_datastore("datastore1", true, false, Some(100))
        .unwrap();
    assert_eq!(site.upload(&lease, &stream).unwrap().status, 500);
    assert_eq!(
        site.simulator
            .leases()
            .iter()
            .filter_map(|lease| lease.error.clone())
            .next()
            .as_deref(),
        Some("NoDiskSpace")
    );
}

#[test]
fn an_import_beside_a_machine_of_that_name_is_refused() {
    let site = Site::new();
    site.volume("v");
    let arguments = import_spec(&site, "v", THIN);
    let fault = site
        .client
        .call("ImportVApp", "ResourcePool", &site.pool(), &arguments)
        .unwrap_err();
    assert_eq!(fault, "DuplicateName");
}

//! What a user may not do, or not see.

use vsphere_sim::Options;

use crate::client::{Site, element, options};

#[test]
fn a_call_without_its_privilege_is_refused() {
    let site = Site::with(Options {
        denied_privileges: vec!["VApp.Export".to_owned()],
        ..options()
    });
    let vm = site.volume("v");
    assert_eq!(
        site.client
            .call("ExportVm", "VirtualMachine", &vm, "")
            .unwrap_err(),
        "NoPermission"
    );
    assert_eq!(site.simulator.open_leases(), 0);
}

#[test]
fn a_property_that_may_not_be_read_is_missing() {
    let site = Site::with(Options {
        forbidden_paths: vec!["VirtualMachine.config".to_owned()],
        ..options()
    });
    let vm = site.volume("v");
    let reply = site
        .client
        .property("VirtualMachine", &vm, "config.hardware.device")
        .unwrap();
    assert!(
        reply.contains("<fault xsi:type=\"NoPermission\">"),
        "{reply}"
    );
    let name = site.client.property("VirtualMachine", &vm, "name").unwrap();
    assert_eq!(element(&name, "val").as_deref(), Some("v"));
}

//! The fault plan: what was planned happens, there and nowhere else.

use std::time::Duration;

use vsphere_sim::{DataTrouble, Fault, Gate, Trouble};

use crate::client::{Site, THIN, element};
use crate::http::request;

const LIMIT: Duration = Duration::from_secs(20);

fn current_time(site: &Site) -> std::io::Result<crate::http::Reply> {
    site.client
        .soap("CurrentTime", "ServiceInstance", "ServiceInstance", "")
}

#[test]
fn a_call_fails_with_the_fault_once() {
    let site = Site::new();
    let fault = Fault::new("HostCommunication", "no way there");
    site.simulator
        .faults()
        .on_call("CurrentTime", 2, Trouble::Fault(fault));
    let statuses: Vec<u16> = (0..3)
        .map(|_| current_time(&site).unwrap().status)
        .collect();
    assert_eq!(statuses, [200, 500, 200]);
    assert_eq!(site.simulator.faults().fired(), 1);
}

#[test]
fn a_reply_is_lost_after_its_effect() {
    let site = Site::new();
    site.simulator
        .faults()
        .on_call("CreateFolder", 1, Trouble::ReplyLost);
    let folder = site.vm_folder();
    assert!(
        site.client
            .soap("CreateFolder", "Folder", &folder, "<name>f</name>")
            .is_err()
    );
    let fault = site
        .client
        .call("CreateFolder", "Folder", &folder, "<name>f</name>")
        .unwrap_err();
    assert_eq!(fault, "DuplicateName");
}

#[test]
fn a_connection_that_is_closed_or_reset_has_had_no_effect() {
    for trouble in [Trouble::Close, Trouble::Reset] {
        let site = Site::new();
        site.simulator.faults().on_call("CreateFolder", 1, trouble);
        let folder = site.vm_folder();
        assert!(
            site.client
                .soap("CreateFolder", "Folder", &folder, "<name>f</name>")
                .is_err()
        );
        site.client
            .call("CreateFolder", "Folder", &folder, "<name>f</name>")
            .unwrap();
    }
}

#[test]
fn a_status_of_http_stands_for_the_answer() {
    let site = Site::new();
    for status in [401, 429, 500, 502, 503] {
        site.simulator
            .faults()
            .on_call("CurrentTime", 1, Trouble::Status(status));
        assert_eq!(current_time(&site).unwrap().status, status);
    }
}

#[test]
fn a_page_of_html_stands_for_the_answer() {
    let site = Site::new();
    site.simulator.faults().on_any_call(1, Trouble::Html);
    let reply = current_time(&site).unwrap();
    assert_eq!(
        (reply.status, reply.header("content-type")),
        (200, Some("text/html"))
    );
}

#[test]
fn an_answer_breaks_off_though_http_says_it_is_whole() {
    let site = Site::new();
    site.simulator
        .faults()
        .on_call("CurrentTime", 1, Trouble::TruncatedXml);
    let reply = current_time(&site).unwrap();
    assert!(reply.whole);
    assert!(!reply.text().contains("</soapenv:Envelope>"));
}

#[test]
fn a_session_is_lost_in_the_middle() {
    let site = Site::new();
    site.simulator
        .faults()
        .on_call("CurrentTime", 1, Trouble::LoseSession);
    assert!(
        current_time(&site)
            .unwrap()
            .text()
            .contains("NotAuthenticatedFault")
    );
    assert_eq!(site.simulator.sessions(), 0);
}

#[test]
fn a_call_waits_at_its_gate() {
    let site = Site::new();
    let gate = Gate::new();
    site.simulator
        .faults()
        .on_call("CurrentTime", 1, Trouble::Hold(gate.clone()));
    std::thread::scope(|scope| {
        let call = scope.spawn(|| current_time(&site).unwrap().status);
        assert!(gate.wait_for_arrival(LIMIT));
        assert!(!call.is_finished());
        gate.open();
        assert_eq!(call.join().unwrap(), 200);
    });
}

#[test]
fn a_task_fails_before_or_after_its_effect() {
    let site = Site::new();
    let vm = site.volume("v");
    let fault = Fault::planned("GenericVmConfigFault");
    let reconfigure = |value: &str| {
        let spec = format!(
            "<spec><extraConfig><key>k</key><value xsi:type=\"xsd:string\">{value}</value></extraConfig></spec>"
        );
        site.client
            .task("ReconfigVM_Task", "VirtualMachine", &vm, &spec)
    };
    site.simulator
        .faults()
        .on_task("ReconfigVM_Task", 1, Trouble::Fault(fault.clone()));
    assert_eq!(reconfigure("1").unwrap_err(), "GenericVmConfigFault");
    assert_eq!(site.simulator.vm(&vm).unwrap().extra_config, []);
    site.simulator
        .faults()
        .on_task("ReconfigVM_Task", 1, Trouble::FaultAfter(fault));
    assert_eq!(reconfigure("2").unwrap_err(), "GenericVmConfigFault");
    assert_eq!(
        site.simulator.vm(&vm).unwrap().extra_config,
        [("k".to_owned(), "2".to_owned())]
    );
}

#[test]
fn a_lease_fails_on_its_way_to_ready() {
    let site = Site::new();
    let vm = site.volume("v");
    site.simulator.faults().on_task(
        "HttpNfcLease",
        1,
        Trouble::Fault(Fault::planned("HostNotConnected")),
    );
    let lease = site.export(&vm);
    let state = site
        .client
        .property("HttpNfcLease", &lease, "state")
        .unwrap();
    assert_eq!(element(&state, "val").as_deref(), Some("error"));
    assert!(!site.simulator.vm(&vm).unwrap().locked);
}

/// The stream of an export with something wrong, beside a good one of the same length.
fn exported(trouble: Trouble) -> (crate::http::Reply, usize) {
    let site = Site::new();
    let vm = site.volume("v");
    let length = site.stream(&vm).len();
    site.simulator.faults().on_export(1, trouble);
    let lease = site.export(&vm);
    let (address, path) = site.device_url(&lease);
    (request(address, "GET", &path, "", b"").unwrap(), length)
}

#[test]
fn an_export_is_cut_where_it_was_planned() {
    for trouble in [DataTrouble::Close, DataTrouble::Reset] {
        let (reply, length) = exported(Trouble::Data(70_000, trouble));
        assert!(length > 70_000);
        assert!(!reply.whole);
        assert!(reply.body.len() <= 70_000, "{}", reply.body.len());
    }
}

#[test]
fn an_export_ends_early_as_if_it_were_whole() {
    let (reply, _) = exported(Trouble::Data(70_000, DataTrouble::End));
    assert!(reply.whole);
    assert_eq!(reply.body.len(), 70_000);
}

#[test]
fn an_export_is_longer_than_it_should_be() {
    let (reply, length) = exported(Trouble::Data(0, DataTrouble::TooLong(5)));
    assert!(reply.whole);
    assert_eq!(reply.body.len(), length + 5);
}

#[test]
fn an_export_announces_another_length() {
    let (reply, length) = exported(Trouble::Data(0, DataTrouble::ContentLength(10_000_000)));
    assert_eq!(reply.header("content-length"), Some("10000000"));
    assert!(!reply.whole);
    assert_eq!(reply.body.len(), length);
}

#[test]
fn one_bit_of_an_export_is_flipped() {
    let site = Site::new();
    let vm = site.volume("v");
    let get = || {
        let lease = site.export(&vm);
        let (address, path) = site.device_url(&lease);
        let body = request(address, "GET", &path, "", b"").unwrap().body;
        site.client
            .call("HttpNfcLeaseComplete", "HttpNfcLease", &lease, "")
            .unwrap();
        body
    };
    let good = get();
    site.simulator
        .faults()
        .on_export(1, Trouble::Data(70_000, DataTrouble::Flip));
    let bad = get();
    let different: Vec<usize> = (0..good.len()).filter(|at| good[*at] != bad[*at]).collect();
    // Grain tables carry stale bytes after the fields of their markers, which differ between exports.
    assert!(different.contains(&70_000), "{different:?}");
    assert_eq!(good[70_000] ^ bad[70_000], 1);
}

#[test]
fn an_export_stalls_until_its_gate_is_opened() {
    let site = Site::new();
    let vm = site.volume("v");
    let gate = Gate::new();
    site.simulator
        .faults()
        .on_export(1, Trouble::Data(70_000, DataTrouble::Stall(gate.clone())));
    let lease = site.export(&vm);
    let (address, path) = site.device_url(&lease);
    std::thread::scope(|scope| {
        let transfer = scope.spawn(|| request(address, "GET", &path, "", b"").unwrap());
        assert!(gate.wait_for_arrival(LIMIT));
        assert!(!transfer.is_finished());
        gate.open();
        assert!(transfer.join().unwrap().whole);
    });
}

#[test]
fn a_stalled_export_ends_with_its_lease() {
    let site = Site::new();
    let vm = site.volume("v");
    let gate = Gate::new();
    site.simulator
        .faults()
        .on_export(1, Trouble::Data(70_000, DataTrouble::Stall(gate.clone())));
    let lease = site.export(&vm);
    let (address, path) = site.device_url(&lease);
    std::thread::scope(|scope| {
        let transfer = scope.spawn(|| request(address, "GET", &path, "", b"").unwrap());
        assert!(gate.wait_for_arrival(LIMIT));
        site.simulator.advance_clock(Duration::from_secs(301));
        assert!(!transfer.join().unwrap().whole);
    });
}

#[test]
fn an_import_is_cut_and_can_be_sent_again() {
    let site = Site::new();
    let vm = site.volume("v");
    let stream = site.stream(&vm);
    let lease = site.import("imported", THIN);
    for trouble in [DataTrouble::Close, DataTrouble::Reset] {
        site.simulator
            .faults()
            .on_import(1, Trouble::Data(1000, trouble));
        assert!(site.upload(&lease, &stream).is_err());
    }
    assert_eq!(site.upload(&lease, &stream).unwrap().status, 200);
    site.client
        .call("HttpNfcLeaseComplete", "HttpNfcLease", &lease, "")
        .unwrap();
    let imported = site.simulator.find_vm("imported").unwrap();
    assert_eq!(site.sum(&imported.moref), site.sum(&vm));
}

#[test]
fn an_import_that_was_answered_too_early_is_not_complete() {
    let site = Site::new();
    let stream = site.stream(&site.volume("v"));
    let lease = site.import("imported", THIN);
    site.simulator
        .faults()
        .on_import(1, Trouble::Data(1000, DataTrouble::Answer(200)));
    site.upload(&lease, &stream).unwrap();
    let fault = site
        .client
        .call("HttpNfcLeaseComplete", "HttpNfcLease", &lease, "")
        .unwrap_err();
    assert_eq!(fault, "InvalidState");
}

#[test]
fn an_import_is_stored_though_its_answer_is_lost() {
    let site = Site::new();
    let stream = site.stream(&site.volume("v"));
    let lease = site.import("imported", THIN);
    site.simulator.faults().on_import(1, Trouble::ReplyLost);
    assert!(site.upload(&lease, &stream).is_err());
    site.client
        .call("HttpNfcLeaseComplete", "HttpNfcLease", &lease, "")
        .unwrap();
}

#[test]
fn a_flipped_bit_of_an_import_does_not_go_unnoticed() {
    let site = Site::new();
    let stream = site.stream(&site.volume("v"));
    let lease = site.import("imported", THIN);
    // Within the first grain's compressed bytes.
    site.simulator
        .faults()
        .on_import(1, Trouble::Data(65_600, DataTrouble::Flip));
    assert_eq!(site.upload(&lease, &stream).unwrap().status, 500);
}

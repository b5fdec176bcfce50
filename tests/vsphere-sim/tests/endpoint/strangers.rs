//! What clients of other makers send and rely on: govmomi, oslo.vmware, pyVmomi.

use crate::client::{MIB, Site, element};
use crate::http::{Reply, request};

fn folder(site: &Site, method: &str, path: &str, body: &[u8]) -> Reply {
    let path = format!("/folder/{path}?dcPath=DC0&dsName=datastore1");
    let headers = format!("Cookie: {}\r\n", site.client.cookie);
    request(site.simulator.address(), method, &path, &headers, body).unwrap()
}

fn file_task(site: &Site, method: &str, from: &str, to: &str) -> Result<String, String> {
    let arguments = format!(
        "<sourceName>[datastore1] {from}</sourceName><destinationName>[datastore1] {to}</destinationName>"
    );
    site.client
        .task(method, "FileManager", "FileManager", &arguments)
}

#[test]
fn the_type_of_a_value_needs_no_declared_prefix() {
    let site = Site::new();
    let vm = site.volume("v");
    let body = format!(
        "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>\
         <ReconfigVM_Task xmlns=\"urn:vim25\"><_this type=\"VirtualMachine\">{vm}</_this><spec>\
         <extraConfig><key>a.b</key>\
         <value xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\" i:type=\"xsd:string\">c</value></extraConfig>\
         </spec></ReconfigVM_Task></s:Body></s:Envelope>"
    );
    let reply = site.client.post(&body).unwrap().text();
    let task = element(&reply, "returnval").unwrap();
    let state = ["success", "error"];
    assert_eq!(
        site.client.wait_for("Task", &task, "info.state", &state),
        "success"
    );
    let config = site
        .client
        .property("VirtualMachine", &vm, "config.extraConfig")
        .unwrap();
    assert!(config.contains("<key>a.b</key><value xsi:type=\"xsd:string\">c</value>"));
}

#[test]
fn a_version_that_was_never_published_is_refused() {
    let site = Site::new();
    let body = "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>\
                <RetrieveServiceContent xmlns=\"urn:vim25\"><_this type=\"ServiceInstance\">ServiceInstance</_this>\
                </RetrieveServiceContent></s:Body></s:Envelope>";
    let asked = |action: &str| {
        let headers = format!("Content-Type: text/xml\r\nSOAPAction: \"{action}\"\r\n");
        let address = site.simulator.address();
        request(address, "POST", "/sdk", &headers, body.as_bytes()).unwrap()
    };
    for action in ["urn:vim25", "urn:vim25/5.5", "urn:vim25/8.0.2.0"] {
        assert_eq!(asked(action).status, 200, "{action}");
    }
    for action in ["urn:vim25/99.0", "urn:vim25/8.9", "urn:pbm/2.0", ""] {
        let reply = asked(action);
        assert_eq!(reply.status, 500, "{action}");
        let code = element(&reply.text(), "faultcode").unwrap();
        assert_eq!(code, "VersionMismatchFaultCode", "{action}");
    }
}

#[test]
fn what_is_copied_but_is_not_there_is_a_fault_and_no_end() {
    let site = Site::new();
    site.simulator
        .add_file("datastore1", "f/a", "text")
        .unwrap();
    for (from, fault) in [("f/b", "FileNotFound"), ("f", "FileNotFound")] {
        let copied = file_task(&site, "CopyDatastoreFile_Task", from, "f/c");
        assert_eq!(copied.unwrap_err(), fault, "{from}");
    }
    // The simulator still answers.
    file_task(&site, "CopyDatastoreFile_Task", "f/a", "f/c").unwrap();
    assert_eq!(folder(&site, "GET", "f/c", b"").text(), "text");
}

#[test]
fn what_was_put_there_is_read_copied_and_replaced() {
    let site = Site::new();
    site.volume("v");
    assert_eq!(folder(&site, "PUT", "v/notes", b"one").status, 201);
    assert_eq!(folder(&site, "GET", "v/notes", b"").text(), "one");
    file_task(&site, "CopyDatastoreFile_Task", "v/notes", "v/copy").unwrap();
    assert_eq!(folder(&site, "PUT", "v/notes", b"another").status, 200);
    assert_eq!(folder(&site, "GET", "v/notes", b"").text(), "another");
    assert_eq!(folder(&site, "GET", "v/copy", b"").text(), "one");
    file_task(&site, "MoveDatastoreFile_Task", "v/copy", "v/moved").unwrap();
    assert_eq!(folder(&site, "GET", "v/copy", b"").status, 404);
    assert_eq!(folder(&site, "GET", "v/moved", b"").text(), "one");
}

#[test]
fn a_disks_extent_is_replaced_by_what_is_put_in_its_place() {
    let site = Site::new();
    let vm = site.volume("v");
    let extent = vec![7; 4 * MIB as usize];
    // Not while a machine has it.
    assert_eq!(folder(&site, "PUT", "v/v-flat.vmdk", &extent).status, 409);
    let arguments = "<name>[datastore1] v/free.vmdk</name><spec xsi:type=\"FileBackedVirtualDiskSpec\">\
                     <diskType>thin</diskType><adapterType>lsiLogic</adapterType><capacityKb>4096</capacityKb></spec>";
    let manager = ("VirtualDiskManager", "virtualDiskManager");
    let create = "CreateVirtualDisk_Task";
    site.client
        .task(create, manager.0, manager.1, arguments)
        .unwrap();
    assert_eq!(
        folder(&site, "PUT", "v/free-flat.vmdk", &extent).status,
        200
    );
    assert_eq!(folder(&site, "GET", "v/free-flat.vmdk", b"").body, extent);
    assert_eq!(
        folder(&site, "PUT", "v/free-flat.vmdk", b"short").status,
        409
    );
    let arguments = "<name>[datastore1] v/free-flat.vmdk</name>";
    let manager = ("FileManager", "FileManager");
    site.client
        .task("DeleteDatastoreFile_Task", manager.0, manager.1, arguments)
        .unwrap();
    let body = folder(&site, "GET", "v/free-flat.vmdk", b"").body;
    assert!(body.iter().all(|byte| *byte == 0));
    assert_eq!(site.simulator.vm(&vm).unwrap().disks.len(), 1);
}

#[test]
fn a_listing_tells_what_it_is_asked_for() {
    let site = Site::new();
    site.volume("v");
    folder(&site, "PUT", "v/a.iso", b"1234");
    let datastore = site.client.only("Datastore");
    let list = |details: &str| {
        let arguments = format!(
            "<datastorePath>[datastore1] v</datastorePath><searchSpec>{details}</searchSpec>"
        );
        let browser = format!("datastoreBrowser-{datastore}");
        site.client
            .task(
                "SearchDatastore_Task",
                "HostDatastoreBrowser",
                &browser,
                &arguments,
            )
            .unwrap()
    };
    let all = list(
        "<details><fileType>true</fileType><fileSize>true</fileSize><modification>true</modification>\
         <fileOwner>true</fileOwner></details>",
    );
    assert!(all.contains("xsi:type=\"IsoImageFileInfo\""), "{all}");
    assert!(
        all.contains("<fileSize>4</fileSize><modification>20"),
        "{all}"
    );
    let files = all.matches("<path>").count();
    assert_eq!(all.matches("<modification>").count(), files, "{all}");
    let bare = list("");
    assert!(!bare.contains("<modification>") && !bare.contains("<fileSize>"));
}

#[test]
fn a_complete_version_may_be_passed_again_and_another_only_once() {
    let site = Site::new();
    let names = ["a", "b", "c"].map(|name| site.volume(name));
    let collector = ("PropertyCollector", "propertyCollector");
    let set =
        |vm: &String| format!("<objectSet><obj type=\"VirtualMachine\">{vm}</obj></objectSet>");
    let filter = format!(
        "<spec><propSet><type>VirtualMachine</type><pathSet>runtime.powerState</pathSet></propSet>{}</spec>\
         <partialUpdates>false</partialUpdates>",
        names.iter().map(set).collect::<String>()
    );
    site.client
        .call("CreateFilter", collector.0, collector.1, &filter)
        .unwrap();
    let ask = |method: &str, version: &str, options: &str| {
        let arguments = format!("<version>{version}</version>{options}");
        site.client
            .call(method, collector.0, collector.1, &arguments)
    };
    let wait = |version: &str, most: u32| {
        let options = format!(
            "<options><maxWaitSeconds>0</maxWaitSeconds><maxObjectUpdates>{most}</maxObjectUpdates></options>"
        );
        ask("WaitForUpdatesEx", version, &options)
    };
    let version_of = |reply: &str| element(reply, "version").unwrap();
    let updates = |reply: &str| reply.matches("<kind>").count();

    let half = wait("", 2).unwrap();
    let truncated = version_of(&half);
    // The older call does not resume.
    let refused = ask("CheckForUpdates", &truncated, "").unwrap_err();
    assert_eq!(refused, "InvalidCollectorVersion");
    let complete = version_of(&wait(&truncated, 2).unwrap());
    assert_eq!(wait(&truncated, 2).unwrap_err(), "InvalidCollectorVersion");

    site.simulator.set_power(&names[0], true).unwrap();
    let first = wait(&complete, 9).unwrap();
    site.simulator.set_power(&names[1], true).unwrap();
    let second = wait(&version_of(&first), 9).unwrap();
    assert_eq!((updates(&first), updates(&second)), (1, 1));
    // From the older version on, both changes are told.
    let again = wait(&complete, 9).unwrap();
    assert_eq!(updates(&again), 2);
    assert_eq!(
        version_of(&wait(&version_of(&first), 9).unwrap()).parse(),
        Ok(6)
    );
    assert_eq!(updates(&ask("CheckForUpdates", &complete, "").unwrap()), 2);
}

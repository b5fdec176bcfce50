//! Sessions, and how strictly calls are read.

use std::time::Duration;

use vsphere_sim::{ExpiredAnswer, Options, Simulator};

use crate::client::{Client, Site, element, one_property, options};

#[test]
fn a_login_with_a_wrong_password_is_refused() {
    let simulator = Simulator::start(options()).unwrap();
    let mut client = Client::new(simulator.address());
    assert_eq!(
        client
            .login("administrator@vsphere.local", "wrong")
            .unwrap_err(),
        "InvalidLogin"
    );
    assert_eq!(simulator.sessions(), 0);
}

#[test]
fn a_call_without_a_session_is_not_authenticated() {
    let simulator = Simulator::start(options()).unwrap();
    let client = Client::new(simulator.address());
    assert_eq!(
        client.property("Folder", "group-d1", "name").unwrap_err(),
        "NotAuthenticated"
    );
    assert!(
        client
            .call(
                "RetrieveServiceContent",
                "ServiceInstance",
                "ServiceInstance",
                ""
            )
            .is_ok()
    );
}

#[test]
fn an_expired_session_answers_a_read_by_missing_sets_where_so_chosen() {
    let site = Site::with(Options {
        expired_answer: ExpiredAnswer::MissingSet,
        ..options()
    });
    site.simulator.expire_sessions();
    let reply = site.client.property("Folder", "group-d1", "name").unwrap();
    assert!(
        reply.contains("<missingSet><path>name</path><fault><fault xsi:type=\"NotAuthenticated\">"),
        "{reply}"
    );
    let fault = site
        .client
        .call("ExportVm", "VirtualMachine", "vm-1", "")
        .unwrap_err();
    assert_eq!(fault, "NotAuthenticated");
}

#[test]
fn a_logout_ends_the_session() {
    let site = Site::new();
    assert_eq!(site.simulator.sessions(), 1);
    site.client
        .call("Logout", "SessionManager", "SessionManager", "")
        .unwrap();
    assert_eq!(site.simulator.sessions(), 0);
    assert_eq!(
        site.client
            .property("Folder", "group-d1", "name")
            .unwrap_err(),
        "NotAuthenticated"
    );
}

#[test]
fn a_session_that_is_idle_for_too_long_ends() {
    let site = Site::new();
    site.simulator.advance_clock(Duration::from_secs(1799));
    site.client.property("Folder", "group-d1", "name").unwrap();
    site.simulator.advance_clock(Duration::from_secs(1799));
    assert_eq!(site.simulator.sessions(), 1);
    site.simulator.advance_clock(Duration::from_secs(2));
    assert_eq!(site.simulator.sessions(), 0);
}

#[test]
fn sessions_are_capped() {
    let site = Site::with(Options {
        session_limit: 1,
        ..options()
    });
    let mut other = Client::new(site.simulator.address());
    assert_eq!(
        other
            .login("administrator@vsphere.local", "secret")
            .unwrap_err(),
        "ResourceNotAvailable"
    );
}

#[test]
fn elements_out_of_their_order_are_refused() {
    let site = Site::new();
    let retrieve = |set: &str| {
        let spec = format!(
            "<specSet><propSet><type>Folder</type>{set}</propSet>\
             <objectSet><obj type=\"Folder\">group-d1</obj></objectSet></specSet><options></options>"
        );
        site.client.call(
            "RetrievePropertiesEx",
            "PropertyCollector",
            "propertyCollector",
            &spec,
        )
    };
    retrieve("<all>false</all><pathSet>name</pathSet>").unwrap();
    assert_eq!(
        retrieve("<pathSet>name</pathSet><all>false</all>").unwrap_err(),
        "InvalidRequest"
    );
}

#[test]
fn a_missing_element_is_refused() {
    let site = Site::new();
    let fault = site
        .client
        .call("CreateFolder", "Folder", "group-d1", "")
        .unwrap_err();
    assert_eq!(fault, "InvalidRequest");
}

#[test]
fn an_unknown_method_is_refused() {
    let site = Site::new();
    assert_eq!(
        site.client
            .call("MakeCoffee", "Folder", "group-d1", "")
            .unwrap_err(),
        "InvalidRequest"
    );
}

#[test]
fn a_method_of_another_type_is_refused() {
    let site = Site::new();
    assert_eq!(
        site.client
            .call("ExportVm", "Folder", "group-d1", "")
            .unwrap_err(),
        "MethodNotFound"
    );
}

#[test]
fn what_is_no_soap_is_refused() {
    let site = Site::new();
    let reply = site.client.post("<hello/>").unwrap();
    assert_eq!(reply.status, 500);
    assert!(
        reply.text().contains("InvalidRequestFault"),
        "{}",
        reply.text()
    );
}

#[test]
fn a_path_that_does_not_exist_is_an_invalid_property() {
    let site = Site::new();
    assert_eq!(
        site.client
            .property("Folder", "group-d1", "colour")
            .unwrap_err(),
        "InvalidProperty"
    );
}

#[test]
fn an_object_that_is_gone_is_not_found() {
    let site = Site::new();
    let fault = site
        .client
        .property("VirtualMachine", "vm-4711", "name")
        .unwrap_err();
    assert_eq!(fault, "ManagedObjectNotFound");
}

/// The arguments of RetrievePropertiesEx for the names of all machines.
fn all_names(options: &str) -> String {
    let step = |name: &str, kind: &str, path: &str, next: &str| {
        let next: String = next
            .split(',')
            .map(|next| format!("<selectSet><name>{next}</name></selectSet>"))
            .collect();
        format!(
            "<selectSet xsi:type=\"TraversalSpec\"><name>{name}</name><type>{kind}</type><path>{path}</path>\
             <skip>false</skip>{next}</selectSet>"
        )
    };
    format!(
        "<specSet><propSet><type>VirtualMachine</type><pathSet>name</pathSet></propSet>\
         <objectSet><obj type=\"Folder\">group-d1</obj><skip>false</skip>{}{}</objectSet></specSet>\
         <options>{options}</options>",
        step("inFolder", "Folder", "childEntity", "inFolder,inDatacenter"),
        step("inDatacenter", "Datacenter", "vmFolder", "inFolder")
    )
}

#[test]
fn a_traversal_finds_all_machines_in_pages() {
    let site = Site::new();
    let mut expected: Vec<String> = (0..5).map(|number| format!("volume-{number}")).collect();
    expected.iter().for_each(|name| drop(site.volume(name)));
    let retrieve = all_names("<maxObjects>2</maxObjects>");
    let collector = ("PropertyCollector", "propertyCollector");
    let mut reply = site
        .client
        .call("RetrievePropertiesEx", collector.0, collector.1, &retrieve)
        .unwrap();
    let mut found = Vec::new();
    let mut pages = 1;
    loop {
        found.extend(
            reply
                .split("<val xsi:type=\"xsd:string\">")
                .skip(1)
                .map(|text| text.split('<').next().unwrap().to_owned()),
        );
        let Some(token) = element(&reply, "token") else {
            break;
        };
        let arguments = format!("<token>{token}</token>");
        reply = site
            .client
            .call(
                "ContinueRetrievePropertiesEx",
                collector.0,
                collector.1,
                &arguments,
            )
            .unwrap();
        pages += 1;
    }
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(pages, 3);
}

#[test]
fn a_token_that_was_cancelled_leads_nowhere() {
    let site = Site::new();
    site.volume("a");
    site.volume("b");
    let collector = ("PropertyCollector", "propertyCollector");
    let retrieve = all_names("<maxObjects>1</maxObjects>");
    let reply = site
        .client
        .call("RetrievePropertiesEx", collector.0, collector.1, &retrieve)
        .unwrap();
    let token = format!("<token>{}</token>", element(&reply, "token").unwrap());
    site.client
        .call(
            "CancelRetrievePropertiesEx",
            collector.0,
            collector.1,
            &token,
        )
        .unwrap();
    let fault = site
        .client
        .call(
            "ContinueRetrievePropertiesEx",
            collector.0,
            collector.1,
            &token,
        )
        .unwrap_err();
    assert_eq!(fault, "InvalidArgument");
}

#[test]
fn updates_come_truncated_where_few_are_asked_for() {
    let site = Site::new();
    ["a", "b", "c"]
        .iter()
        .for_each(|name| drop(site.volume(name)));
    let collector = ("PropertyCollector", "propertyCollector");
    let filter = all_names("")
        .replace("specSet>", "spec>")
        .replace("<options></options>", "");
    let filter = format!("{filter}<partialUpdates>false</partialUpdates>");
    site.client
        .call("CreateFilter", collector.0, collector.1, &filter)
        .unwrap();
    let wait = |version: &str| {
        let arguments = format!(
            "<version>{version}</version><options><maxWaitSeconds>0</maxWaitSeconds>\
             <maxObjectUpdates>2</maxObjectUpdates></options>"
        );
        site.client
            .call("WaitForUpdatesEx", collector.0, collector.1, &arguments)
            .unwrap()
    };
    let first = wait("");
    assert_eq!(first.matches("<kind>enter</kind>").count(), 2);
    assert_eq!(element(&first, "truncated").as_deref(), Some("true"));
    let second = wait(&element(&first, "version").unwrap());
    assert_eq!(second.matches("<kind>enter</kind>").count(), 1);
    assert_eq!(element(&second, "truncated"), None);
    let third = wait(&element(&second, "version").unwrap());
    assert_eq!(element(&third, "version"), None);
}

#[test]
fn a_version_that_was_not_the_last_is_refused() {
    let site = Site::new();
    let arguments = "<version>4711</version><options><maxWaitSeconds>0</maxWaitSeconds></options>";
    let fault = site.client.call(
        "WaitForUpdatesEx",
        "PropertyCollector",
        "propertyCollector",
        arguments,
    );
    assert_eq!(fault.unwrap_err(), "InvalidCollectorVersion");
}

#[test]
fn all_properties_of_everything_can_be_written() {
    let site = Site::new();
    let vm = site.volume("v");
    site.simulator.add_snapshot(&vm, "s").unwrap();
    let lease = site.export(&vm);
    let kinds = [
        "Datacenter",
        "ClusterComputeResource",
        "ResourcePool",
        "HostSystem",
        "Datastore",
        "VirtualMachine",
    ];
    let mut objects: Vec<(&str, String)> = kinds
        .iter()
        .map(|kind| (*kind, site.client.only(kind)))
        .collect();
    objects.push(("Folder", site.vm_folder()));
    objects.push(("HttpNfcLease", lease));
    objects.push(("ServiceInstance", "ServiceInstance".to_owned()));
    objects.push(("SessionManager", "SessionManager".to_owned()));
    for (kind, id) in objects {
        let arguments =
            one_property(kind, &id, "x").replace("<pathSet>x</pathSet>", "<all>true</all>");
        let reply = site
            .client
            .soap(
                "RetrievePropertiesEx",
                "PropertyCollector",
                "propertyCollector",
                &arguments,
            )
            .unwrap()
            .text();
        assert!(reply.contains("<propSet>"), "{kind}: {reply}");
        assert!(!reply.contains("<missingSet>"), "{kind}: {reply}");
    }
}

#[test]
fn requests_are_kept_for_the_test_to_see() {
    let site = Site::new();
    let login = site
        .simulator
        .requests()
        .into_iter()
        .find(|request| request.method == "Login")
        .unwrap();
    assert!(login.body.contains("<password>secret</password>"));
    assert_eq!(login.soap_action, "\"urn:vim25/7.0\"");
}

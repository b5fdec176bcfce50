//! A client that says exactly what a test wants said: SOAP by hand.

use std::io;
use std::net::SocketAddr;

use crate::http::{Reply, request};
use vsphere_sim::{DeviceUrls, Options, Simulator, VolumeSpec};

pub const MIB: u64 = 1 << 20;

/// A simulator without TLS, and a client that has logged in to it.
pub struct Site {
    pub simulator: Simulator,
    pub client: Client,
}

pub struct Client {
    address: SocketAddr,
    pub cookie: String,
}

pub fn options() -> Options {
    Options {
        tls: false,
        password: "secret".to_owned(),
        ..Options::default()
    }
}

impl Site {
    pub fn new() -> Site {
        Site::with(options())
    }

    pub fn with(options: Options) -> Site {
        let (user, password) = (options.username.clone(), options.password.clone());
        let simulator = Simulator::start(options).unwrap();
        let mut client = Client::new(simulator.address());
        client.login(&user, &password).unwrap();
        Site { simulator, client }
    }

    /// A volume with something in it; its moref.
    pub fn volume(&self, name: &str) -> String {
        let vm = self
            .simulator
            .add_volume(&VolumeSpec::new(name, 4 * MIB))
            .unwrap();
        self.simulator
            .write_disk(&vm, self.key(&vm), MIB, name.repeat(1000).as_bytes())
            .unwrap();
        vm
    }

    pub fn key(&self, vm: &str) -> i32 {
        self.simulator.vm(vm).unwrap().disks[0].key
    }

    /// The datastore path of a machine's first disk.
    pub fn file(&self, vm: &str) -> String {
        self.simulator.vm(vm).unwrap().disks[0].file.clone()
    }

    pub fn sum(&self, vm: &str) -> String {
        self.simulator.disk_sha256(vm, self.key(vm)).unwrap()
    }

    /// Begins an export and waits until its lease is ready.
    pub fn export(&self, vm: &str) -> String {
        let reply = self
            .client
            .call("ExportVm", "VirtualMachine", vm, "")
            .unwrap();
        let lease = element(&reply, "returnval").unwrap();
        self.client
            .wait_for("HttpNfcLease", &lease, "state", &["ready", "error"]);
        lease
    }

    /// Begins an import of a machine with one disk and waits until its lease is ready.
    pub fn import(&self, name: &str, backing: &str) -> String {
        let reply = self.client.call(
            "ImportVApp",
            "ResourcePool",
            &self.pool(),
            &import_spec(self, name, backing),
        );
        let lease = element(&reply.unwrap(), "returnval").unwrap();
        self.client
            .wait_for("HttpNfcLease", &lease, "state", &["ready", "error"]);
        lease
    }

    /// The address and the path of a lease's first device URL.
    pub fn device_url(&self, lease: &str) -> (SocketAddr, String) {
        let info = self.client.property("HttpNfcLease", lease, "info").unwrap();
        let url = element(&info, "url").unwrap();
        let rest = url.strip_prefix("http://").unwrap();
        let (host, path) = rest.split_once('/').unwrap();
        let address = if host == "*" {
            self.simulator.address()
        } else {
            host.parse().unwrap()
        };
        (address, format!("/{path}"))
    }

    /// The whole stream of an export of a machine, its lease completed.
    pub fn stream(&self, vm: &str) -> Vec<u8> {
        let lease = self.export(vm);
        let (address, path) = self.device_url(&lease);
        let reply = request(address, "GET", &path, "", &[]).unwrap();
        assert!(reply.whole);
        self.client
            .call("HttpNfcLeaseComplete", "HttpNfcLease", &lease, "")
            .unwrap();
        reply.body
    }

    /// Uploads a stream to a lease.
    pub fn upload(&self, lease: &str, stream: &[u8]) -> io::Result<Reply> {
        let (address, path) = self.device_url(lease);
        request(
            address,
            "POST",
            &path,
            "Content-Type: application/x-vnd.vmware-streamVmdk\r\n",
            stream,
        )
    }

    pub fn pool(&self) -> String {
        self.client.only("ResourcePool")
    }

    pub fn vm_folder(&self) -> String {
        let datacenter = self.client.only("Datacenter");
        element(
            &self
                .client
                .property("Datacenter", &datacenter, "vmFolder")
                .unwrap(),
            "val",
        )
        .unwrap()
    }
}

/// The arguments of ImportVApp for a machine with one disk.
pub fn import_spec(site: &Site, name: &str, backing: &str) -> String {
    format!(
        "<spec xsi:type=\"VirtualMachineImportSpec\"><configSpec>{}</configSpec></spec>\
         <folder type=\"Folder\">{}</folder>",
        config(name, backing, 4096),
        site.vm_folder()
    )
}

/// The inside of a VirtualMachineConfigSpec for a machine with one disk.
pub fn config(name: &str, backing: &str, kilobytes: u64) -> String {
    format!(
        "<name>{name}</name><guestId>otherGuest</guestId><files><vmPathName>[datastore1]</vmPathName></files>\
         <deviceChange><operation>add</operation><fileOperation>create</fileOperation>\
         <device xsi:type=\"VirtualDisk\"><key>-101</key>\
         <backing xsi:type=\"VirtualDiskFlatVer2BackingInfo\"><fileName></fileName><diskMode>persistent</diskMode>\
         {backing}</backing><controllerKey>-100</controllerKey><unitNumber>0</unitNumber>\
         <capacityInKB>{kilobytes}</capacityInKB></device></deviceChange>\
         <deviceChange><operation>add</operation><device xsi:type=\"ParaVirtualSCSIController\"><key>-100</key>\
         <busNumber>0</busNumber><sharedBus>noSharing</sharedBus></device></deviceChange>"
    )
}

pub const THIN: &str = "<thinProvisioned>true</thinProvisioned>";

impl Client {
    pub fn new(address: SocketAddr) -> Client {
        Client {
            address,
            cookie: String::new(),
        }
    }

    pub fn login(&mut self, user: &str, password: &str) -> Result<String, String> {
        let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;");
        let arguments = format!(
            "<userName>{}</userName><password>{}</password>",
            escape(user),
            escape(password)
        );
        let reply = self
            .soap("Login", "SessionManager", "SessionManager", &arguments)
            .unwrap();
        if let Some(cookie) = reply.header("set-cookie") {
            self.cookie = cookie.split(';').next().unwrap().to_owned();
        }
        outcome(&reply)
    }

    /// Sends a call; whatever comes back.
    pub fn soap(&self, method: &str, kind: &str, id: &str, arguments: &str) -> io::Result<Reply> {
        let body = format!(
            "<?xml version=\"1.0\"?><s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\">\
             <s:Body><{method} xmlns=\"urn:vim25\"><_this type=\"{kind}\">{id}</_this>{arguments}</{method}></s:Body>\
             </s:Envelope>"
        );
        self.post(&body)
    }

    pub fn post(&self, body: &str) -> io::Result<Reply> {
        let headers = format!(
            "Content-Type: text/xml; charset=\"utf-8\"\r\nSOAPAction: \"urn:vim25/7.0\"\r\nCookie: {}\r\n",
            self.cookie
        );
        request(self.address, "POST", "/sdk", &headers, body.as_bytes())
    }

    /// The answer to a call, or the name of the fault.
    pub fn call(
        &self,
        method: &str,
        kind: &str,
        id: &str,
        arguments: &str,
    ) -> Result<String, String> {
        outcome(&self.soap(method, kind, id, arguments).unwrap())
    }

    pub fn property(&self, kind: &str, id: &str, path: &str) -> Result<String, String> {
        self.call(
            "RetrievePropertiesEx",
            "PropertyCollector",
            "propertyCollector",
            &one_property(kind, id, path),
        )
    }

    /// Waits until a property has one of the values; which.
    pub fn wait_for(&self, kind: &str, id: &str, path: &str, values: &[&str]) -> String {
        let spec = format!(
            "<spec><propSet><type>{kind}</type><pathSet>{path}</pathSet></propSet>\
             <objectSet><obj type=\"{kind}\">{id}</obj></objectSet></spec><partialUpdates>false</partialUpdates>"
        );
        let collector = self
            .call(
                "CreatePropertyCollector",
                "PropertyCollector",
                "propertyCollector",
                "",
            )
            .unwrap();
        let collector = element(&collector, "returnval").unwrap();
        self.call("CreateFilter", "PropertyCollector", &collector, &spec)
            .unwrap();
        let mut version = String::new();
        loop {
            let arguments = format!("<version>{version}</version>");
            let reply = self
                .call(
                    "WaitForUpdatesEx",
                    "PropertyCollector",
                    &collector,
                    &arguments,
                )
                .unwrap();
            version = element(&reply, "version").unwrap();
            let value = element(&reply, "val").unwrap();
            if values.contains(&value.as_str()) {
                self.call(
                    "DestroyPropertyCollector",
                    "PropertyCollector",
                    &collector,
                    "",
                )
                .unwrap();
                return value;
            }
        }
    }

    /// Begins a task and waits for its end: its result, or the name of its fault.
    pub fn task(
        &self,
        method: &str,
        kind: &str,
        id: &str,
        arguments: &str,
    ) -> Result<String, String> {
        let task = element(&self.call(method, kind, id, arguments)?, "returnval").unwrap();
        let state = self.wait_for("Task", &task, "info.state", &["success", "error"]);
        let info = self.property("Task", &task, "info").unwrap();
        if state == "success" {
            return Ok(element(&info, "result").unwrap_or_default());
        }
        let fault = info.split("<fault xsi:type=\"").nth(1).unwrap();
        Err(fault.split('"').next().unwrap().to_owned())
    }

    /// The only object of a type.
    pub fn only(&self, kind: &str) -> String {
        let arguments = format!(
            "<container type=\"Folder\">group-d1</container><type>{kind}</type><recursive>true</recursive>"
        );
        let view = self
            .call(
                "CreateContainerView",
                "ViewManager",
                "ViewManager",
                &arguments,
            )
            .unwrap();
        let view = element(&view, "returnval").unwrap();
        let found = self.property("ContainerView", &view, "view").unwrap();
        element(&found, "ManagedObjectReference").unwrap()
    }
}

/// The arguments of RetrievePropertiesEx for one property of one object.
pub fn one_property(kind: &str, id: &str, path: &str) -> String {
    format!(
        "<specSet><propSet><type>{kind}</type><pathSet>{path}</pathSet></propSet>\
         <objectSet><obj type=\"{kind}\">{id}</obj></objectSet></specSet><options></options>"
    )
}

fn outcome(reply: &Reply) -> Result<String, String> {
    let text = reply.text();
    if reply.status == 200 {
        return Ok(text);
    }
    let detail = text
        .split("<detail><")
        .nth(1)
        .ok_or_else(|| format!("HTTP {}", reply.status))?;
    let name = detail.split([' ', '>']).next().unwrap();
    Err(name.trim_end_matches("Fault").to_owned())
}

/// The text of the first element of that name.
pub fn element(xml: &str, name: &str) -> Option<String> {
    let mut rest = xml;
    loop {
        let start = rest.find(&format!("<{name}"))?;
        let after = &rest[start + name.len() + 1..];
        if !after.starts_with([' ', '>']) {
            rest = after;
            continue;
        }
        let inner = &after[after.find('>')? + 1..];
        return Some(inner[..inner.find(&format!("</{name}>"))?].to_owned());
    }
}

/// Options with the data behind the endpoint itself.
pub fn wildcard() -> Options {
    Options {
        urls: DeviceUrls::Wildcard,
        ..options()
    }
}

//! Writes the seeds of every fuzzer, a directory each. usage: seeds DIRECTORY

use std::io;
use std::path::Path;

use vmdk_fuzz::disk::Disk;
use vmdk_fuzz::writer::{Writer, descriptor};

const FAULT: &str = "<Envelope xmlns:xsi=\"x\"><Body><Fault><faultcode>ServerFaultCode</faultcode><faultstring>no</faultstring>\
    <detail><NoPermissionFault xsi:type=\"NoPermission\"><object type=\"Folder\">group-v3</object><privilegeId>a.b</privilegeId>\
    <faultCause><fault xsi:type=\"FileLocked\"><file>[ds] a/a.vmdk</file></fault><localizedMessage>locked</localizedMessage>\
    </faultCause><faultMessage><key>k</key><message>busy</message></faultMessage></NoPermissionFault></detail></Fault></Body></Envelope>";

const RESPONSE: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<e:Envelope xmlns:e=\"x\"><e:Body><LoginResponse xmlns=\"urn:vim25\">\
    <returnval><key>52&lt;&#x41;<![CDATA[&]]></key></returnval></LoginResponse></e:Body></e:Envelope>";

const PAGE: &str = "<returnval><token>1</token><objects><obj type=\"VirtualMachine\">vm-7</obj><propSet><name>config.hardware.device</name>\
    <val xsi:type=\"ArrayOfVirtualDevice\"><VirtualDevice xsi:type=\"ParaVirtualSCSIController\"><key>1000</key><busNumber>0</busNumber>\
    </VirtualDevice><VirtualDevice xsi:type=\"VirtualDisk\"><key>2000</key><deviceInfo><label>Hard disk 1</label></deviceInfo>\
    <backing xsi:type=\"VirtualDiskFlatVer2BackingInfo\"><fileName>[ds] a/a.vmdk</fileName><datastore type=\"Datastore\">ds-1</datastore>\
    <diskMode>persistent</diskMode><thinProvisioned>true</thinProvisioned><uuid>6000</uuid></backing><controllerKey>1000</controllerKey>\
    <unitNumber>0</unitNumber><capacityInKB>1024</capacityInKB><capacityInBytes>1048576</capacityInBytes><storageIOAllocation>\
    <limit>-1</limit></storageIOAllocation></VirtualDevice></val></propSet><missingSet><path>p</path><fault><fault \
    xsi:type=\"NotAuthenticated\"/><localizedMessage>gone</localizedMessage></fault></missingSet></objects></returnval>";

const TASK: &str = "<returnval><objects><obj type=\"Task\">task-1</obj><propSet><name>info</name><val xsi:type=\"TaskInfo\">\
    <state>error</state><name>CreateVM_Task</name><entityName>v</entityName><error><fault xsi:type=\"DuplicateName\"><name>v</name></fault>\
    <localizedMessage>exists</localizedMessage></error><result type=\"VirtualMachine\">vm-7</result></val></propSet></objects></returnval>";

const UPDATE: &str = "<returnval><version>2</version><filterSet><filter type=\"PropertyFilter\">f</filter><objectSet><kind>modify</kind>\
    <obj type=\"Task\">task-1</obj><changeSet><name>info</name><op>assign</op><val><state>success</state></val></changeSet>\
    <changeSet><name>state</name><op>remove</op></changeSet></objectSet></filterSet><truncated>false</truncated></returnval>";

const CONTENT: &str = "<returnval><rootFolder type=\"Folder\">g</rootFolder><propertyCollector type=\"PropertyCollector\">p</propertyCollector>\
    <about><name>vCenter</name><version>8.0.3</version><apiType>VirtualCenter</apiType><apiVersion>8.0.3.0</apiVersion>\
    <instanceUuid>u</instanceUuid></about><sessionManager type=\"SessionManager\">s</sessionManager></returnval>";

const LEASE: &str = "<info><lease type=\"HttpNfcLease\">l</lease><entity type=\"VirtualMachine\">vm-7</entity><deviceUrl><key>/vm-7/\
    ParaVirtualSCSIController0:0</key><importKey></importKey><url>https://*:443/nfc/52/disk-0.vmdk</url><sslThumbprint>\
    12:34:56:78:9A:BC:DE:F0:12:34:56:78:9A:BC:DE:F0:12:34:56:78</sslThumbprint><disk>true</disk></deviceUrl>\
    <totalDiskCapacityInKB>1024</totalDiskCapacityInKB><leaseTimeout>300</leaseTimeout></info><error><fault \
    xsi:type=\"NoDiskSpace\"><datastore>ds</datastore></fault><localizedMessage>full</localizedMessage></error>";

const MANIFEST: &str = "<entity type=\"VirtualMachine\">vm-7</entity><returnval><key>/vm-7/x:0</key><sha1>aa</sha1><checksum>bb</checksum>\
    <checksumType>sha256</checksumType><size>1024</size><disk>true</disk><capacity>1048576</capacity></returnval>";

const METADATA: &str = r#"{"format":"vmdk-backup","version":1,"backup_id":"b1","volume":{"name":"v","id":null,"size_bytes":512,
"disk_type":"thin","adapter_type":"lsiLogic","instance_uuid":"u","cinder_id":"x"},"stream":{"format":"streamOptimized",
"length":1,"sha256":"aa","capacity":512,"grains":1,"populated":512,"content_digest":"cc"},"source":{"product":"p",
"server_uuid":null,"backing":"vm-1","disk_key":2000,"disk_file":"[ds] v/v.vmdk","operation":"0","library":"0"},
"times":{"started":"2026-01-01T00:00:00Z","finished":"2026-01-01T00:00:01Z"}}"#;

const NOTES: &str = r#"{"made":"temporary_vm","name":"n","moref":{"kind":"VirtualMachine","value":"vm-7"}}
{"made":"disk","datacenter":{"kind":"Datacenter","value":"d"},"path":"[ds] a/a.vmdk"}
{"made":"replacement","datacenter":{"kind":"Datacenter","value":"d"},"backing":{"kind":"VirtualMachine","value":"vm-7"},"old":"o","new":"n"}
{"made":"temporary_vm","na"#;

fn write(directory: &str, seeds: &[&[u8]]) -> io::Result<()> {
    let root = std::env::args()
        .nth(1)
        .ok_or_else(|| io::Error::other("usage: seeds DIRECTORY"))?;
    let directory = Path::new(&root).join(directory);
    std::fs::create_dir_all(&directory)?;
    for (number, seed) in seeds.iter().enumerate() {
        std::fs::write(directory.join(format!("seed-{number}")), seed)?;
    }
    Ok(())
}

/// Small streams of every shape, each behind the choices of how it is fed.
fn streams() -> Vec<Vec<u8>> {
    let usual = Writer {
        level: 1,
        ..Writer::default()
    };
    let writers = [
        usual.clone(),
        Writer {
            front: Some(1),
            ..usual.clone()
        },
        Writer {
            front: Some(2),
            flags: 0x30005,
            ..usual.clone()
        },
        Writer {
            grain_sectors: 8,
            ..usual.clone()
        },
        Writer {
            grain_sectors: 256,
            progress: true,
            ..usual.clone()
        },
        Writer {
            front: Some(1),
            short_last: true,
            eos: false,
            ..usual.clone()
        },
        Writer {
            empty_tables: true,
            zeros: vec![1],
            ..usual
        },
    ];
    let disks = [
        Disk::new(3 * 128 + 50, &[0, 3]),
        Disk::new(70_000, &[1, 512]),
    ];
    let feeds = [[0, 255, 255, 255, 255, 255, 255], [128, 100, 0, 7, 0, 0, 2]];
    let mut streams = Vec::new();
    for (writer, (disk, feed)) in writers
        .iter()
        .flat_map(|w| disks.iter().zip(feeds).map(move |d| (w, d)))
    {
        streams.push([&feed[..], &writer.write(disk).bytes].concat());
    }
    streams
}

fn main() -> io::Result<()> {
    let streams = streams();
    write(
        "stream",
        &streams.iter().map(Vec::as_slice).collect::<Vec<_>>(),
    )?;
    let plain = descriptor(4_192_256);
    let rich = format!(
        "{plain}ddb.uuid = \"60 00\"\r\nddb.longContentID = \"0\"\nddb.thinProvisioned = \"1\" \nddb.virtualHWVersion = \"10\"\n\0"
    );
    write("descriptor", &[plain.as_bytes(), rich.as_bytes()])?;
    let fault = [b"\x01", FAULT.as_bytes()].concat();
    let response = [b"\0", RESPONSE.as_bytes()].concat();
    write(
        "soap",
        &[
            &fault,
            &response,
            b"\x03<html><body><h1>503</h1></body></html>",
        ],
    )?;
    write(
        "properties",
        &[PAGE, TASK, UPDATE, CONTENT].map(str::as_bytes),
    )?;
    write("lease", &[LEASE, MANIFEST].map(str::as_bytes))?;
    write("metadata", &[METADATA.as_bytes()])?;
    write("journal", &[&[b"\x01", NOTES.as_bytes()].concat()])?;
    write("check", &[])
}

//! Any words of a server as properties of objects, as their changes, as a task and as virtual hardware.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vmdk_backup::fuzzing;
use vmdk_backup::vsphere::Moref;
use vmdk_backup::vsphere::device;
use vmdk_backup::vsphere::property::Properties;
use vmdk_fuzz::answer;
use vmdk_fuzz::memory::within;

fuzz_target!(|content: &[u8]| {
    let body = answer("X", content);
    within((64 << 10) + 128 * body.len(), || {
        let Some(Ok(Ok(response))) = fuzzing::open(200, &body, "X") else {
            return;
        };
        if let Some(result) = response.child("returnval") {
            let _ = fuzzing::service_content(result);
            let object = Moref::new("Task", "task-1");
            let paths = ["info".to_owned(), "state".to_owned()];
            let mut properties = Properties::default();
            let _ = fuzzing::update(&object, &paths, result, &mut properties);
            let _ = fuzzing::task(&properties);
        }
        for (_, properties) in fuzzing::properties(response).unwrap_or_default() {
            let _ = fuzzing::task(&properties);
            let disks = properties.get("config.hardware.device").map(device::disks);
            assert!(disks.is_none_or(|disks| disks.iter().all(|disk| disk.capacity > 0)));
        }
    });
});

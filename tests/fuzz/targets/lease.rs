//! Any words of a server as what a lease says of itself, its devices and what it moved.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vmdk_backup::fuzzing;
use vmdk_backup::transport::tls::Fingerprint;
use vmdk_fuzz::answer;
use vmdk_fuzz::memory::within;

fuzz_target!(|content: &[u8]| {
    let body = answer("X", content);
    within((64 << 10) + 128 * body.len(), || {
        let Some(Ok(Ok(response))) = fuzzing::open(200, &body, "X") else {
            return;
        };
        for entry in response.children_named("returnval") {
            fuzzing::manifest_entry(entry);
        }
        let _ = fuzzing::lease_error(response.child("error"));
        let info = response.child("info").unwrap_or(&response);
        let Ok((timeout, entity, devices)) = fuzzing::lease(info) else {
            return;
        };
        assert!(!timeout.is_zero() && !entity.value.is_empty());
        for device in devices {
            let _ = device.thumbprint.parse::<Fingerprint>();
            for endpoint in ["https://10.0.0.1:8443/sdk", "https://[fd00::1]/sdk"] {
                let Ok(url) = fuzzing::device_url(&device.url, endpoint) else {
                    continue;
                };
                assert!(
                    ["https", "http"].contains(&url.scheme()) && url.has_host(),
                    "{url}"
                );
            }
        }
    });
});

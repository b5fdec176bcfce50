//! Any text as the metadata that a service kept.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vmdk_backup::ops::metadata::{Metadata, agent_config};
use vmdk_fuzz::memory::within;

fuzz_target!(|text: &str| {
    within((64 << 10) + 32 * text.len(), || {
        if let Ok(metadata) = Metadata::from_json(text) {
            let _ = agent_config(&metadata.volume.extra_config);
            let again = metadata.to_json().expect("what was read is written");
            assert_eq!(
                Metadata::from_json(&again).expect("what was written is read"),
                metadata
            );
        }
    });
});

//! Any text as the metadata that a service kept.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vmdk_backup::ops::metadata::Metadata;
use vmdk_fuzz::memory::within;

fuzz_target!(|text: &str| {
    within((64 << 10) + 32 * text.len(), || {
        if let Ok(metadata) = Metadata::from_json(text) {
            // Indented, what was read may be longer than what is written.
            let Ok(again) = metadata.to_json() else {
                assert!(text.len() > 64 << 10, "what was read is written");
                return;
            };
            assert_eq!(
                Metadata::from_json(&again).expect("what was written is read"),
                metadata
            );
        }
    });
});

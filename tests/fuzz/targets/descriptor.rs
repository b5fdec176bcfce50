//! Any bytes as the descriptor of a stream.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use vmdk_backup::fuzzing;
use vmdk_backup::vmdk::{Header, Limits};
use vmdk_fuzz::disk::Disk;
use vmdk_fuzz::memory::within;
use vmdk_fuzz::writer::Writer;

fuzz_target!(|text: &[u8]| {
    static HEADER: OnceLock<Header> = OnceLock::new();
    let header = HEADER.get_or_init(|| {
        let stream = Writer::default().write(&Disk::new(4_192_256, &[])).bytes;
        let head = stream.first_chunk().expect("a header");
        Header::parse(head, &Limits::default()).expect("a sound header")
    });
    let read = within(4096 + 16 * text.len(), || fuzzing::descriptor(header, text));
    match read {
        Ok(descriptor) => {
            assert_eq!(descriptor.create_type, "streamOptimized");
            assert_eq!(
                descriptor.extent_bytes.next_multiple_of(65536),
                header.capacity_bytes()
            );
        }
        Err(flaw) => assert!(flaw.offset == 512 && flaw.message.len() < 1024, "{flaw}"),
    }
});

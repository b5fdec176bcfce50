//! Any bytes as a stream: the verdict is true, and the same whatever the cuts and threads are.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vmdk_backup::vmdk::{CheckOptions, Level};
use vmdk_fuzz::verdict;

fuzz_target!(|input: (u8, [u16; 3], &[u8])| {
    let (choice, cuts, stream) = input;
    let options = CheckOptions {
        level: [Level::Full, Level::Structure, Level::Digest, Level::Full][usize::from(choice % 4)],
        threads: 1 + usize::from(choice / 4 % 3),
        accept_missing_eos: choice & 128 > 0,
        ..CheckOptions::default()
    };
    let _ = verdict::of(&options, stream, &cuts);
});

//! Any file as the journal of a process that died.
#![no_main]

use std::fs;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use vmdk_backup::fuzzing;
use vmdk_fuzz::memory::within;

const HEADING: &[u8] =
    b"{\"version\":1,\"operation\":\"o\",\"volume\":\"v\",\"server\":\"s\",\"started\":\"t\"}\n";

fuzz_target!(|input: (bool, &[u8])| {
    static DIRECTORY: OnceLock<TempDir> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| TempDir::new().expect("a directory"));
    let path = directory.path().join("o.journal");
    let (sound, rest) = input;
    let journal = [if sound { HEADING } else { b"" }, rest].concat();
    fs::write(&path, &journal).expect("a file");
    let read = within((64 << 10) + 64 * journal.len(), || {
        fuzzing::journals(directory.path())
    });
    let lines: Vec<&[u8]> = journal.split(|&byte| byte == b'\n').collect();
    if lines.len() > 1 {
        assert!(
            path.exists(),
            "a journal whose first line was written whole is not thrown away"
        );
    }
    if let Ok(journals) = read {
        assert!(
            journals.iter().all(|notes| notes.len() < lines.len()),
            "more notes than lines"
        );
        let torn = journals.iter().all(|notes| notes.len() + 2 >= lines.len());
        assert!(torn, "a note before the last was passed over: {journals:?}");
    }
});

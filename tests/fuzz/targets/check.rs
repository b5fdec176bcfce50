//! Streams that are nearly right: the verdict is true, and the same whatever the cuts and threads are.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vmdk_backup::vmdk::Level;
use vmdk_fuzz::plan::Plan;
use vmdk_fuzz::verdict;

fuzz_target!(|plan: Plan| {
    let options = plan.options();
    let verdict = verdict::of(&options, &plan.stream(), plan.cuts());
    if let Some(disk) = plan.disk() {
        let facts = verdict.expect("a sound stream");
        if options.level == Level::Full {
            assert_eq!(facts.content_digest, Some(disk.content_digest()));
        }
    }
});

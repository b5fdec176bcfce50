//! Tasks that the user may not read, or that are gone when they are looked for.

use super::Case;
use vsphere_sim::Options;

/// From now on nobody can read what a task came to.
fn hide(options: &mut Options, vanish: bool) {
    if vanish {
        options.vanishing_tasks = true;
    } else {
        options.forbidden_paths.push("Task.info".into());
    }
}

/// A change of which nobody knows whether it was made is looked for before it is made again.
#[test]
fn a_restore_whose_tasks_cannot_be_read_is_made_once() {
    for vanish in [false, true] {
        let case = Case::new(Options::default());
        case.scene
            .sim
            .change_options(|options| hide(options, vanish));
        let done = case.restored();
        let calls = case.scene.sim.requests();
        let count = |method: &str| calls.iter().filter(|call| call.method == method).count();
        assert_eq!(count("ImportVApp"), 1, "vanish: {vanish}");
        assert_eq!(count("DeleteVirtualDisk_Task"), 1, "vanish: {vanish}");
        assert_eq!(count("Destroy_Task"), 1, "vanish: {vanish}");
        // The tag is all that nothing else tells of.
        assert!(
            done.notices.iter().all(|notice| notice.contains("tag")),
            "{:?}",
            done.notices
        );
    }
}

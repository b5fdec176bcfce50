//! How much stack the library needs of the threads that call it.

use crate::fixture::Scene;
use crate::stage::{C99, compile, run, text};
use vsphere_sim::Options;

/// What a thread of a server or of another language may have, if it has little.
const STACK: usize = 64 << 10;

/// What the header says that the library takes; the C library's own data at the stack's top included.
const LIBRARY: usize = 16 << 10;

#[test]
fn every_call_works_on_a_stack_of_64_kib() {
    let scene = Scene::new(Options::default());
    let directory = scene.dir.path().join("stack");
    std::fs::create_dir(&directory).unwrap();
    let output =
        run(
            crate::stage::program(compile("gcc", &C99, "tests/c/stack.c", &["-lpthread"]))
                .args([
                    &scene.sim.url(),
                    &scene.options.username,
                    &scene.options.password,
                ])
                .args([scene.sim.ca_file(), directory.as_path()])
                .arg(STACK.to_string()),
        );
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    let used: Vec<(&str, usize)> = said
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(name, used)| Some((name, used.parse().ok()?)))
        .collect();
    assert!(used.len() > 20, "{said}");
    let over: Vec<_> = used.iter().filter(|(_, used)| *used > LIBRARY).collect();
    assert!(over.is_empty(), "more than {LIBRARY} bytes: {over:?}");
    scene.assert_restored(&scene.vm);
}

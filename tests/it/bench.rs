//! What `make bench` measures with is right about what it measured.

use std::path::Path;

#[test]
fn the_measurements_own_tests_pass() {
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/suite");
    let output = crate::stage::program("python3")
        .args(["-B", "-m", "unittest", "--quiet"])
        .current_dir(suite)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

//! What `make bench` measures with is right about what it measured.

use std::os::unix::fs::PermissionsExt;
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

/// The library is built anew where something changes that cargo is called with, and only then.
#[test]
fn make_builds_the_library_again_when_its_settings_change() {
    let dir = tempfile::tempdir().unwrap();
    let (cargo, calls) = (dir.path().join("cargo"), dir.path().join("calls"));
    let script = format!("#!/bin/sh\necho \"$@\" >> '{}'\n", calls.display());
    std::fs::write(&cargo, script).unwrap();
    std::fs::set_permissions(&cargo, std::fs::Permissions::from_mode(0o755)).unwrap();
    let library = dir.path().join("release/libvmdk_backup.so");
    let built = |settings: &[&str]| {
        let output = crate::stage::program("make")
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env_remove("MAKEFLAGS")
            .env_remove("RUSTFLAGS")
            .arg(format!("CARGO_TARGET_DIR={}", dir.path().display()))
            .arg(format!("CARGO={}", cargo.display()))
            .arg("PROFILE=release")
            .args(settings)
            .arg(&library)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let calls = std::fs::read_to_string(&calls).unwrap();
        calls.lines().count()
    };
    assert_eq!(built(&["FEATURES="]), 1);
    assert_eq!(built(&["FEATURES="]), 1);
    assert_eq!(built(&["FEATURES=igzip"]), 2);
    assert_eq!(built(&["FEATURES=igzip"]), 2);
    assert_eq!(
        built(&["FEATURES=igzip", "RUSTFLAGS=-C target-cpu=native"]),
        3
    );
    assert_eq!(built(&["FEATURES="]), 4);
}

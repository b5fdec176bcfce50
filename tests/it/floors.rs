//! A module uses only modules on lower floors, as the crate's first page draws them.

use std::fs;
use std::path::Path;

/// The floor of each module; those of one floor may use each other.
const FLOORS: [(&str, u32); 17] = [
    ("error", 0),
    ("cancel", 1),
    ("file", 1),
    ("log", 1),
    ("retry", 1),
    ("runtime", 1),
    ("slab", 1),
    ("storage", 0),
    ("volume", 1),
    ("vmdk", 1),
    ("service", 1),
    ("transport", 2),
    ("vsphere", 3),
    ("client", 4),
    ("ops", 5),
    ("capi", 6),
    ("fuzzing", 6),
];

/// Modules that know nothing of their neighbours on the floor: each stands alone.
const ALONE: [&str; 1] = ["vmdk"];

fn floor(module: &str) -> u32 {
    FLOORS
        .iter()
        .find(|(name, _)| *name == module)
        .unwrap_or_else(|| panic!("module {module} has no floor"))
        .1
}

fn visit(path: &Path, module: Option<&str>, check: &mut dyn FnMut(&str, &Path, &str)) {
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let module = module.unwrap_or(&name);
        if path.is_dir() {
            visit(&path, Some(module), check);
        } else if module != "lib" {
            check(module, &path, &fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn no_module_uses_a_higher_floor() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut seen = 0;
    visit(&src, None, &mut |module, path, text| {
        let code = text.split("#[cfg(test)]").next().unwrap_or(text);
        let code: String = code
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect();
        for used in code.split("crate::").skip(1) {
            let name: String = used
                .chars()
                .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                .collect();
            if name.is_empty() || name == module {
                continue;
            }
            seen += 1;
            let allowed = floor(&name) <= floor(module) && !ALONE.contains(&module);
            assert!(allowed, "{} ({module}) uses {name}", path.display());
        }
    });
    assert!(
        seen > 50,
        "only {seen} uses seen: the test reads the wrong files"
    );
}

/// The one library in C that is called, behind a feature.
const FOREIGN: &str = "src/vmdk/igzip.rs";

#[test]
fn only_the_c_faces_have_unsafe_code() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    visit(&src, None, &mut |module, path, text| {
        let word = ["un", "safe "].concat();
        assert!(
            module == "capi" || path.ends_with(FOREIGN) || !text.contains(&word),
            "{} has unsafe code",
            path.display()
        );
    });
}

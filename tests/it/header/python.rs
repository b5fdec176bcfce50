//! The Python binding's structures are made of the header, and are as the C compiler lays them out.

use super::{generate, root};
use crate::stage::{C99, pkg_config, scratch, succeeds};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

const OPENING: &str = "\
\"\"\"What vmdk_backup.h declares, for ctypes.

Generated from the header: UPDATE_HEADER=1 cargo test --test it header\"\"\"

from ctypes import (CFUNCTYPE, POINTER, Structure, c_bool, c_char, c_char_p, c_int32, c_int64,
                    c_size_t, c_uint32, c_uint64, c_void_p)

";

/// What the header declares, as far as it was read.
#[derive(Default)]
struct Declared {
    /// The Python type of each name for a type.
    types: BTreeMap<String, String>,
    /// Names of structures with fields, and the fields.
    structures: Vec<(String, Vec<String>)>,
    python: String,
    functions: String,
}

impl Declared {
    fn read(header: &str) -> Declared {
        let mut declared = Declared::default();
        for (c, python) in [
            ("void", "None"),
            ("bool", "c_bool"),
            ("char", "c_char"),
            ("size_t", "c_size_t"),
            ("int32_t", "c_int32"),
            ("int64_t", "c_int64"),
            ("uint32_t", "c_uint32"),
            ("uint64_t", "c_uint64"),
        ] {
            declared.types.insert(c.into(), python.into());
        }
        let lines = header.lines().map(|line| line.split("//").next().unwrap());
        let text: String = lines
            .skip_while(|line| !line.starts_with("extern \"C\""))
            .map(|line| format!("{line}\n"))
            .collect();
        let mut rest = text.split_once('{').unwrap().1;
        loop {
            rest = rest.trim_start();
            if rest.starts_with("/*") {
                rest = rest.split_once("*/").unwrap().1;
            } else if let Some(directive) = rest.strip_prefix('#') {
                let (line, after) = directive.split_once('\n').unwrap();
                declared.define(line);
                rest = after;
            } else if rest.is_empty() || rest.starts_with('}') {
                return declared;
            } else {
                let end = match (rest.find('{'), rest.find(';').unwrap()) {
                    (Some(open), end) if open < end => {
                        let close = rest.find('}').unwrap();
                        close + rest[close..].find(';').unwrap()
                    }
                    (_, end) => end,
                };
                declared.declare(rest[..end].trim());
                rest = &rest[end + 1..];
            }
        }
    }

    /// A constant; other directives say nothing.
    fn define(&mut self, line: &str) {
        let mut words = line.split_whitespace().skip(1);
        if let (Some(name), Some(value)) = (words.next(), words.next()) {
            let value = if value == "UINT32_MAX" {
                "0xffffffff"
            } else {
                value
            };
            if value.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '"') {
                writeln!(self.python, "{name} = {value}").unwrap();
            }
        }
    }

    fn declare(&mut self, declaration: &str) {
        let Some(definition) = declaration.strip_prefix("typedef ") else {
            return self.function(declaration);
        };
        if let Some((head, fields)) = definition.split_once('{') {
            let name = head.trim().strip_prefix("struct ").unwrap();
            return self.structure(name, fields.split_once('}').unwrap().0);
        }
        if definition.starts_with("struct ") {
            // A handle.
            return;
        }
        let (name, python) = self.variable(definition);
        if definition.contains("(*") {
            writeln!(self.python, "{name} = {python}").unwrap();
            self.types.insert(name.clone(), name);
        } else {
            self.types.insert(name, python);
        }
    }

    fn structure(&mut self, name: &str, fields: &str) {
        let mut names = Vec::new();
        write!(
            self.python,
            "\n\nclass {name}(Structure):\n    _fields_ = [\n"
        )
        .unwrap();
        for field in fields
            .split(';')
            .map(str::trim)
            .filter(|field| !field.is_empty())
        {
            let (field, python) = self.variable(field);
            writeln!(self.python, "        (\"{field}\", {python}),").unwrap();
            names.push(field);
        }
        self.python.push_str("    ]\n\n\n");
        self.types.insert(name.into(), name.into());
        self.structures.push((name.into(), names));
    }

    fn function(&mut self, declaration: &str) {
        let declaration = declaration.trim_start_matches("VMDK_MUST_USE").trim();
        let (head, arguments) = declaration.split_once('(').unwrap();
        let (name, result) = self.variable(head);
        let arguments = self.arguments(arguments.strip_suffix(')').unwrap());
        writeln!(self.functions, "    \"{name}\": ({result}, [{arguments}]),").unwrap();
    }

    fn arguments(&self, list: &str) -> String {
        let list = list.split(',').map(str::trim);
        let known = list.filter(|argument| *argument != "void");
        let types: Vec<String> = known.map(|argument| self.variable(argument).1).collect();
        types.join(", ")
    }

    /// The name and the Python type of what C declares like `const char *name`.
    fn variable(&self, declaration: &str) -> (String, String) {
        if let Some((result, rest)) = declaration.split_once("(*") {
            let (name, arguments) = rest.split_once(")(").unwrap();
            let arguments = self.arguments(arguments.strip_suffix(')').unwrap());
            let result = self.kind(result.trim(), 0);
            let python = format!("CFUNCTYPE({result}, {arguments})");
            return (name.to_owned(), python);
        }
        let at = declaration.rfind([' ', '*']).unwrap() + 1;
        let (kind, name) = declaration.split_at(at);
        let stars = kind.matches('*').count();
        let python = self.kind(kind.trim_end_matches(['*', ' ']), stars);
        match name.split_once('[') {
            Some((name, length)) => {
                let length = length.strip_suffix(']').unwrap();
                (name.to_owned(), format!("{python} * {length}"))
            }
            None => (name.to_owned(), python),
        }
    }

    fn kind(&self, c: &str, stars: usize) -> String {
        let bare = c.trim_start_matches("const ").trim_start_matches("struct ");
        let known = self.types.get(bare);
        let mut python = match (bare, stars) {
            ("char", 1) if c.starts_with("const") => return "c_char_p".into(),
            (_, 0) => return known.unwrap_or_else(|| panic!("unknown: {c}")).clone(),
            ("void" | "char", _) => "c_void_p".to_owned(),
            _ => match known {
                Some(python) => format!("POINTER({python})"),
                None => "c_void_p".to_owned(),
            },
        };
        for _ in 1..stars {
            python = format!("POINTER({python})");
        }
        python
    }

    fn module(&self) -> String {
        let mut text = format!("{OPENING}{}", self.python);
        while text.contains("\n\n\n\n") {
            text = text.replace("\n\n\n\n", "\n\n\n");
        }
        format!(
            "{}\n\n# Of each function, the types of its result and its arguments.\nFUNCTIONS = {{\n{}}}\n",
            text.trim_end(),
            self.functions
        )
    }
}

fn path() -> PathBuf {
    root().join("examples/python/vmdk_backup_abi.py")
}

#[test]
fn the_structures_of_python_are_current() {
    let module = Declared::read(&generate()).module();
    if std::env::var_os("UPDATE_HEADER").is_some() {
        std::fs::write(path(), module).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(path()).unwrap_or_default();
    assert!(
        committed == module,
        "examples/python/vmdk_backup_abi.py is not what the header makes: \
         UPDATE_HEADER=1 cargo test --test it header"
    );
}

/// What Python says of each structure and field, and what the C compiler does.
#[test]
fn python_lays_structures_out_as_c_does() {
    let python = "import ctypes, sys, vmdk_backup_abi as abi\n\
        for name in sys.argv[1:]:\n \
            kind = getattr(abi, name)\n \
            print(name, ctypes.sizeof(kind))\n \
            for field, *_ in kind._fields_:\n  \
                place = getattr(kind, field)\n  \
                print(name, field, place.offset, place.size)\n";
    let declared = Declared::read(&generate());
    let mut c = String::from("#include <stdio.h>\n#include <vmdk_backup.h>\nint main(void)\n{\n");
    for (name, fields) in &declared.structures {
        writeln!(c, "printf(\"{name} %zu\\n\", sizeof({name}));").unwrap();
        for field in fields {
            writeln!(
                c,
                "printf(\"{name} {field} %zu %zu\\n\", offsetof({name}, {field}), \
                 sizeof((({name} *)0)->{field}));"
            )
            .unwrap();
        }
    }
    c.push_str("return 0;\n}\n");
    let source = scratch().join("layout.c");
    let program = scratch().join("layout");
    std::fs::write(&source, c).unwrap();
    succeeds(
        crate::stage::program("gcc")
            .args(C99)
            .arg(&source)
            .args(pkg_config(&["--cflags"]))
            .arg("-o")
            .arg(&program),
    );
    let compiled = succeeds(&mut crate::stage::program(program));
    let names = declared.structures.iter().map(|(name, _)| name);
    let interpreted = succeeds(
        crate::stage::program("python3")
            .args(["-B", "-c", python])
            .args(names)
            .env("PYTHONPATH", path().parent().unwrap()),
    );
    assert!(compiled.lines().count() > 80, "{compiled}");
    assert_eq!(interpreted, compiled);
}

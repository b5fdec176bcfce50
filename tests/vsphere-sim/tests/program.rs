//! The program: started, asked, stopped.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    _stdout: BufReader<ChildStdout>,
    ready: HashMap<String, String>,
}

fn read_pairs(text: &str) -> HashMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

impl Program {
    /// Starts the program with plain HTTP and one empty volume `v`; returns once it says that it listens.
    fn start(dir: &Path, more: &[&str]) -> Program {
        let ready_file = dir.join("ready");
        let mut child = Command::new(env!("CARGO_BIN_EXE_vsphere-sim"))
            .args([
                "--no-tls",
                "--until-stdin-closes",
                "--volume",
                "v=4M,thick,uuid=11111111-2222-3333-4444-555555555555",
            ])
            .arg("--ready-file")
            .arg(&ready_file)
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        // What it prints comes after the file is in place.
        stdout.read_line(&mut line).unwrap();
        let ready = read_pairs(&fs::read_to_string(&ready_file).unwrap());
        Program {
            stdin: child.stdin.take(),
            child,
            _stdout: stdout,
            ready,
        }
    }

    fn get(&self, path: &str) -> (String, String) {
        let address = self.ready["url"].strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }

    fn ask(&self, path: &str) -> String {
        let (status, body) = self.get(path);
        assert!(status.contains("200"), "{path}: {status} {body}");
        body
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // A test that has failed must not leave the program behind.
        let _ = self.child.wait();
    }
}

#[test]
fn it_tells_where_it_listens_and_what_it_holds() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start(dir.path(), &[]);
    assert!(program.ready["moref.v"].starts_with("vm-"));
    assert!(Path::new(&program.ready["ca"]).exists());
    let state = program.ask("/sim/state");
    assert!(
        state.contains("\"instance_uuid\": \"11111111-2222-3333-4444-555555555555\""),
        "{state}"
    );
    assert!(state.contains("\"type\": \"thick\""), "{state}");
}

#[test]
fn disks_are_loaded_saved_and_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start(dir.path(), &[]);
    let (raw, saved) = (dir.path().join("raw"), dir.path().join("saved"));
    let content = vec![42; 4 << 20];
    fs::write(&raw, &content).unwrap();
    program.ask(&format!("/sim/load?vm=v&path={}", raw.display()));
    program.ask(&format!("/sim/save?vm=v&path={}", saved.display()));
    assert!(fs::read(&saved).unwrap() == content);
    let before = program.ask("/sim/sha256?vm=v");
    program.ask("/sim/damage?vm=v&offset=1000&count=1");
    assert_ne!(program.ask("/sim/sha256?vm=v"), before);
    program.ask("/sim/damage?vm=v&offset=1000&count=1");
    assert_eq!(program.ask("/sim/sha256?vm=v"), before);
}

#[test]
fn an_image_is_a_volumes_contents() {
    let dir = tempfile::tempdir().unwrap();
    let raw = dir.path().join("image");
    fs::write(&raw, vec![7; 1 << 20]).unwrap();
    let volume = format!("w={},thin", raw.display());
    let program = Program::start(dir.path(), &["--volume", &volume]);
    let saved = dir.path().join("saved");
    program.ask(&format!("/sim/save?vm=w&path={}", saved.display()));
    assert!(fs::read(&saved).unwrap() == fs::read(&raw).unwrap());
}

#[test]
fn a_machine_that_is_destroyed_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start(dir.path(), &["--volume", "w=4M"]);
    program.ask("/sim/destroy?vm=w");
    let state = program.ask("/sim/state");
    assert!(!state.contains("\"name\": \"w\""), "{state}");
    assert!(state.contains("\"name\": \"v\""), "{state}");
}

#[test]
fn the_rate_of_exports_is_a_number() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start(dir.path(), &["--keep-exports"]);
    program.ask("/sim/rate?export=30000000");
    assert!(program.get("/sim/rate?export=slow").0.contains("400"));
}

#[test]
fn what_is_not_known_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start(dir.path(), &[]);
    for path in [
        "/sim/nothing",
        "/sim/sha256?vm=nobody",
        "/sim/fault?trouble=colour",
        "/sim/power?vm=v",
    ] {
        assert!(program.get(path).0.contains("400"), "{path}");
    }
}

#[test]
fn it_stops_when_its_input_closes() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = Program::start(dir.path(), &[]);
    drop(program.stdin.take());
    assert!(program.child.wait().unwrap().success());
    let ca = Path::new(&program.ready["ca"]);
    assert!(!ca.exists());
}

#[test]
fn it_stops_at_a_signal_and_cleans_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = Program::start(dir.path(), &[]);
    let kill = Command::new("kill")
        .arg(program.child.id().to_string())
        .status()
        .unwrap();
    assert!(kill.success());
    assert!(program.child.wait().unwrap().success());
    assert!(!Path::new(&program.ready["ca"]).exists());
}

#[test]
fn wrong_arguments_are_told() {
    for arguments in [
        &["--colour"][..],
        &["--mode", "mainframe"],
        &["--volume", "v"],
        &["--listen"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_vsphere-sim"))
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("usage:"));
    }
}

//! The C program `tests/c/network.c`: one process that does job after job.

use crate::fixture::Scene;
use crate::stage::{C99, compile};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime};

/// No job takes that long: its time-outs are 1.5 s and its retries few.
const LIMIT: Duration = Duration::from_secs(60);

pub struct Program {
    child: Child,
    lines: Receiver<String>,
    /// What the library logged.
    pub log: PathBuf,
}

/// How a job ended.
#[derive(Debug)]
pub struct Told {
    pub status: i32,
    pub retryable: bool,
    pub sha256: String,
    pub again: u32,
    /// When the operation returned; the client was freed after it.
    pub ended: SystemTime,
    pub threads: u32,
    pub descriptors: u32,
    pub message: String,
    pub took: Duration,
}

impl Program {
    /// Where the CA file is is not the simulator's: that one may be replaced.
    pub fn start(scene: &Scene, proxy: SocketAddr, ca: &Path, root: &Path) -> Program {
        let log = root.join("log");
        let mut child =
            crate::stage::program(compile("gcc", &C99, "tests/c/network.c", &["-lpthread"]))
                .arg(format!("https://{proxy}"))
                .args([&scene.options.username, &scene.options.password])
                .args([ca, root])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(
                    File::options()
                        .create(true)
                        .append(true)
                        .open(&log)
                        .unwrap(),
                )
                .spawn()
                .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Program { child, lines, log }
    }

    /// Has a job done; an error where the program hangs or died.
    pub fn ask(&mut self, job: &str) -> Result<Told, String> {
        // The log of this job alone.
        File::options()
            .write(true)
            .open(&self.log)
            .and_then(|log| log.set_len(0))
            .unwrap();
        let start = Instant::now();
        let input = self.child.stdin.as_mut().unwrap();
        writeln!(input, "{job}").map_err(|e| format!("the program is gone: {e}"))?;
        let line = self.lines.recv_timeout(LIMIT).map_err(|e| {
            let status = self.child.try_wait();
            format!("no answer: {e}; status {status:?}; {}", self.logged())
        })?;
        told(&line, start.elapsed()).ok_or_else(|| format!("it said: {line}"))
    }

    pub fn logged(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

fn told(line: &str, took: Duration) -> Option<Told> {
    let mut words = line.splitn(8, ' ');
    Some(Told {
        status: words.next()?.parse().ok()?,
        retryable: words.next()? == "1",
        sha256: words.next()?.to_owned(),
        again: words.next()?.parse().ok()?,
        ended: SystemTime::UNIX_EPOCH + Duration::from_micros(words.next()?.parse().ok()?),
        threads: words.next()?.parse().ok()?,
        descriptors: words.next()?.parse().ok()?,
        message: words.next()?.to_owned(),
        took,
    })
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

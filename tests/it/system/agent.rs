//! The C program `tests/c/agent.c` as a process: started, waited for within bounds, killed by its id.

use super::job::Job;
use super::site::Site;
use crate::stage::{C99, compile};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Nothing that the program does takes that long: its own time-outs are 10 s.
pub const LIMIT: Duration = Duration::from_secs(90);

/// How often a process is asked whether it has ended.
const GLANCE: Duration = Duration::from_millis(5);

pub fn program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| compile("gcc", &C99, "tests/c/agent.c", &[]))
}

/// A running agent. Dropping it kills it.
pub struct Agent {
    child: Child,
    said: PathBuf,
}

/// How an agent ended, and all that it said.
pub struct Ended {
    pub status: ExitStatus,
    pub said: String,
}

impl Agent {
    /// Starts a job of a site.
    pub fn start(site: &Site, job: &Job) -> Agent {
        Self::begin(site, job, false)
    }

    /// Starts a program that begins when [`Agent::go`] is called.
    pub fn start_waiting(site: &Site, job: &Job) -> Result<Agent, String> {
        let mut agent = Self::begin(site, job, true);
        let end = Instant::now() + LIMIT;
        while fs::read(&agent.said).is_ok_and(|said| said.is_empty()) {
            if agent.ended()?.is_some() || Instant::now() > end {
                return Err("the program did not become ready".into());
            }
            std::thread::sleep(GLANCE);
        }
        Ok(agent)
    }

    fn begin(site: &Site, job: &Job, waits: bool) -> Agent {
        let mut command = crate::stage::program(program());
        command
            .args(site.server())
            .args([job.operation, job.staging, job.name, job.id, job.backup])
            .args(waits.then_some("wait"));
        Self::spawn(site, command)
    }

    /// Starts a program whose output is kept.
    pub fn spawn(site: &Site, mut command: Command) -> Agent {
        let said = site.new_file("agent");
        let output = File::create(&said).unwrap();
        let child = command
            .stdin(Stdio::piped())
            .stderr(output.try_clone().unwrap())
            .stdout(output)
            .spawn()
            .unwrap();
        Agent { child, said }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lets a program begin that waits for it.
    pub fn go(&mut self) {
        // One that has been killed meanwhile does not mind.
        let _ = self.child.stdin.take().unwrap().write_all(b"\n");
    }

    /// The status, if it has ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, String> {
        self.child.try_wait().map_err(|e| e.to_string())
    }

    /// SIGKILL, and the end of it.
    pub fn kill(mut self) -> Ended {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        self.told(status)
    }

    /// Waits for its end; an error where it hangs.
    pub fn wait(mut self) -> Result<Ended, String> {
        let end = Instant::now() + LIMIT;
        while Instant::now() < end {
            if let Some(status) = self.ended()? {
                return Ok(self.told(status));
            }
            std::thread::sleep(GLANCE);
        }
        Err(format!("it hangs: {}", stacks(self.pid())))
    }

    fn told(&self, status: ExitStatus) -> Ended {
        let mut said = Vec::new();
        File::open(&self.said)
            .unwrap()
            .read_to_end(&mut said)
            .unwrap();
        Ended {
            status,
            said: String::from_utf8_lossy(&said).into_owned(),
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// Whether the operation succeeded; an error where the program did not end by itself with one of
    /// the two statuses it has.
    pub fn succeeded(&self) -> Result<bool, String> {
        match self.status.code() {
            Some(0) => Ok(true),
            Some(2) => Ok(false),
            _ => Err(format!("{}: {}", self.status, self.said.trim_end())),
        }
    }
}

/// Where the threads of a process wait, for whoever looks into a hang.
fn stacks(pid: u32) -> String {
    let mut text = String::new();
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten();
    for task in tasks.flatten() {
        for file in ["comm", "wchan", "syscall"] {
            let read = fs::read_to_string(task.path().join(file)).unwrap_or_default();
            text.push_str(read.trim_end());
            text.push(' ');
        }
        text.push_str("; ");
    }
    text
}

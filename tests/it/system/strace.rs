//! `strace` at a running agent: it counts system calls, lets one fail, or kills at one.

use super::agent::{Agent, Ended, LIMIT};
use super::job::Job;
use super::site::Site;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// A tracer. Dropping it kills it, which lets the traced process go on.
struct Tracer {
    child: Child,
    log: PathBuf,
}

impl Tracer {
    /// Attaches to a process that waits, and to all threads it will have. What the program loader
    /// does is over by then, and not counted.
    fn attach(site: &Site, pid: u32, expressions: &[String]) -> Result<Tracer, String> {
        let (log, said) = (site.new_file("strace"), site.new_file("strace-said"));
        // A file: it goes on telling of threads, and must not die of a closed pipe.
        let output = File::create(&said).map_err(|e| e.to_string())?;
        let child = crate::stage::program("strace")
            .args(["-f", "-y", "-s", "0", "-o"])
            .arg(&log)
            .args(expressions.iter().flat_map(|one| ["-e", one]))
            .args(["-p", &pid.to_string()])
            .stdin(Stdio::null())
            .stderr(output)
            .spawn()
            .map_err(|e| format!("strace is needed and does not start ({e}): please install it"))?;
        let mut tracer = Tracer { child, log };
        let end = Instant::now() + LIMIT;
        loop {
            let text = fs::read_to_string(&said).unwrap_or_default();
            if text.contains(" attached") {
                return Ok(tracer);
            }
            let ended = tracer.child.try_wait().map_err(|e| e.to_string())?;
            if ended.is_some() || Instant::now() > end {
                return Err(format!("strace cannot trace here: {text}"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// What it saw; it ends with the process.
    fn log(mut self) -> Result<String, String> {
        let end = Instant::now() + LIMIT;
        while self.child.try_wait().map_err(|e| e.to_string())?.is_none() {
            if Instant::now() > end {
                return Err("strace does not end".into());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        fs::read(&self.log)
            .map(|log| String::from_utf8_lossy(&log).into_owned())
            .map_err(|e| e.to_string())
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a job under `strace` with these expressions; gives also what it saw.
pub fn trace(site: &Site, job: &Job, expressions: &[String]) -> Result<(Ended, String), String> {
    let (mut agent, tracer) = traced(site, job, expressions)?;
    agent.go();
    let ended = agent.wait()?;
    let log = tracer.log()?;
    // A tracer that ended before the process would have let the rest of it go unseen.
    if log.contains("+++ exited with") || log.contains("+++ killed by") {
        Ok((ended, log))
    } else {
        Err("strace did not see the end of the process".into())
    }
}

/// An agent that waits, and its tracer. Where the kernel refuses the tracer, it is asked once more.
fn traced(site: &Site, job: &Job, expressions: &[String]) -> Result<(Agent, Tracer), String> {
    let agent = Agent::start_waiting(site, job)?;
    if let Ok(tracer) = Tracer::attach(site, agent.pid(), expressions) {
        return Ok((agent, tracer));
    }
    let agent = Agent::start_waiting(site, job)?;
    let tracer = Tracer::attach(site, agent.pid(), expressions)?;
    Ok((agent, tracer))
}

/// How many times a job makes each system call: the most that one thread does, since `strace`
/// counts for each thread alone.
pub fn count(job: &Job) -> BTreeMap<String, u32> {
    let (ended, log) = trace(&Site::new(), job, &["trace=all".into()]).unwrap();
    assert!(ended.succeeded().unwrap(), "{}", ended.said);
    let mut counts: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for line in log.lines() {
        let Some((thread, rest)) = line.split_once(' ') else {
            continue;
        };
        // "<... read resumed>" is the other half of a line that was counted.
        let call = rest.trim_start().split_once('(').map(|(call, _)| call);
        let is_name = |call: &&str| call.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if let Some(call) = call.filter(is_name) {
            *counts.entry((thread, call)).or_default() += 1;
        }
    }
    let mut most: BTreeMap<String, u32> = BTreeMap::new();
    for ((_, call), count) in counts {
        let known = most.entry(call.to_owned()).or_default();
        *known = count.max(*known);
    }
    most
}

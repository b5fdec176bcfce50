//! Every system call of an operation failing in turn, and SIGKILL at system calls anywhere.

use super::job::{Job, RECOVER, job, jobs};
use super::site::Site;
use super::strace::{count, trace};
use super::walk::{Outcome, Point, Struck, replayed, walk};
use std::collections::BTreeMap;

/// What a system call that is made for the library may fail with. Not among them: calls that cannot
/// fail for their caller's sake (signal masks, the clock, yielding), futex, closing (which closes
/// even when it fails), brk (which answers with an address, never with an error number), and EAGAIN
/// of sockets, which promises an event that would never come.
fn errors(call: &str) -> &'static [&'static str] {
    match call {
        "openat" | "open" => &["EMFILE", "ENOSPC", "EIO", "ENOMEM"],
        "socket" | "epoll_create1" | "eventfd2" | "socketpair" | "pipe2" | "dup" => {
            &["EMFILE", "ENOMEM"]
        }
        "fcntl" => &["EMFILE"],
        "connect" => &["ECONNREFUSED", "ECONNRESET", "ENOMEM"],
        "sendto" | "sendmsg" | "writev" => &["EPIPE", "ECONNRESET", "ENOMEM"],
        "recvfrom" | "recvmsg" | "readv" => &["ECONNRESET", "ENOMEM"],
        "read" | "pread64" | "lseek" | "getdents64" | "unlink" | "unlinkat" | "rmdir" => &["EIO"],
        "write" | "pwrite64" | "fsync" | "fdatasync" | "ftruncate" | "fallocate" | "mkdir"
        | "rename" | "renameat2" | "copy_file_range" | "sendfile" => &["ENOSPC", "EIO"],
        "stat" | "lstat" | "fstat" | "newfstatat" | "statx" | "statfs" | "fstatfs" => {
            &["EIO", "ENOMEM"]
        }
        "flock" => &["ENOLCK"],
        "clone3" | "clone" => &["EAGAIN", "ENOMEM"],
        "epoll_ctl" => &["ENOMEM", "ENOSPC"],
        "getrandom" => &["EAGAIN"],
        "setsockopt" | "getsockopt" | "getpeername" | "getsockname" | "bind" | "getcwd" => {
            &["ENOMEM"]
        }
        "mmap" | "mprotect" | "mremap" => &["ENOMEM"],
        _ => &[],
    }
}

/// A system call that a loop makes fails at so many of its turns.
const TURNS: u32 = 8;

/// The turns at which it fails: the first, the last, and those spread between.
fn turns(count: u32) -> impl Iterator<Item = u32> {
    let points = count.min(TURNS);
    (0..points).map(move |index| 1 + index * (count - 1) / (points - 1).max(1))
}

fn fail(job: &Job, call: &str, error: &str, nth: u32) -> Outcome {
    let site = Site::new();
    let inject = format!("inject={call}:error={error}:when={nth}");
    let (ended, log) = trace(&site, job, &[format!("trace={call}"), inject])?;
    if ended.succeeded()? {
        site.holds_success(job)?;
    }
    site.holds_old_or_new(job)?;
    site.let_leases_run_out();
    let told = site.recover(&RECOVER, 1)?;
    let failed = told[0].said.lines().find(|line| line.starts_with("failed"));
    if let Some(failed) = failed {
        return Err(format!("recovery: {failed}; after {}", ended.said));
    }
    let at_rest = site.holds_at_rest(job);
    at_rest.map_err(|why| format!("{why}; after {}", ended.said))?;
    let struck = log.contains("(INJECTED)");
    Ok(if struck { Struck::Yes } else { Struck::No })
}

fn kill(job: &Job, call: &str, nth: u32, turn: u32) -> Outcome {
    let site = Site::new();
    let inject = format!("inject={call}:signal=KILL:when={nth}");
    let (ended, _) = trace(&site, job, &[format!("trace={call}"), inject])?;
    if ended.status.code().is_some() {
        return match ended.succeeded()? {
            true => site.holds_success(job).map(|()| Struck::No),
            false => Err(format!("without a fault: {}", ended.said)),
        };
    }
    let (recoveries, lost_journal) = super::kills::RECOVERIES[turn as usize % 3];
    site.holds_old_or_new(job)?;
    site.holds_after_recovery(job, recoveries, lost_journal)?;
    Ok(Struck::Yes)
}

/// `kind/job:call:what:number`, as points are named, for the point that is to be replayed.
fn named(kind: &str) -> Option<[String; 4]> {
    let name = replayed()?;
    let mut parts = name.strip_prefix(kind)?.split(':').map(str::to_owned);
    Some([parts.next()?, parts.next()?, parts.next()?, parts.next()?])
}

fn failing(label: &str, job: Job, call: &str, error: &str, nth: u32) -> Point<'static> {
    let (call, error) = (call.to_owned(), error.to_owned());
    Point {
        name: format!("failing/{label}:{call}:{error}:{nth}"),
        strike: Box::new(move || fail(&job, &call, &error, nth)),
    }
}

fn killed(label: &str, job: Job, call: &str, nth: u32, seed: u32) -> Point<'static> {
    let call = call.to_owned();
    Point {
        name: format!("killed/{label}:{call}:{nth}:{seed}"),
        strike: Box::new(move || kill(&job, &call, nth, seed)),
    }
}

/// The jobs whose system calls differ; a new backing's restore makes those of an old one's.
fn different_jobs() -> Vec<(String, Job)> {
    let differs = |label: &str| !label.starts_with("restore-new") || label.ends_with("file");
    let jobs = jobs().into_iter();
    jobs.filter(|(label, _)| differs(label)).collect()
}

#[test]
fn a_failing_system_call_ends_in_success_or_an_error() {
    let mut points = Vec::new();
    if let Some([label, call, error, nth]) = named("failing/") {
        points.push(failing(
            &label,
            job(&label),
            &call,
            &error,
            nth.parse().unwrap(),
        ));
    } else if replayed().is_none() {
        for (label, job) in different_jobs() {
            for (call, count) in count(&job) {
                for error in errors(&call) {
                    points.extend(turns(count).map(|nth| failing(&label, job, &call, error, nth)));
                }
            }
        }
    }
    walk("injected", points, 26);
}

/// What file systems that are not local refuse, and with what (CIFS, FUSE, NFS, FAT).
const REFUSALS: [(&str, &str); 10] = [
    ("fsync", "EINVAL"),
    ("fsync", "EOPNOTSUPP"),
    ("fdatasync", "EINVAL"),
    ("flock", "ENOLCK"),
    ("flock", "EOPNOTSUPP"),
    ("renameat2", "EINVAL"),
    ("statfs", "ENOSYS"),
    ("fallocate", "EOPNOTSUPP"),
    ("fchmod", "EPERM"),
    ("flock", "EINTR:when=1"),
];

#[test]
fn a_file_system_that_cannot_do_everything_is_good_enough() {
    let mut held = 0;
    // With files, a service of the agent's own syncs them.
    for label in ["backup/stream", "backup/file", "restore/file"] {
        let job = job(label);
        for (call, error) in REFUSALS {
            let site = Site::new();
            let inject = format!("inject={call}:error={error}");
            let (ended, log) = trace(&site, &job, &[format!("trace={call}"), inject]).unwrap();
            assert!(
                ended.succeeded().unwrap(),
                "{label}, {call} {error}: {}",
                ended.said
            );
            site.holds_success(&job).unwrap();
            held += usize::from(log.contains("(INJECTED)"));
        }
    }
    println!("refusals that were put up with: {held}");
    assert!(held > 10, "{held}");
}

/// So many processes die at a system call that chance chooses.
const KILLS: u32 = 300;

/// The next of a sequence that its seed determines.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[test]
fn a_process_killed_at_a_random_system_call_leaves_what_recovery_clears() {
    let mut points = Vec::new();
    if let Some([label, call, nth, seed]) = named("killed/") {
        let (nth, seed) = (nth.parse().unwrap(), seed.parse().unwrap());
        points.push(killed(&label, job(&label), &call, nth, seed));
    } else if replayed().is_none() {
        let jobs = jobs();
        let counts: Vec<BTreeMap<String, u32>> = jobs.iter().map(|(_, job)| count(job)).collect();
        for seed in 0..KILLS {
            let mut state = u64::from(seed);
            let chosen = next(&mut state) as usize % jobs.len();
            let all: u32 = counts[chosen].values().sum();
            let mut at = (next(&mut state) % u64::from(all)) as u32;
            let (label, job) = &jobs[chosen];
            for (call, count) in &counts[chosen] {
                if at < *count {
                    points.push(killed(label, *job, call, at + 1, seed));
                    break;
                }
                at -= count;
            }
        }
    }
    walk("kills at system calls", points, 12);
}

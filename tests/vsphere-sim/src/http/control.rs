//! `/sim`: a way in for programs that are no tests of this project: shell scripts, peers in other languages.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Request, StatusCode};

use crate::plan::{At, DataTrouble, FaultPlan, Rule, Trouble};
use crate::simulator::{Controls, VmView};
use crate::wire::{Fault, schema};

use super::{Entrance, Reply, plain};

const HELP: &str = "\
/sim/state                            everything there is, as JSON
/sim/requests                         every request so far, a line each
/sim/save?vm=NAME&path=FILE[&key=N]   writes a disk to a raw image
/sim/load?vm=NAME&path=FILE[&key=N]   replaces a disk's contents
/sim/damage?vm=NAME[&key=N]&offset=N&count=N
                                      inverts bytes of a disk
/sim/sha256?vm=NAME[&key=N]           SHA-256 of the raw disk
/sim/power?vm=NAME&on=true|false
/sim/destroy?vm=NAME                   with its disks
/sim/snapshot?vm=NAME&name=TEXT
/sim/rate?export=N                    bytes a second of each export from now on; 0 is as fast as it goes
/sim/expire                           ends all sessions
/sim/advance?seconds=N                lets time pass
/sim/fault?at=call|task|export|import[&method=NAME][&nth=N][&times=N]&trouble=WHAT
    WHAT: fault:NAME, fault-after:NAME, reply-lost, close, reset, status:N, status-after:N, html, truncated-xml,
    lose-session, hold:GATE, hold-reply:GATE,
    or for transfers OFFSET:close, :reset, :end, :flip, :too-long-N, :content-length-N, :answer-N, :stall-GATE
/sim/wait?gate=GATE[&seconds=N]       waits until something stands at the gate
/sim/open?gate=GATE                   opens the gate
/sim/clear-faults
";

pub async fn answer(request: &Request<Incoming>, entrance: &Entrance) -> Reply {
    let controls = Controls::new(entrance.shared.clone());
    let path = request.uri().path().to_owned();
    let query = query(request.uri().query().unwrap_or_default());
    // Hashing a disk takes its time.
    let worked = tokio::task::spawn_blocking(move || perform(&controls, &path, &query)).await;
    let result = worked.unwrap_or_else(|_| Err("the simulator panicked".to_owned()));
    Ok(match result {
        Ok(text) => plain(StatusCode::OK, &text),
        Err(why) => plain(StatusCode::BAD_REQUEST, &format!("{why}\n")),
    })
}

pub fn query(text: &str) -> HashMap<String, String> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect()
}

pub fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code = tail
            .get(..2)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let code = code.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (first, code) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = tail;
            }
            (byte, _) => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

type Query = HashMap<String, String>;

fn get<'q>(query: &'q Query, name: &str) -> Result<&'q str, String> {
    query
        .get(name)
        .map(String::as_str)
        .ok_or_else(|| format!("{name}= is missing"))
}

fn number<T: std::str::FromStr>(
    query: &Query,
    name: &str,
    default: Option<T>,
) -> Result<T, String> {
    match (query.get(name), default) {
        (Some(text), _) => text
            .parse()
            .map_err(|_| format!("{name}={text} is no number")),
        (None, Some(default)) => Ok(default),
        (None, None) => Err(format!("{name}= is missing")),
    }
}

/// The machine and the disk that a query means: by name or moref, and by key where there is more than one.
fn disk(controls: &Controls, query: &Query) -> Result<(String, i32), String> {
    let vm = vm(controls, query)?;
    let first = vm.disks.first().map(|disk| disk.key);
    Ok((vm.moref, number(query, "key", first)?))
}

fn vm(controls: &Controls, query: &Query) -> Result<VmView, String> {
    let name = get(query, "vm")?;
    let found = controls.find_vm(name).or_else(|| controls.vm(name));
    found.ok_or_else(|| format!("there is no virtual machine {name}"))
}

fn perform(controls: &Controls, path: &str, query: &Query) -> Result<String, String> {
    let failed = |error: std::io::Error| error.to_string();
    let done = || "ok\n".to_owned();
    match path.trim_start_matches("/sim/") {
        "" | "help" => return Ok(HELP.to_owned()),
        "state" => return Ok(state(controls)),
        "requests" => return Ok(requests(controls)),
        "save" => {
            let (vm, key) = disk(controls, query)?;
            controls
                .save_disk(&vm, key, Path::new(get(query, "path")?))
                .map_err(failed)?;
        }
        "load" => {
            let (vm, key) = disk(controls, query)?;
            controls
                .load_disk(&vm, key, Path::new(get(query, "path")?))
                .map_err(failed)?;
        }
        "damage" => {
            let (vm, key) = disk(controls, query)?;
            let (offset, count) = (
                number(query, "offset", None)?,
                number(query, "count", Some(1 << 20))?,
            );
            controls
                .invert_disk(&vm, key, offset, count)
                .map_err(failed)?;
        }
        "sha256" => {
            let (vm, key) = disk(controls, query)?;
            return controls
                .disk_sha256(&vm, key)
                .map(|sum| format!("{sum}\n"))
                .map_err(failed);
        }
        "power" => {
            let on = get(query, "on")? == "true";
            controls
                .set_power(&vm(controls, query)?.moref, on)
                .map_err(failed)?;
        }
        "destroy" => controls.remove_vm(&vm(controls, query)?.moref),
        "snapshot" => {
            let vm = vm(controls, query)?;
            return controls
                .add_snapshot(&vm.moref, get(query, "name")?)
                .map_err(failed);
        }
        "rate" => controls.set_export_rate(number(query, "export", None)?),
        "expire" => controls.expire_sessions(),
        "advance" => controls.advance_clock(Duration::from_secs(number(query, "seconds", None)?)),
        "fault" => controls.faults().add(rule(controls, query)?),
        "clear-faults" => controls.faults().clear(),
        "open" => controls.faults().gate(get(query, "gate")?).open(),
        "wait" => {
            let limit = Duration::from_secs(number(query, "seconds", Some(60))?);
            if !controls
                .faults()
                .gate(get(query, "gate")?)
                .wait_for_arrival(limit)
            {
                return Err("nothing came to the gate".to_owned());
            }
        }
        _ => return Err(format!("there is no {path}\n\n{HELP}")),
    }
    Ok(done())
}

fn rule(controls: &Controls, query: &Query) -> Result<Rule, String> {
    let method = query.get("method").cloned();
    let at = match query.get("at").map_or("call", String::as_str) {
        "call" => At::Call(method),
        "task" => At::Task(method),
        "export" => At::Export,
        "import" => At::Import,
        other => return Err(format!("at={other} is not known")),
    };
    let trouble = trouble(get(query, "trouble")?, controls.faults())?;
    Ok(Rule {
        at,
        nth: number(query, "nth", Some(1))?,
        times: number(query, "times", Some(1))?,
        trouble,
    })
}

fn trouble(text: &str, plan: &FaultPlan) -> Result<Trouble, String> {
    let unknown = || format!("trouble={text} is not known");
    let (word, rest) = text.split_once(':').unwrap_or((text, ""));
    let status = || rest.parse().map_err(|_| unknown());
    Ok(match word {
        "fault" => Trouble::Fault(fault(rest)?),
        "fault-after" => Trouble::FaultAfter(fault(rest)?),
        "reply-lost" => Trouble::ReplyLost,
        "close" => Trouble::Close,
        "reset" => Trouble::Reset,
        "status" => Trouble::Status(status()?),
        "status-after" => Trouble::StatusAfter(status()?),
        "html" => Trouble::Html,
        "truncated-xml" => Trouble::TruncatedXml,
        "lose-session" => Trouble::LoseSession,
        "hold" => Trouble::Hold(plan.gate(rest)),
        "hold-reply" => Trouble::HoldReply(plan.gate(rest)),
        offset => {
            let offset = offset.parse().map_err(|_| unknown())?;
            let (word, count) = rest.rsplit_once('-').unwrap_or((rest, ""));
            let data = match (rest, word) {
                (_, "stall") => DataTrouble::Stall(plan.gate(count)),
                ("close", _) => DataTrouble::Close,
                ("reset", _) => DataTrouble::Reset,
                ("end", _) => DataTrouble::End,
                ("flip", _) => DataTrouble::Flip,
                (_, "too-long") => DataTrouble::TooLong(count.parse().map_err(|_| unknown())?),
                (_, "content-length") => {
                    DataTrouble::ContentLength(count.parse().map_err(|_| unknown())?)
                }
                (_, "answer") => DataTrouble::Answer(count.parse().map_err(|_| unknown())?),
                _ => return Err(unknown()),
            };
            Trouble::Data(offset, data)
        }
    })
}

fn fault(kind: &str) -> Result<Fault, String> {
    if !schema().data_is_a(kind, "MethodFault") {
        return Err(format!("{kind} is no fault that is known here"));
    }
    Ok(Fault::planned(kind))
}

fn requests(controls: &Controls) -> String {
    let mut text = String::new();
    for request in controls.requests() {
        let host = request
            .data_host
            .map_or("endpoint".to_owned(), |host| format!("data-host-{host}"));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{host} {} {}", request.method, request.path);
    }
    text
}

fn quoted(text: &str) -> String {
    let mut result = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => result.extend(['\\', letter]),
            letter if (letter as u32) < 0x20 => {
                let _ = write!(result, "\\u{:04x}", letter as u32);
            }
            letter => result.push(letter),
        }
    }
    result.push('"');
    result
}

fn state(controls: &Controls) -> String {
    let vms: Vec<String> = controls.vms().iter().map(vm_json).collect();
    let leases = controls.leases();
    let leases = leases.iter().map(|lease| {
        format!(
            "{{\"id\": {}, \"import\": {}, \"vm\": {}, \"state\": {}, \"percent\": {}, \"progress_calls\": {}}}",
            quoted(&lease.id),
            lease.import,
            quoted(&lease.vm),
            quoted(lease.state),
            lease.percent,
            lease.progress_calls.len()
        )
    });
    let leases: Vec<String> = leases.collect();
    let loose: Vec<String> = controls
        .loose_disks()
        .iter()
        .map(|path| quoted(path))
        .collect();
    format!(
        "{{\n  \"sessions\": {},\n  \"vms\": [\n    {}\n  ],\n  \"leases\": [\n    {}\n  ],\n  \"loose_disks\": [{}]\n}}\n",
        controls.sessions(),
        vms.join(",\n    "),
        leases.join(",\n    "),
        loose.join(", ")
    )
}

fn vm_json(vm: &VmView) -> String {
    let disks = vm.disks.iter().map(|disk| {
        format!(
            "{{\"key\": {}, \"controller\": {}, \"unit\": {}, \"file\": {}, \"uuid\": {}, \"capacity\": {}, \"type\": {}}}",
            disk.key,
            quoted(&disk.controller),
            disk.unit,
            quoted(&disk.file),
            quoted(&disk.uuid),
            disk.capacity,
            quoted(disk.disk_type.word())
        )
    });
    let disks: Vec<String> = disks.collect();
    let extra: Vec<String> = vm
        .extra_config
        .iter()
        .map(|(key, value)| format!("{}: {}", quoted(key), quoted(value)))
        .collect();
    format!(
        "{{\"moref\": {}, \"name\": {}, \"folder\": {}, \"instance_uuid\": {}, \"power\": {}, \"locked\": {}, \
         \"disks\": [{}], \"extra_config\": {{{}}}, \"snapshots\": {}}}",
        quoted(&vm.moref),
        quoted(&vm.name),
        quoted(&vm.folder),
        quoted(&vm.instance_uuid),
        quoted(&vm.power),
        vm.locked,
        disks.join(", "),
        extra.join(", "),
        vm.snapshots.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        let query = query("vm=a%20b+c&path=%2Ftmp%2fx&odd=%zz");
        assert_eq!(query["vm"], "a b c");
        assert_eq!(query["path"], "/tmp/x");
        assert_eq!(query["odd"], "%zz");
    }

    #[test]
    fn troubles_are_read() {
        let plan = FaultPlan::default();
        assert!(matches!(
            trouble("status:503", &plan),
            Ok(Trouble::Status(503))
        ));
        assert!(matches!(
            trouble("4096:flip", &plan),
            Ok(Trouble::Data(4096, DataTrouble::Flip))
        ));
        assert!(matches!(
            trouble("0:too-long-12", &plan),
            Ok(Trouble::Data(0, DataTrouble::TooLong(12)))
        ));
        assert!(trouble("colour", &plan).is_err());
        assert!(trouble("fault:VirtualDisk", &plan).is_err());
    }
}

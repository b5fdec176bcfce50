//! What the library's jobs are made of, each part alone, so that a job's cost can be held against the sum of its parts.
//!
//! parts encode fast|balanced|small RAW VMDK | decode VMDK RAW | normalize VMDK VMDK | check full|structure VMDK     the engine, file to file
//! parts codec             prints what compresses streams in this build
//! parts lease VOLUME      prints where the disk of a volume can be downloaded; until standard input ends
//! parts receive VOLUME    receives the disk and does nothing with it
//! parts sha256|content|inflate|deflate VMDK                        on what is in memory already
//! parts write VMDK PATH                                                 writes such a file, and has it on stable storage
//!
//! The environment has VSPHERE_SERVER, VSPHERE_USER and VSPHERE_PASSWORD. Prints `part_cpu=` in seconds and `bytes=`; the engine
//! prints `peak_kib=`.

mod engine;
mod memory;
mod network;
mod stream;

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn processor_seconds() -> Outcome<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(micros.unsigned_abs()).as_secs_f64())
}

/// Tells the most memory that the process ever had.
fn print_peak() -> Outcome<()> {
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.map(|text| text.trim().trim_end_matches(" kB"));
    println!("peak_kib={}", peak.ok_or("no VmHWM")?);
    Ok(())
}

/// Does the work, and tells what it cost and how many bytes it was on.
fn measured(work: impl FnOnce() -> Outcome<u64>) -> Outcome<()> {
    let before = processor_seconds()?;
    let bytes = work()?;
    println!(
        "part_cpu={:.6}\nbytes={bytes}",
        processor_seconds()? - before
    );
    Ok(())
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["encode", level, raw, vmdk] => {
            engine::encode_file(level, Path::new(raw), Path::new(vmdk))?;
            print_peak()
        }
        ["decode", vmdk, raw] => {
            engine::decode_file(Path::new(vmdk), Path::new(raw))?;
            print_peak()
        }
        ["normalize", from, to] => engine::normalize_file(Path::new(from), Path::new(to)),
        ["check", level, vmdk] => engine::check_file(level, Path::new(vmdk)),
        ["codec"] => {
            println!("codec={}", vmdk_backup::vmdk::CODEC);
            Ok(())
        }
        ["lease", volume] => network::lease(volume),
        ["receive", volume] => network::receive(volume),
        ["write", vmdk, path] => memory::write(Path::new(vmdk), Path::new(path)),
        [part, vmdk] => memory::part(part, Path::new(vmdk)),
        // Cargo runs it like this where somebody asks for all benchmarks.
        _ => {
            println!("parts: a part of `make bench`, which says which part is wanted");
            Ok(())
        }
    }
}

//! The engine beside qemu-img, on one image: wall time, processor time (user and system) and size, medians.
//!
//! `cargo bench --bench engine [-- IMAGE [RUNS]]`: without IMAGE, it makes a 2 GiB ext4 image of files of this machine.

use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use vmdk_backup::vmdk::{
    CheckOptions, Compression, DiskSink, EncodeOptions, Level, NormalizeOptions, RawDisk, check,
    decode, encode, normalize,
};

/// Whose processor time counts, the file that is made, and what makes it.
type Job<'a> = (
    UsageWho,
    Option<&'a Path>,
    &'a mut dyn FnMut() -> Outcome<()>,
);
type Outcome<T> = Result<T, Box<dyn Error>>;

/// What one run cost, or the median of several.
#[derive(Clone, Copy)]
struct Cost {
    wall: f64,
    cpu: f64,
}

fn processor_seconds(who: UsageWho) -> Outcome<f64> {
    let usage = getrusage(who)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(micros.unsigned_abs()).as_secs_f64())
}

fn cost(who: UsageWho, job: &mut dyn FnMut() -> Outcome<()>) -> Outcome<Cost> {
    let (start, before) = (Instant::now(), processor_seconds(who)?);
    job()?;
    Ok(Cost {
        wall: start.elapsed().as_secs_f64(),
        cpu: processor_seconds(who)? - before,
    })
}

fn median(costs: &[Cost], of: fn(&Cost) -> f64) -> f64 {
    let mut values: Vec<f64> = costs.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Runs several jobs in turn, so that what else the machine does meets all of them, and gives the median of each.
fn compare(runs: usize, jobs: &mut [Job]) -> Outcome<Vec<Cost>> {
    let mut costs = vec![Vec::new(); jobs.len()];
    for _ in 0..runs {
        for ((who, made, job), costs) in jobs.iter_mut().zip(&mut costs) {
            // Nobody's time goes into giving back what the run before has written.
            if let Some(made) = made
                && made.exists()
            {
                fs::remove_file(made)?;
            }
            costs.push(cost(*who, job)?);
        }
    }
    let medians = costs.iter().map(|costs| Cost {
        wall: median(costs, |cost| cost.wall),
        cpu: median(costs, |cost| cost.cpu),
    });
    Ok(medians.collect())
}

fn run(program: &str, arguments: &[&str]) -> Outcome<()> {
    let status = Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .status()
        .map_err(|e| format!("{program}: {e}"))?;
    if status.success() {
        return Ok(());
    }
    Err(format!("{program} {arguments:?}: {status}").into())
}

fn qemu_encode(raw: &str, vmdk: &str) -> Outcome<()> {
    let format = ["-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized"];
    run(
        "qemu-img",
        &[&["convert"], &format[..], &[raw, vmdk]].concat(),
    )
}

fn qemu_decode(vmdk: &str, raw: &str) -> Outcome<()> {
    run(
        "qemu-img",
        &["convert", "-f", "vmdk", "-O", "raw", vmdk, raw],
    )
}

fn our_encode(compression: Compression, raw: &Path, vmdk: &Path) -> Outcome<()> {
    let disk = RawDisk::open(raw)?;
    let size = disk.size();
    let options = EncodeOptions {
        compression,
        ..EncodeOptions::default()
    };
    encode(&options, Arc::new(disk), size, &mut File::create(vmdk)?)?;
    Ok(())
}

fn our_decode(vmdk: &Path, raw: &Path) -> Outcome<()> {
    let options = CheckOptions {
        accept_missing_eos: true,
        ..CheckOptions::default()
    };
    decode(&options, &mut File::open(vmdk)?, |size| {
        Ok(Arc::new(RawDisk::create(raw, size)?) as Arc<dyn DiskSink>)
    })?;
    Ok(())
}

fn our_normalize(vmdk: &Path, to: &Path) -> Outcome<()> {
    let options = NormalizeOptions {
        reorder: 0,
        ..NormalizeOptions::default()
    };
    normalize(&options, &mut File::open(vmdk)?, &mut File::create(to)?)?;
    Ok(())
}

fn our_check(level: Level, vmdk: &Path) -> Outcome<()> {
    let options = CheckOptions {
        level,
        accept_missing_eos: true,
        ..CheckOptions::default()
    };
    check(&options, &mut File::open(vmdk)?)?;
    Ok(())
}

/// An ext4 file system of 2 GiB with programs, libraries, text, a log and random bytes.
fn make_image(directory: &Path) -> Outcome<PathBuf> {
    let (files, image) = (directory.join("files"), directory.join("image.raw"));
    fs::create_dir_all(&files)?;
    let script = r#"
set -e
find /usr/bin /usr/lib /usr/share -xdev -type f -readable -size -20M -printf '%s %P\0%H\0' 2>/dev/null |
    awk -v RS='\0' 'NR % 2 { size = $1; sub(/^[0-9]+ /, ""); path = $0; next }
        { total += size; if (total > 900 * 1024 * 1024) exit; printf "%s/%s%c", $0, path, 0 }' >list
tar --null --files-from=list -C / -cf - 2>/dev/null | tar -xf - -C files
head -c 150000000 /dev/urandom >files/random
awk 'BEGIN { for (n = 1; n <= 1700000; n++) print "2026-11-23T00:00:00Z host" n % 7 " app[" n % 997 "]: request " n \
    " took " (n * 7919) % 1000 " ms, status 200, " (n * 104729) % 65536 " bytes" }' >files/log
mkfs.ext4 -q -F -d files -E root_owner=0:0 image.raw 2G
rm -rf files list
"#;
    let status = Command::new("sh")
        .args(["-c", script])
        .current_dir(directory)
        .status()?;
    if status.success() {
        return Ok(image);
    }
    Err(format!("the image could not be made: {status}").into())
}

/// One job of ours beside one of qemu-img's, and the most that its ratios may be.
struct Figure {
    name: &'static str,
    ours: Cost,
    peer: Cost,
    sizes: Option<(u64, u64)>,
    goals: &'static str,
}

fn print(figures: &[Figure]) {
    println!(
        "{:<18} {:>17} {:>17} {:>17}   {:<22} goals",
        "", "wall s, qemu's", "CPU s, qemu's", "MB, qemu's", "ratios"
    );
    for figure in figures {
        let (ours, peer) = (figure.ours, figure.peer);
        let pair = |a: f64, b: f64, digits: usize| format!("{a:.digits$} {b:>8.digits$}");
        let (sizes, ratio) = figure.sizes.map_or_else(Default::default, |(a, b)| {
            let (a, b) = (a as f64 / 1e6, b as f64 / 1e6);
            (pair(a, b, 1), format!(" {:.4}", a / b))
        });
        println!(
            "{:<18} {:>17} {:>17} {sizes:>17}   {:<22} {}",
            figure.name,
            pair(ours.wall, peer.wall, 2),
            pair(ours.cpu, peer.cpu, 2),
            format!(
                "{:.3} {:.3}{ratio}",
                ours.wall / peer.wall,
                ours.cpu / peer.cpu
            ),
            figure.goals,
        );
    }
}

fn main() -> Outcome<()> {
    // Cargo adds an argument of its own.
    let mut arguments = std::env::args().skip(1).filter(|a| !a.starts_with("--"));
    let directory = tempfile::Builder::new()
        .prefix("engine-bench-")
        .tempdir_in(std::env::var_os("TMPDIR").unwrap_or("/var/tmp".into()))?;
    let image = match arguments.next() {
        Some(image) => PathBuf::from(image),
        None => make_image(directory.path())?,
    };
    let runs: usize = arguments.next().map_or(Ok(5), |runs| runs.parse())?;
    let path = |name: &str| directory.path().join(name);
    let text = |path: &Path| {
        path.to_str()
            .map(str::to_owned)
            .ok_or("a path that is no text")
    };
    let (theirs, decoded, peer_decoded) = (path("qemu.vmdk"), path("ours.raw"), path("qemu.raw"));
    let (fast, balanced, small) = (path("fast.vmdk"), path("balanced.vmdk"), path("small.vmdk"));
    let normal = path("normal.vmdk");
    let (children, own) = (UsageWho::RUSAGE_CHILDREN, UsageWho::RUSAGE_SELF);
    let (raw, vmdk, out) = (text(&image)?, text(&theirs)?, text(&peer_decoded)?);

    let encoded = compare(
        runs,
        &mut [
            (children, Some(&theirs), &mut || qemu_encode(&raw, &vmdk)),
            (own, Some(&fast), &mut || {
                our_encode(Compression::Fast, &image, &fast)
            }),
            (own, Some(&balanced), &mut || {
                our_encode(Compression::Balanced, &image, &balanced)
            }),
            (own, Some(&small), &mut || {
                our_encode(Compression::Small, &image, &small)
            }),
        ],
    )?;
    let decoded = compare(
        runs,
        &mut [
            (children, Some(&peer_decoded), &mut || {
                qemu_decode(&vmdk, &out)
            }),
            (own, Some(&decoded), &mut || our_decode(&theirs, &decoded)),
            (own, Some(&normal), &mut || our_normalize(&theirs, &normal)),
            (own, None, &mut || our_check(Level::Structure, &theirs)),
            (own, None, &mut || our_check(Level::Full, &theirs)),
        ],
    )?;
    run("cmp", &[&raw, &text(&path("ours.raw"))?])?;
    let length = |path: &Path| fs::metadata(path).map(|m| m.len());
    let sizes = [length(&fast)?, length(&balanced)?, length(&small)?];
    let names = ["encode, fast", "encode, balanced", "encode, small"];
    let (encoder, decoder) = (encoded[0], decoded[0]);
    let mut figures = Vec::new();
    for ((name, ours), size) in names.into_iter().zip(&encoded[1..]).zip(sizes) {
        figures.push(Figure {
            name,
            ours: *ours,
            peer: encoder,
            sizes: Some((size, length(&theirs)?)),
            goals: if name == names[0] {
                "0.05 0.1 1.06"
            } else {
                ""
            },
        });
    }
    let of_streams = [
        ("decode", decoder, "0.25 0.4"),
        // The other way to make a stream normal is to encode it anew.
        ("normalize", encoder, ""),
        ("check, structure", decoder, ""),
        ("check, full", decoder, ""),
    ];
    for ((name, peer, goals), ours) in of_streams.into_iter().zip(&decoded[1..]) {
        figures.push(Figure {
            name,
            ours: *ours,
            peer,
            sizes: None,
            goals,
        });
    }
    print(&figures);
    Ok(())
}

//! The simulator as a program of its own.

use std::fs;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use vsphere_sim::{DeviceUrls, DiskType, Mode, Options, Simulator, VolumeSpec};

const USAGE: &str = "\
usage: vsphere-sim [OPTION]...
A vSphere endpoint on the loopback that keeps real disk contents.

  --mode vcenter|esxi          what the endpoint is (vcenter)
  --listen ADDRESS:PORT        where it listens (127.0.0.1 and a free port)
  --volume NAME=RAWFILE|SIZE[,thin|thick|eagerZeroedThick][,uuid=UUID][,adapter=TYPE]
                               a virtual machine with one disk, with the contents of a raw image or empty; SIZE is in
                               bytes, or with K, M, G or T in powers of 1024; may be repeated
  --dir DIRECTORY              where disks are kept (a temporary directory)
  --user NAME                  (administrator@vsphere.local, or root on a host)
  --password TEXT              (the environment's VSPHERE_SIM_PASSWORD, or \"password\")
  --wildcard-urls              device URLs name the endpoint itself, with *
  --lease-timeout SECONDS      (300)
  --keep-exports               a disk that has not changed is sent as it was the last time, not encoded afresh
  --no-tls                     plain HTTP
  --ca-out FILE                writes the certificate of the authority there
  --ready-file FILE            writes url, ca, fingerprints and morefs there as key=value once it listens
  --until-stdin-closes         stops when standard input ends; it always stops on SIGTERM and SIGINT
  --help

Programs look in and meddle below /sim of the endpoint: see /sim/help.
";

struct Arguments {
    options: Options,
    volumes: Vec<(VolumeSpec, Option<PathBuf>)>,
    ca_out: Option<PathBuf>,
    ready_file: Option<PathBuf>,
    until_stdin_closes: bool,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--help") {
        print!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let parsed = match parse(&arguments) {
        Ok(parsed) => parsed,
        Err(why) => {
            eprintln!("vsphere-sim: {why}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(parsed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vsphere-sim: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: &[String]) -> Result<Arguments, String> {
    let esxi = arguments.windows(2).any(|pair| pair == ["--mode", "esxi"]);
    let mut options = if esxi {
        Options::esxi()
    } else {
        Options::default()
    };
    options.password =
        std::env::var("VSPHERE_SIM_PASSWORD").unwrap_or_else(|_| "password".to_owned());
    options.control = true;
    let mut result = Arguments {
        options,
        volumes: Vec::new(),
        ca_out: None,
        ready_file: None,
        until_stdin_closes: false,
    };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || {
            rest.next()
                .ok_or_else(|| format!("{argument} needs a value"))
        };
        let options = &mut result.options;
        match argument.as_str() {
            "--mode" => match value()?.as_str() {
                "vcenter" => options.mode = Mode::VCenter,
                "esxi" => options.mode = Mode::Esxi,
                other => return Err(format!("there is no mode {other}")),
            },
            "--listen" => {
                let text = value()?;
                options.listen = text
                    .parse()
                    .map_err(|_| format!("{text} is no address with a port"))?;
            }
            "--volume" => result.volumes.push(volume(value()?)?),
            "--dir" => options.dir = Some(value()?.into()),
            "--user" => options.username.clone_from(value()?),
            "--password" => options.password.clone_from(value()?),
            "--wildcard-urls" => options.urls = DeviceUrls::Wildcard,
            "--lease-timeout" => {
                let text = value()?;
                let seconds = text
                    .parse()
                    .map_err(|_| format!("{text} is no number of seconds"))?;
                options.lease_timeout = Duration::from_secs(seconds);
            }
            "--keep-exports" => options.keep_exports = true,
            "--no-tls" => options.tls = false,
            "--ca-out" => result.ca_out = Some(value()?.into()),
            "--ready-file" => result.ready_file = Some(value()?.into()),
            "--until-stdin-closes" => result.until_stdin_closes = true,
            other => return Err(format!("there is no option {other}")),
        }
    }
    Ok(result)
}

fn size(text: &str) -> Option<u64> {
    let shift = match text.chars().last()? {
        'K' => 10,
        'M' => 20,
        'G' => 30,
        'T' => 40,
        _ => return text.parse().ok(),
    };
    text[..text.len() - 1]
        .parse::<u64>()
        .ok()?
        .checked_mul(1 << shift)
}

fn volume(text: &str) -> Result<(VolumeSpec, Option<PathBuf>), String> {
    let (name, rest) = text
        .split_once('=')
        .ok_or_else(|| format!("--volume {text}: there is no ="))?;
    let mut parts = rest.split(',');
    let source = parts.next().unwrap_or_default();
    let (capacity, image) = match size(source) {
        Some(capacity) => (capacity, None),
        None => {
            let length = fs::metadata(source)
                .map_err(|error| format!("{source}: {error}"))?
                .len();
            (length.next_multiple_of(512), Some(PathBuf::from(source)))
        }
    };
    let mut spec = VolumeSpec::new(name, capacity);
    for part in parts {
        match (DiskType::from_word(part), part.split_once('=')) {
            (Some(disk_type), _) => spec.disk_type = disk_type,
            (None, Some(("uuid", uuid))) => spec.instance_uuid = Some(uuid.to_owned()),
            (None, Some(("adapter", adapter))) => spec.adapter_type = adapter.to_owned(),
            _ => return Err(format!("--volume {text}: {part} is not known")),
        }
    }
    Ok((spec, image))
}

fn run(arguments: Arguments) -> io::Result<()> {
    let user = arguments.options.username.clone();
    let simulator = Simulator::start(arguments.options)?;
    let mut ready = format!(
        "url={}\nca={}\nuser={user}\nsha1={}\nsha256={}\n",
        simulator.url(),
        simulator.ca_file().display(),
        simulator.fingerprint_sha1(),
        simulator.fingerprint_sha256()
    );
    for (spec, image) in &arguments.volumes {
        let moref = simulator.add_volume(spec)?;
        if let (Some(image), Some(vm)) = (image, simulator.vm(&moref))
            && let Some(disk) = vm.disks.first()
        {
            simulator.load_disk(&moref, disk.key, image)?;
        }
        ready.push_str(&format!("moref.{}={moref}\n", spec.name));
    }
    if let Some(path) = &arguments.ca_out {
        fs::write(path, simulator.ca_pem())?;
    }
    if let Some(path) = &arguments.ready_file {
        // Whoever waits for the file must not see half of it.
        let half = path.with_extension("part");
        fs::write(&half, &ready)?;
        fs::rename(&half, path)?;
    }
    print!("{ready}");
    io::stdout().flush()?;
    wait(arguments.until_stdin_closes)
}

/// Waits for a signal, or for the end of standard input.
fn wait(until_stdin_closes: bool) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        let mut terminate =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        let stdin = tokio::task::spawn_blocking(move || {
            let mut sink = [0; 4096];
            while until_stdin_closes && io::stdin().read(&mut sink).is_ok_and(|count| count > 0) {}
        });
        let closed = async {
            if until_stdin_closes {
                let _ = stdin.await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            _ = terminate.recv() => Ok(()),
            result = tokio::signal::ctrl_c() => result,
            () = closed => Ok(()),
        }
    });
    // A read of standard input cannot be cancelled.
    runtime.shutdown_background();
    result
}

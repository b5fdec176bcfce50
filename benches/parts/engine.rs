//! The format engine, file to file.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use vmdk_backup::vmdk::{
    CheckOptions, Compression, DiskSink, EncodeOptions, Level, NormalizeOptions, RawDisk, check,
    decode, encode, normalize,
};

use super::Outcome;

fn threads() -> Outcome<usize> {
    Ok(std::thread::available_parallelism()?.get())
}

pub fn encode_file(level: &str, raw: &Path, vmdk: &Path) -> Outcome<()> {
    let compression = match level {
        "fast" => Compression::Fast,
        "balanced" => Compression::Balanced,
        "small" => Compression::Small,
        other => return Err(format!("there is no level {other}").into()),
    };
    let options = EncodeOptions {
        compression,
        threads: threads()?,
        ..EncodeOptions::default()
    };
    let disk = RawDisk::open(raw)?;
    let size = disk.size();
    encode(&options, Arc::new(disk), size, &mut File::create(vmdk)?)?;
    Ok(())
}

pub fn decode_file(vmdk: &Path, raw: &Path) -> Outcome<()> {
    decode(&options(Level::Full)?, &mut File::open(vmdk)?, |size| {
        Ok(Arc::new(RawDisk::create(raw, size)?) as Arc<dyn DiskSink>)
    })?;
    Ok(())
}

pub fn normalize_file(from: &Path, to: &Path) -> Outcome<()> {
    let options = NormalizeOptions::default();
    normalize(&options, &mut File::open(from)?, &mut File::create(to)?)?;
    Ok(())
}

pub fn check_file(level: &str, vmdk: &Path) -> Outcome<()> {
    let level = match level {
        "full" => Level::Full,
        "structure" => Level::Structure,
        other => return Err(format!("there is no level {other}").into()),
    };
    let length = fs::metadata(vmdk)?.len();
    let facts = check(&options(level)?, &mut File::open(vmdk)?)?;
    if facts.length == length {
        return Ok(());
    }
    Err(format!("{} of {length} bytes were checked", facts.length).into())
}

fn options(level: Level) -> Outcome<CheckOptions> {
    Ok(CheckOptions {
        level,
        threads: threads()?,
        // qemu-img writes such streams.
        accept_missing_eos: true,
        ..CheckOptions::default()
    })
}

//! The parts that work on bytes in memory, by the crates that the library works with, on one thread.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use libdeflater::Decompressor;
use sha2::{Digest, Sha256};
use vmdk_backup::file::FileWriter;
use vmdk_backup::vmdk::{DiskSource, EncodeOptions, encode, unit_digest};

use super::stream::grains;
use super::{Outcome, measured};

const GRAIN: usize = 64 << 10;
/// As the library's slabs.
const SLAB: usize = 1 << 20;

pub fn part(name: &str, vmdk: &Path) -> Outcome<()> {
    let stream = fs::read(vmdk)?;
    match name {
        "sha256" => measured(|| Ok(sha256(&stream))),
        "inflate" => {
            let grains = grains(&stream).ok_or("no stream-optimized VMDK")?;
            let mut grain = vec![0; GRAIN];
            let mut inflater = Decompressor::new();
            measured(|| {
                let mut bytes = 0;
                for payload in grains {
                    bytes += inflater.zlib_decompress(&stream[payload], &mut grain)? as u64;
                }
                Ok(bytes)
            })
        }
        "content" | "deflate" => {
            let disk = disk(&stream)?;
            measured(|| match name {
                "content" => Ok(content(&disk)),
                _ => deflate(disk),
            })
        }
        other => Err(format!("there is no part {other}").into()),
    }
}

fn sha256(stream: &[u8]) -> u64 {
    let mut hash = Sha256::new();
    stream.chunks(SLAB).for_each(|slab| hash.update(slab));
    std::hint::black_box(hash.finalize());
    stream.len() as u64
}

/// The grains, inflated, one after the other.
fn disk(stream: &[u8]) -> Outcome<Vec<u8>> {
    let grains = grains(stream).ok_or("no stream-optimized VMDK")?;
    let mut disk = vec![0; grains.len() * GRAIN];
    let mut inflater = Decompressor::new();
    for (grain, payload) in disk.chunks_mut(GRAIN).zip(grains) {
        inflater.zlib_decompress(&stream[payload], grain)?;
    }
    Ok(disk)
}

fn content(disk: &[u8]) -> u64 {
    for grain in disk.chunks(GRAIN) {
        std::hint::black_box(unit_digest(grain));
    }
    disk.len() as u64
}

/// A disk in memory, of which no part is known to be empty.
struct Memory(Vec<u8>);

impl DiskSource for Memory {
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let offset = offset as usize;
        bytes.copy_from_slice(&self.0[offset..offset + bytes.len()]);
        Ok(())
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let size = self.0.len() as u64;
        Ok((offset < size).then_some(offset..size))
    }
}

/// The library's encoder, whose choice the compressor is, with one thread and nowhere to write to.
fn deflate(disk: Vec<u8>) -> Outcome<u64> {
    let options = EncodeOptions {
        threads: 1,
        ..EncodeOptions::default()
    };
    let size = disk.len() as u64;
    encode(&options, Arc::new(Memory(disk)), size, &mut io::sink())?;
    Ok(size)
}

pub fn write(vmdk: &Path, path: &Path) -> Outcome<()> {
    let stream = Bytes::from(fs::read(vmdk)?);
    measured(|| {
        let mut writer = FileWriter::new(File::create(path)?, "the file")?;
        let mut rest = stream.clone();
        while !rest.is_empty() {
            writer.write(&rest.split_to(SLAB.min(rest.len())))?;
        }
        writer.finish()?.sync_data()?;
        Ok(stream.len() as u64)
    })
}

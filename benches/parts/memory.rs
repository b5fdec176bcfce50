//! The parts that work on bytes in memory, by the crates that the library works with, on one thread.

use std::fs::{self, File};
use std::path::Path;

use bytes::Bytes;
use libdeflater::{CompressionLvl, Compressor, Decompressor};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use vmdk_backup::file::FileWriter;

use super::stream::grains;
use super::{Outcome, measured};

const GRAIN: usize = 64 << 10;
/// As the library's slabs.
const SLAB: usize = 1 << 20;

pub fn part(name: &str, vmdk: &Path) -> Outcome<()> {
    let stream = fs::read(vmdk)?;
    match name {
        "sha256" => measured(|| Ok(hash::<Sha256>(&stream))),
        "sha1" => measured(|| Ok(hash::<Sha1>(&stream))),
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
                _ => deflate(&disk),
            })
        }
        other => Err(format!("there is no part {other}").into()),
    }
}

fn hash<H: Digest>(stream: &[u8]) -> u64 {
    let mut hash = H::new();
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
        std::hint::black_box(Sha256::digest(grain));
    }
    disk.len() as u64
}

fn deflate(disk: &[u8]) -> Outcome<u64> {
    let level = CompressionLvl::new(1).map_err(|error| format!("{error:?}"))?;
    let mut deflater = Compressor::new(level);
    let mut packed = vec![0; deflater.zlib_compress_bound(GRAIN)];
    for grain in disk.chunks(GRAIN) {
        deflater.zlib_compress(grain, &mut packed)?;
    }
    Ok(disk.len() as u64)
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

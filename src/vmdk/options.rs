//! What to check, how far to trust lengths, and who does the work.

use std::io;
use std::thread::JoinHandle;

/// How much of a stream is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    /// Header and descriptor are read; of everything after them only length and hashes are taken.
    Digest,
    /// Also every marker, grain address, table, the directory, the footer and the end-of-stream marker.
    Structure,
    /// Also every grain is inflated, exactly, and enters the content digest.
    #[default]
    Full,
}

/// Bounds on what a stream may claim. Nothing is ever allocated in proportion to a claim beyond them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest disk in bytes. The default is vSphere's 62 TiB.
    pub max_capacity: u64,
    /// Longest stream in bytes. The default is 2 TiB, the most that 32-bit sector offsets can address.
    pub max_stream: u64,
    /// Largest grain in bytes before compression; a power of two. The default is 1 MiB (every known writer uses 64 KiB).
    pub max_grain: u64,
    /// Longest embedded descriptor in bytes. The default is 1 MiB.
    pub max_descriptor: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_capacity: 62 << 40,
            max_stream: 2 << 40,
            max_grain: 1 << 20,
            max_descriptor: 1 << 20,
        }
    }
}

/// Starts a named thread; the house's one place that blocks signals goes here.
pub type Spawn = fn(&str, Box<dyn FnOnce() + Send>) -> io::Result<JoinHandle<()>>;

/// How a stream is checked.
#[derive(Clone, Debug)]
pub struct CheckOptions {
    /// How much is proven.
    pub level: Level,
    /// The SHA-1 of the stream is taken beside its SHA-256: for servers that know no other.
    pub sha1: bool,
    /// Bounds on what the stream may claim.
    pub limits: Limits,
    /// Worker threads; at least one is started.
    pub threads: usize,
    /// How a worker thread is started.
    pub spawn: Spawn,
    /// Bytes of slabs that may wait for the workers before `feed` blocks.
    pub in_flight: usize,
    /// Takes a stream whose end-of-stream marker is missing, provided that the tables in front of its grains prove that
    /// every grain came. qemu-img writes such files (qemu issue 1357); an ESXi host refuses them, so this is for streams
    /// that will be rewritten or only read.
    pub accept_missing_eos: bool,
}

impl Default for CheckOptions {
    fn default() -> CheckOptions {
        CheckOptions {
            level: Level::default(),
            sha1: false,
            limits: Limits::default(),
            threads: 2,
            spawn: |name, body| {
                std::thread::Builder::new()
                    .name(name.to_owned())
                    .spawn(body)
            },
            in_flight: 8 << 20,
            accept_missing_eos: false,
        }
    }
}

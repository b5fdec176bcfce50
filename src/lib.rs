//! Backs up and restores the virtual disks of vSphere volumes.
//!
//! A **volume** is a virtual disk owned by a storage agent. Its **backing** is the virtual
//! machine, usually powered off and with one disk, that holds it in vCenter or on an ESXi host.
//! A **backup service** keeps the bytes. [`ops::backup_volume`] moves a volume's disk into a
//! service, [`ops::restore_backup`] moves it back, [`ops::recover()`] clears away what a process that
//! died left, and [`ops::verify_backup`] proves a backup where it is kept. Without any server,
//! [`ops::convert()`] and [`ops::inspect()`] work on disks in files. The C functions in
//! `include/vmdk_backup.h` are the same, for every other language.
//!
//! # The house
//! A module uses only modules on lower floors; a test holds it to that.
//!
//! | floor | module | knows | does not know |
//! |---|---|---|---|
//! | 6 | `capi` | raw pointers, C structs, panics at the border | XML, HTTP, futures |
//! | 5 | [`ops`] | the use cases: backup, restore, the disk's replacement and its undo, recovery, verification, conversion | XML, HTTP, C |
//! | 4 | [`client`] | one session and one I/O thread, from connect to log-out | C |
//! | 3 | [`vsphere`] | sessions, properties, tasks, leases, placement, verbs on backings and disks | services, what is in a stream, C |
//! | 2 | [`transport`] | TLS and its pins, streamed HTTP, SOAP envelopes | managed objects, leases |
//! | 1 | [`vmdk`] | the stream-optimized format: is a stream whole, what is in it; from raw, to raw, to the common profile | files (but for raw disks), sockets, threads' owners |
//! | 1 | [`service`] | what a backup service is; the directory that comes with the library | vSphere, C |
//! | 1 | [`runtime`], [`slab`], [`mod@file`], [`log`], [`cancel`], [`retry`], [`volume`] | the I/O thread; buffers that go round; writes no signal reaches; records without secrets; the switch; the patience; the caller's words | each other, mostly |
//! | 0 | [`error`] | what went wrong, told once from outside to inside | everything |
//! | 0 | `storage` | what file systems that are not local cannot do, and what does instead | everything |
//!
//! # Which thread runs what
//! The caller's thread runs the caller's code: service and progress callbacks, one at a time. From C
//! an operation itself runs on a thread of the library's own, whose stack is large enough, and hands
//! the callbacks to the calling thread, which waits. Sockets and timers live on one I/O thread a client; inflating and hashing on a stream's own
//! workers; file writes on a writer thread. All of the library's threads block every signal. Data
//! is handed over in slabs of 1 MiB from a pool of a few: whoever is slow holds slabs, and the
//! socket waits. A lease's keeper is a timer on the I/O thread, so no slow service can starve it.
//!
//! # A backup
//! Find the backing (or create it) → export lease, keeper started → GET the disk → each slab is
//! checked and written to the service (or to a temporary file first) → the stream is proven whole,
//! the server's manifest agrees → the lease is completed → metadata, commit. Nothing is a backup
//! before the commit; leaving early drops the writer (abort), the download and the lease (abort).
//!
//! What breaks in passing is tried again. Of a stream whose beginning the service has, only that
//! it is the same again is made sure of, by its digest; else the service's writer is aborted and
//! begun anew. To a service that keeps raw disks the check's workers give the grains they inflate,
//! by way of the caller's thread.
//!
//! # A restore
//! Refuse what cannot work → open the backup, read the header → import into a temporary virtual
//! machine that carries the operation's tag → proven: stream, metadata, manifest → converted or
//! extended where the result is not what was asked. Blocks that were inflated when the stream was
//! backed up are not inflated again: its recorded SHA-256 shows that it is that stream. Without a
//! backing, the temporary machine becomes it in one step. With one, the disk is detached, moved
//! beside the old one, and one atomic reconfiguration takes the old disk out and puts the new one
//! in; what the backing then shows decides what is deleted. Whatever was made is noted before it is made, and taken away
//! again, newest first, when anything fails; [`ops::recover()`] does the same for a process that died,
//! from its journal and from the tags on the server.

pub mod cancel;
pub mod capi;
pub mod client;
pub mod error;
pub mod file;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod log;
pub mod ops;
pub mod retry;
pub mod runtime;
pub mod service;
pub mod slab;
mod storage;
pub mod transport;
pub mod vmdk;
pub mod volume;
pub mod vsphere;

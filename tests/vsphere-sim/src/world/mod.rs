//! The simulated world: inventory, files, tasks, sessions and leases, behind one lock.

pub mod chain;
pub mod clock;
pub mod datastore;
pub mod files;
pub mod ids;
pub mod inventory;
pub mod lease;
pub mod machine;
pub mod names;
pub mod path;
pub mod session;
pub mod setup;
pub mod task;
pub mod vsan;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::http::nfc::kept::KeptExports;
use crate::options::Options;
use crate::record::Recorded;
use clock::Clock;
use inventory::Node;
use lease::Lease;
use machine::Machine;
use names::Names;
use session::Session;
use task::Task;

/// A port that data flow through, and the fingerprints of its certificate.
#[derive(Clone, Debug)]
pub struct DataHost {
    pub address: SocketAddr,
    pub sha1: String,
    pub sha256: String,
}

pub struct World {
    pub options: Options,
    pub names: Names,
    pub clock: Clock,
    pub nodes: BTreeMap<String, Node>,
    pub tasks: BTreeMap<String, Task>,
    pub sessions: Vec<Session>,
    pub leases: BTreeMap<String, Lease>,
    /// Machines that were taken out of the inventory, by their names; their files are still there.
    pub unregistered: Vec<(String, Machine)>,
    pub dir: PathBuf,
    pub endpoint: DataHost,
    pub data_hosts: Vec<DataHost>,
    counters: HashMap<&'static str, u64>,
}

impl World {
    /// The next number of a row of its own, beginning with 1.
    pub fn next(&mut self, row: &'static str) -> u64 {
        let number = self.counters.entry(row).or_insert(0);
        *number += 1;
        *number
    }

    /// A path that no file has had yet, for a disk's contents.
    pub fn fresh_path(&mut self) -> PathBuf {
        let number = self.next("file");
        self.dir.join(format!("disk-{number}"))
    }
}

/// The world and what all connections share beside it.
pub struct Shared {
    world: Mutex<World>,
    /// The thread that holds the world's lock; 0 = none.
    holder: AtomicU64,
    changed: watch::Sender<u64>,
    pub requests: Mutex<Vec<Recorded>>,
    pub faults: crate::plan::FaultPlan,
    pub kept: KeptExports,
    /// Bytes a second that an export is sent with; 0 = as fast as it goes.
    pub export_rate: AtomicU64,
}

/// The world while it is looked at.
pub struct Look<'s> {
    world: MutexGuard<'s, World>,
    holder: &'s AtomicU64,
}

/// The world while it is changed; whoever waits for a change looks again afterwards.
pub struct Change<'s> {
    world: Look<'s>,
    changed: &'s watch::Sender<u64>,
}

impl Shared {
    pub fn new(world: World) -> Arc<Shared> {
        Arc::new(Shared {
            world: Mutex::new(world),
            holder: AtomicU64::new(0),
            changed: watch::Sender::new(0),
            requests: Mutex::new(Vec::new()),
            faults: crate::plan::FaultPlan::default(),
            kept: KeptExports::default(),
            export_rate: AtomicU64::new(0),
        })
    }

    /// A defect that made one thread panic is reported by that thread; the world stays in use for the others.
    ///
    /// # Panics
    /// Where the calling thread has the lock already: it would wait for itself for ever, and everybody else with it. The
    /// panic becomes the call's or the task's fault.
    pub fn read(&self) -> Look<'_> {
        let own = thread_number();
        assert_ne!(
            self.holder.load(Ordering::Relaxed),
            own,
            "a thread takes the world's lock twice"
        );
        let world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        self.holder.store(own, Ordering::Relaxed);
        Look {
            world,
            holder: &self.holder,
        }
    }

    pub fn write(&self) -> Change<'_> {
        Change {
            world: self.read(),
            changed: &self.changed,
        }
    }

    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Lets everybody who waits look again.
    pub fn wake(&self) {
        self.changed.send_modify(|version| *version += 1);
    }
}

/// A number of the calling thread, from 1 on.
fn thread_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local! {
        static OWN: u64 = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    OWN.with(|own| *own)
}

impl Deref for Look<'_> {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl DerefMut for Look<'_> {
    fn deref_mut(&mut self) -> &mut World {
        &mut self.world
    }
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        self.holder.store(0, Ordering::Relaxed);
    }
}

impl Deref for Change<'_> {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl DerefMut for Change<'_> {
    fn deref_mut(&mut self) -> &mut World {
        &mut self.world
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.changed.send_modify(|version| *version += 1);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn a_lock_taken_twice_is_a_panic_after_which_the_world_is_in_use() {
        let host = DataHost {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            sha1: String::new(),
            sha256: String::new(),
        };
        let shared = Shared::new(World::new(
            Options::default(),
            PathBuf::new(),
            host,
            Vec::new(),
        ));
        let twice = catch_unwind(AssertUnwindSafe(|| {
            let first = shared.read();
            let number = shared.write().nodes.len();
            assert_eq!(number, first.nodes.len());
        }));
        assert!(twice.is_err());
        assert!(!shared.write().nodes.is_empty());
        std::thread::scope(|scope| {
            let held = shared.read();
            let waiting = scope.spawn(|| shared.read().nodes.len());
            drop(held);
            assert!(waiting.join().is_ok());
        });
    }
}

//! A vSphere endpoint that keeps real disk contents.
//!
//! [`Simulator::start`] gives a vCenter or an ESXi host on the loopback: SOAP with types and order checked, sessions,
//! tasks, leases, and data hosts with certificates of their own that take and give stream-optimized VMDKs. Whatever a
//! server may do wrong is put into its [`FaultPlan`].
//!
//! `wire` knows the language (the tables of types, values, envelopes), `world` what there is (inventory, files, tasks,
//! sessions, leases, all behind one lock that is never held while a disk's bytes move), `properties` how it is read,
//! `methods` how it is changed, `http` the sockets. A method is a function in `methods`, a line in its `mod.rs` and a
//! line in `wire/schema`; what it answers is written in the order of the tables, and refused where they do not have it.

mod certificates;
pub mod disk;
mod http;
mod methods;
mod options;
mod plan;
mod properties;
mod record;
mod simulator;
pub mod vmdk;
mod wire;
mod world;

pub use disk::DiskType;
pub use options::{
    DataHostCookie, DatastoreKind, DatastoreSpec, DeviceUrls, ExpiredAnswer, Mode, Options,
    Thumbprint, VolumeSpec,
};
pub use plan::{At, DataTrouble, FaultPlan, Gate, Rule, Trouble};
pub use record::Recorded;
pub use simulator::{Controls, DiskView, LeaseView, Simulator, VmView};
pub use wire::Fault;
pub use world::machine::Connection;

//! A vSphere endpoint that keeps real disk contents.
//!
//! [`Simulator::start`] gives a vCenter or an ESXi host on the loopback: SOAP with types and order checked, sessions,
//! tasks, leases, and data hosts with certificates of their own that take and give stream-optimized VMDKs. Whatever a
//! server may do wrong is put into its [`FaultPlan`].

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
    DatastoreKind, DatastoreSpec, DeviceUrls, ExpiredAnswer, Mode, Options, Thumbprint, VolumeSpec,
};
pub use plan::{At, DataTrouble, FaultPlan, Gate, Rule, Trouble};
pub use record::Recorded;
pub use simulator::{Controls, DiskView, LeaseView, Simulator, VmView};
pub use wire::Fault;

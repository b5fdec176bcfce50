//! Backs up and restores the virtual disks of vSphere volumes.

pub mod cancel;
pub mod client;
pub mod error;
pub mod file;
pub mod log;
pub mod ops;
pub mod runtime;
pub mod service;
pub mod slab;
pub mod transport;
pub mod vmdk;
pub mod volume;
pub mod vsphere;

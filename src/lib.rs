//! Backs up and restores the virtual disks of vSphere volumes.

pub mod vmdk;

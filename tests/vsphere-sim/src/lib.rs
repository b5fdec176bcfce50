//! A vSphere endpoint that keeps real disk contents.

pub mod disk;
pub mod vmdk;

//! Backups as files in a directory.
/// tmp
pub struct Directory;

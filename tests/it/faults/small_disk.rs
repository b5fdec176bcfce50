//! A directory for temporary files that can be full.

use crate::fixture::MIB;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

/// A file system of its own, in memory, that can be filled up. Only a privileged user can have one.
pub struct SmallDisk {
    pub path: PathBuf,
}

impl SmallDisk {
    const SIZE: u64 = 8 * MIB;
    const PAGE: u64 = 4096;

    pub fn mount(path: PathBuf) -> Option<SmallDisk> {
        std::fs::create_dir(&path).unwrap();
        let mut mount = crate::stage::program("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={}", Self::SIZE), "none"]);
        let done = mount.arg(&path).output().ok()?;
        done.status.success().then_some(SmallDisk { path })
    }

    /// Fills it up but for so many bytes, in whole pages.
    pub fn leave(&self, bytes: u64) {
        let mut ballast = File::create(self.path.join("ballast")).unwrap();
        let page = [0x5a; Self::PAGE as usize];
        while ballast.write_all(&page).is_ok() {}
        let filled = ballast.metadata().unwrap().len();
        let rest = bytes / Self::PAGE * Self::PAGE;
        ballast.set_len(filled.saturating_sub(rest)).unwrap();
    }

    pub fn empty(&self) {
        // There is none where the operation ended before.
        let _ = std::fs::remove_file(self.path.join("ballast"));
        let left = self.path.read_dir().unwrap().count();
        assert_eq!(left, 0, "a temporary file is left");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = crate::stage::program("umount")
            .arg("-l")
            .arg(&self.path)
            .status();
    }
}

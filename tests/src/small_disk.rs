//! A file system of its own that is soon full.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::statvfs;
use rustix::process::geteuid;
use tempfile::TempDir;

/// A file system of so many bytes, gone when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
    /// Under which it is mounted.
    _directory: TempDir,
}

impl SmallDisk {
    /// Mounts one; none where that is not allowed.
    ///
    /// # Panics
    /// There is no temporary directory to mount it in.
    #[must_use]
    pub fn mount(bytes: u64) -> Option<SmallDisk> {
        let directory = TempDir::with_prefix("florin-disk-").expect("a temporary directory");
        let path = directory.path().join("data");
        fs::create_dir(&path).expect("the directory is ours");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={bytes},mode=0700"), "florin-test"]);
        if !geteuid().is_root() || !mount.arg(&path).status().is_ok_and(|it| it.success()) {
            return None;
        }
        Some(SmallDisk { path, _directory: directory })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes its room away but for so many bytes.
    ///
    /// # Panics
    /// It has not so many.
    pub fn leave(&self, bytes: u64) {
        let found = statvfs(&self.path).expect("it can be asked");
        let ballast = (found.f_bavail * found.f_frsize).checked_sub(bytes);
        let ballast = vec![1; ballast.expect("there is that much room") as usize];
        fs::write(self.path.join("ballast"), ballast).expect("there is room for it");
    }

    /// Gives the room back.
    ///
    /// # Panics
    /// Nothing was taken away.
    pub fn free(&self) {
        fs::remove_file(self.path.join("ballast")).expect("it was taken away");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A program may have files open there: it goes when they are closed.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

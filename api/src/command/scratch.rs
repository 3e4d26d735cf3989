//! A directory for the time of a measurement.

use std::io;
use std::path::{Path, PathBuf};

/// What becomes of the directory afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Afterwards {
    Remove,
    Keep,
}

/// A new, empty directory with a name of its own.
#[derive(Debug)]
pub(super) struct Scratch {
    path: PathBuf,
    afterwards: Afterwards,
}

impl Scratch {
    /// Makes the directory inside `parent`.
    ///
    /// # Errors
    /// It can not be made there.
    pub(super) fn create(
        parent: &Path,
        purpose: &str,
        afterwards: Afterwards,
    ) -> io::Result<Scratch> {
        let path = parent.join(format!("florin-{purpose}-{}", uuid::Uuid::now_v7().simple()));
        std::fs::create_dir_all(parent)?;
        std::fs::create_dir(&path)?;
        Ok(Scratch { path, afterwards })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.afterwards == Afterwards::Remove {
            // What is left behind is named for what it is; failing for it would hide the figures.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_unless_it_is_kept() {
        let parent = Scratch::create(&std::env::temp_dir(), "test", Afterwards::Remove).unwrap();
        let removed = Scratch::create(parent.path(), "a", Afterwards::Remove).unwrap();
        let kept = Scratch::create(parent.path(), "a", Afterwards::Keep).unwrap();
        let (gone, there) = (removed.path().to_owned(), kept.path().to_owned());
        std::fs::write(gone.join("file"), "x").unwrap();
        drop((removed, kept));
        assert!(!gone.exists() && there.exists());
    }
}

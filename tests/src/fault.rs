//! A disk that fails under a real program: a library between the two (`fault/fault.c`), and a file that tells it what is wrong.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// What is wrong with a disk. Nothing is, until [`Fault::begin`].
#[derive(Debug)]
pub struct Fault {
    directory: TempDir,
    at: &'static str,
}

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Every sync fails, as on a disk that dies.
    Syncs,
    /// `fdatasync` of a journal segment fails, and nothing else does.
    SegmentData,
    /// Every write fails, as on a file system that was remounted read-only.
    Writes,
    /// Files can not be made or become longer, as on a full disk.
    Full,
}

impl Fault {
    /// Builds the library. It looks at files in whose path `at` stands.
    ///
    /// # Panics
    /// There is no C compiler.
    #[must_use]
    pub fn build(at: &'static str) -> Fault {
        let directory = TempDir::new().unwrap_or_else(|error| panic!("{error}"));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/fault/fault.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(directory.path().join("fault.so"));
        let built = compiler.arg(source).arg("-ldl").status();
        assert!(built.is_ok_and(|status| status.success()), "cc (Debian: gcc) builds it");
        // Whoever it stands before may be another user.
        let opened = Command::new("chmod").arg("0755").arg(directory.path()).status();
        assert!(opened.is_ok_and(|status| status.success()), "a directory of ours can be opened");
        Fault { directory, at }
    }

    /// Variables of a program that is to have this disk.
    #[must_use]
    pub fn variables(&self) -> [(&'static str, String); 3] {
        [
            ("LD_PRELOAD", self.path("fault.so")),
            ("FLORIN_FAULT", self.path("fault")),
            ("FLORIN_FAULT_AT", self.at.to_owned()),
        ]
    }

    /// From now on this is wrong, and nothing else.
    ///
    /// # Panics
    /// It can not be told.
    pub fn begin(&self, wrong: Wrong) {
        let letter = match wrong {
            Wrong::Syncs => "s",
            Wrong::SegmentData => "d",
            Wrong::Writes => "w",
            Wrong::Full => "f",
        };
        fs::write(self.path("fault"), letter).unwrap_or_else(|error| panic!("{error}"));
    }

    /// From now on nothing is wrong any more.
    ///
    /// # Panics
    /// Nothing was.
    pub fn end(&self) {
        fs::remove_file(self.path("fault")).unwrap_or_else(|error| panic!("{error}"));
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }
}

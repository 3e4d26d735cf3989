//! The names on a simulated disk: as they are seen, and as they survive.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::Random;
use crate::disk::{DirEntry, EntryKind};

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    File(u64),
    Directory,
}

impl Name {
    pub(super) fn kind(self) -> EntryKind {
        match self {
            Name::File(_) => EntryKind::File,
            Name::Directory => EntryKind::Directory,
        }
    }
}

/// One step of a file system: it survives as a whole, or not at all.
#[derive(Debug)]
struct Step {
    dir: PathBuf,
    changes: Vec<(PathBuf, Option<Name>)>,
}

#[derive(Debug, Default)]
pub(super) struct Names {
    seen: BTreeMap<PathBuf, Name>,
    platter: BTreeMap<PathBuf, Name>,
    waiting: Vec<Step>,
}

fn dir_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

fn change(names: &mut BTreeMap<PathBuf, Name>, path: &Path, name: Option<Name>) {
    match name {
        Some(name) => drop(names.insert(path.to_owned(), name)),
        None => drop(names.remove(path)),
    }
}

impl Names {
    pub(super) fn get(&self, path: &Path) -> Option<Name> {
        self.seen.get(path).copied()
    }

    fn check_dir(&self, path: &Path) -> io::Result<()> {
        let dir = dir_of(path);
        let is_root = dir == path || dir == Path::new("/");
        if is_root || self.get(dir) == Some(Name::Directory) {
            Ok(())
        } else {
            Err(ErrorKind::NotFound.into())
        }
    }

    pub(super) fn set(&mut self, path: &Path, name: Option<Name>) -> io::Result<()> {
        self.check_dir(path)?;
        change(&mut self.seen, path, name);
        let changes = vec![(path.to_owned(), name)];
        self.waiting.push(Step { dir: dir_of(path).to_owned(), changes });
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.check_dir(to)?;
        let name = self.get(from).ok_or(ErrorKind::NotFound)?;
        let changes = vec![(from.to_owned(), None), (to.to_owned(), Some(name))];
        for (path, name) in &changes {
            change(&mut self.seen, path, *name);
        }
        self.waiting.push(Step { dir: dir_of(to).to_owned(), changes });
        Ok(())
    }

    pub(super) fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        if self.get(dir) != Some(Name::Directory) {
            return Err(ErrorKind::NotFound.into());
        }
        let below = self.seen.range(dir.to_owned()..).skip(1);
        let below = below.take_while(|(path, _)| path.starts_with(dir));
        let direct = below.filter(|(path, _)| dir_of(path) == dir);
        let entries = direct.filter_map(|(path, name)| {
            let last = path.file_name()?.to_string_lossy().into_owned();
            Some(DirEntry { name: last, kind: name.kind() })
        });
        Ok(entries.collect())
    }

    /// Takes the steps in `dir` to the platter.
    pub(super) fn sync(&mut self, dir: &Path) {
        let platter = &mut self.platter;
        self.waiting.retain(|step| {
            let covered = step.dir == dir;
            if covered {
                for (path, name) in &step.changes {
                    change(platter, path, *name);
                }
            }
            !covered
        });
    }

    /// Each step that waits has arrived, or has not. Most file systems keep their order, and not all.
    pub(super) fn lose_power(&mut self, random: &mut Random) {
        let in_order = random.one_in(2);
        let arrived = random.below(self.waiting.len() as u64 + 1) as usize;
        for (at, step) in std::mem::take(&mut self.waiting).into_iter().enumerate() {
            let arrives = if in_order { at < arrived } else { random.one_in(2) };
            if arrives {
                for (path, name) in &step.changes {
                    change(&mut self.platter, path, *name);
                }
            }
        }
        // What stands in a directory that is gone is gone with it.
        let directories: BTreeSet<PathBuf> = self
            .platter
            .iter()
            .filter(|(_, name)| **name == Name::Directory)
            .map(|(path, _)| path.clone())
            .collect();
        self.platter.retain(|path, _| {
            let mut above = path.ancestors().skip(1).filter(|dir| *dir != Path::new("/"));
            above.all(|dir| directories.contains(dir))
        });
        self.seen.clone_from(&self.platter);
    }

    /// The files that a name stands for, or may stand for again.
    pub(super) fn inodes(&self) -> BTreeSet<u64> {
        let waiting = self.waiting.iter().flat_map(|step| &step.changes);
        let waiting = waiting.filter_map(|(_, name)| *name);
        let names = self.seen.values().chain(self.platter.values()).copied().chain(waiting);
        let files = names.filter_map(|name| match name {
            Name::File(inode) => Some(inode),
            Name::Directory => None,
        });
        files.collect()
    }

    pub(super) fn files_under(&self, dir: &Path) -> Vec<u64> {
        let below = self.seen.iter().filter(|(path, _)| path.starts_with(dir));
        let files = below.filter_map(|(_, name)| match name {
            Name::File(inode) => Some(*inode),
            Name::Directory => None,
        });
        files.collect()
    }
}

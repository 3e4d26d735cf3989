use std::fs;
use std::path::Path;
use std::sync::Arc;

use uuid::Uuid;

use super::*;
use crate::disk::OsDisk;
use crate::disk::faulty::{FaultyDisk, Op};

const FRESH: Uuid = Uuid::from_u128(0xF10);

fn open(path: &Path) -> Result<DataDir, DataDirError> {
    DataDir::open_or_create(OsDisk::shared(), path, FRESH)
}

/// Prepares a directory, opens it and compares the sentence; `$` stands for the path.
fn check_refused(prepare: impl FnOnce(&Path), sentence: &str) {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("data");
    prepare(&path);
    let error = open(&path).expect_err(sentence);
    assert_eq!(error.to_string().replace(path.to_str().unwrap(), "$"), sentence);
}

fn write_identity(path: &Path, bytes: &[u8]) {
    drop(open(path).unwrap());
    fs::write(path.join("identity"), bytes).unwrap();
}

#[test]
fn a_new_directory_keeps_its_identity() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("deep/data");
    let made = open(&path).unwrap();
    assert_eq!((made.id(), made.origin()), (FRESH, Origin::Created));
    for dir in [made.journal_dir(), made.snapshots_dir(), made.ids_dir()] {
        assert!(dir.is_dir());
    }
    drop(made);
    let again = DataDir::open_or_create(OsDisk::shared(), &path, Uuid::from_u128(7)).unwrap();
    assert_eq!((again.id(), again.origin()), (FRESH, Origin::Existing));
    drop(again);
    assert_eq!(DataDir::open_existing(OsDisk::shared(), &path).unwrap().id(), FRESH);
}

#[test]
fn a_second_open_is_refused_with_the_pid_until_the_first_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path()).unwrap();
    let error = open(dir.path()).unwrap_err();
    let pid = process::id();
    assert_eq!(
        error.to_string(),
        format!(
            "the data directory {} is in use by another process, pid {pid}",
            dir.path().display()
        )
    );
    assert!(DataDir::open_existing(OsDisk::shared(), dir.path()).is_err());
    drop(first);
    open(dir.path()).unwrap();
}

#[test]
fn what_is_not_a_data_directory_is_refused() {
    check_refused(
        |path| fs::write(path, "text").unwrap(),
        "the data directory $ is not a directory",
    );
    check_refused(
        |path| {
            fs::create_dir(path).unwrap();
            fs::write(path.join("thesis.txt"), "text").unwrap();
        },
        "$ is not a florin data directory and not empty: it holds \"thesis.txt\"; give an empty or a new directory",
    );
    check_refused(
        |path| {
            fs::create_dir_all(path.join("journal")).unwrap();
            fs::write(path.join("journal/1.seg"), "text").unwrap();
        },
        "$ is not a florin data directory and not empty: it holds \"journal\"; give an empty or a new directory",
    );
}

#[test]
fn a_path_through_a_file_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    fs::write(parent.path().join("file"), "text").unwrap();
    let error = open(&parent.path().join("file/data")).unwrap_err();
    assert!(matches!(error, DataDirError::NotADirectory { .. }), "{error}");
}

#[test]
fn a_damaged_newer_or_incomplete_directory_is_refused() {
    check_refused(
        |path| write_identity(path, &encode_identity(2, FRESH)),
        "the data directory $ has format version 2, but this program knows versions up to 1: use the newer program",
    );
    check_refused(
        |path| write_identity(path, &encode_identity(1, FRESH)[..63]),
        "$/identity is damaged (its length is wrong): restore it from a backup of this same directory",
    );
    check_refused(
        |path| write_identity(path, &[0; 64]),
        "$/identity is damaged (it does not begin like one): restore it from a backup of this same directory",
    );
    for at in 8..64 {
        let mut bytes = encode_identity(1, FRESH);
        bytes[at] ^= 4;
        check_refused(
            |path| write_identity(path, &bytes),
            "$/identity is damaged (its checksum does not match): restore it from a backup of this same directory",
        );
    }
    check_refused(
        |path| {
            drop(open(path).unwrap());
            fs::remove_dir(path.join("journal")).unwrap();
        },
        "the data directory has lost $/journal: restore it from a backup",
    );
}

#[test]
fn only_an_existing_directory_is_opened_as_existing() {
    let dir = tempfile::tempdir().unwrap();
    let absent = dir.path().join("absent");
    for path in [dir.path(), &absent] {
        let error = DataDir::open_existing(OsDisk::shared(), path).unwrap_err();
        assert!(matches!(error, DataDirError::Missing { .. }), "{error}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "looking has made something");
}

#[test]
fn a_creation_that_was_cut_short_is_completed() {
    for op in [Op::Open, Op::Write, Op::SyncAll, Op::Rename] {
        let dir = tempfile::tempdir().unwrap();
        let disk = FaultyDisk::new();
        disk.fail(op, ErrorKind::Other);
        let error = DataDir::open_or_create(Arc::new(disk.clone()), dir.path(), FRESH).unwrap_err();
        assert!(matches!(error, DataDirError::Io { .. }), "{op:?}: {error}");
        disk.heal();
        let made = DataDir::open_or_create(Arc::new(disk), dir.path(), FRESH).unwrap();
        assert_eq!(made.origin(), Origin::Created, "{op:?}");
    }
}

#[test]
fn a_directory_without_write_permission_is_refused() {
    for kind in [ErrorKind::PermissionDenied, ErrorKind::ReadOnlyFilesystem] {
        let dir = tempfile::tempdir().unwrap();
        let disk = FaultyDisk::new();
        disk.fail(Op::Open, kind);
        let error = DataDir::open_or_create(Arc::new(disk), dir.path(), FRESH).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "no permission to write to the data directory: {}",
                dir.path().join("lock").display()
            )
        );
    }
}

#[test]
fn the_identity_file_keeps_its_form() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let golden = [
        b"FLORINDD\x01\0\0\0\0\0\0\0".as_slice(),
        &[0; 14],
        b"\x0f\x10",
        &[0; 28],
        &0x2ab86f47_u32.to_le_bytes(),
    ];
    assert_eq!(fs::read(dir.path().join("identity")).unwrap(), golden.concat());
}

#[test]
fn a_directory_that_a_backup_is_put_into_is_none_before_its_end() {
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("data");
    let id = Uuid::from_u128(9);
    let begun = DataDir::begin(OsDisk::shared(), &path, id).unwrap();
    drop(begun);
    // Nothing has come of it, and still it is no empty directory.
    for open in [DataDir::open_or_create, DataDir::begin] {
        let error = open(OsDisk::shared(), &path, Uuid::from_u128(10)).unwrap_err();
        assert!(matches!(error, DataDirError::Foreign { .. }), "{error}");
    }
    std::fs::remove_dir_all(&path).unwrap();
    let begun = DataDir::begin(OsDisk::shared(), &path, id).unwrap();
    begun.finish().unwrap();
    drop(begun);
    let opened = DataDir::open_existing(OsDisk::shared(), &path).unwrap();
    assert_eq!((opened.id(), opened.origin()), (id, Origin::Existing));
    assert_eq!(DataDir::identity_of(&OsDisk, &path).unwrap(), id);
    drop(opened);
    let error = DataDir::begin(OsDisk::shared(), &path, id).unwrap_err();
    assert!(matches!(error, DataDirError::Occupied { .. }), "{error}");
}

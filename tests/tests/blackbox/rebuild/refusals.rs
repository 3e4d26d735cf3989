//! What a store is not made anew from: parts that do not belong together are refused before anything is written.

use std::fs;
use std::path::Path;

use florin_tests::server::TestServer;

use super::{
    bank_with, done, everything, fill_until_a_segment_goes, rebuild, refused, remove_store,
};

/// Puts the files of a directory whose names begin so into another one.
fn copy_files(from: &Path, to: &Path, beginning: &str) {
    let entries = fs::read_dir(from).unwrap_or_else(|error| panic!("{error}"));
    for entry in entries.map_while(Result::ok) {
        if entry.file_name().to_string_lossy().starts_with(beginning) {
            let to = to.join(entry.file_name());
            fs::copy(entry.path(), to).unwrap_or_else(|error| panic!("{error}"));
        }
    }
}

#[test]
fn what_does_not_go_on_where_the_other_ends_is_refused() {
    let archive = tempfile::TempDir::new().unwrap_or_else(|error| panic!("{error}"));
    let archive = archive.path().join("archive");
    let word = archive.to_str().unwrap_or_default();
    let mut bank = bank_with(&["--journal-archive", word], &[]);
    let _ = everything(&bank);
    bank.server.stop();
    let early = TestServer::on_copy_of(&bank.server, &[]);
    bank.restart();
    fill_until_a_segment_goes(&bank);
    let before = everything(&bank);
    bank.server.stop();
    let directory = bank.server.data_dir().to_owned();

    // A store to copy from that ends before the journal begins, and one that is ahead of it.
    let from = ["--from", early.data_dir_word()];
    refused(&rebuild(&bank.server, &from), "the store to copy from stands at position");
    let from = ["--from", bank.server.data_dir_word()];
    refused(&rebuild(&early, &from), "the store to copy from stands at position");
    bank.server.verify();
    early.verify();

    // A store that ends before the journal begins: the archive has what lies between.
    remove_store(&directory);
    copy_files(early.data_dir(), &directory, "store.sqlite");
    let told = "the oldest segment of the journal begins at";
    refused(&rebuild(&bank.server, &[]), told);
    refused(&bank.server.refused_restart(), "rebuild-store");
    done(&rebuild(&bank.server, &["--journal-archive", word]), "applied from the journal");
    bank.restart();
    assert_eq!(everything(&bank), before);
    bank.server.stop();

    // An older journal beside a newer snapshot.
    let journal = directory.join("journal");
    fs::remove_dir_all(&journal).unwrap_or_else(|error| panic!("{error}"));
    fs::create_dir(&journal).unwrap_or_else(|error| panic!("{error}"));
    copy_files(&early.data_dir().join("journal"), &journal, "");
    let store = fs::read(directory.join("store.sqlite")).unwrap_or_default();
    refused(&rebuild(&bank.server, &["--cut"]), "before the snapshot at");
    assert_eq!(fs::read(directory.join("store.sqlite")).unwrap_or_default(), store);
}

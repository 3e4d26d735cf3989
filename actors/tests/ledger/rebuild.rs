//! A store that is copied must stand still meanwhile.

use std::path::Path;
use std::process::Command as Process;

use florin_actors::{Ahead, RebuildError, RebuildOptions, RebuildSource, StoreChoice};
use florin_actors::{RebuildStep, rebuild_store, verify};

use crate::bank::TestBank;

fn sql(store: &Path, sql: &str) {
    let script =
        "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\nc.execute(sys.argv[2])\nc.commit()";
    let run = Process::new("python3").args(["-c", script]).arg(store).arg(sql).status();
    assert!(run.unwrap().success(), "{sql}");
}

#[tokio::test]
async fn a_source_that_is_written_while_it_is_copied_is_refused() {
    let bank = TestBank::open();
    bank.accounts(2).await;
    assert_eq!(bank.transfer(1, 1, 2, "5").await, "ok");
    bank.everything_stored().await;
    bank.florin.stop().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let source = elsewhere.path().join("other.sqlite");
    for end in ["", "-wal", "-shm"] {
        let of = |path: &Path| {
            let mut path = path.to_owned().into_os_string();
            path.push(end);
            std::path::PathBuf::from(path)
        };
        let own = of(&bank.path().join("store.sqlite"));
        if own.exists() {
            std::fs::rename(own, of(&source)).unwrap();
        }
    }
    let options = RebuildOptions {
        data_dir: bank.path(),
        store: StoreChoice::Embedded,
        journal_archive: None,
        from: Some(RebuildSource::Sqlite(source.clone())),
        ahead: Ahead::Refuse,
    };
    // Another writer moved it, or only claimed it so far.
    for (change, back) in
        [("seq = seq + 1", "seq = seq - 1"), ("epoch = epoch + 1", "epoch = epoch")]
    {
        let mut changes = 0;
        let mut write = |step: RebuildStep| {
            if matches!(step, RebuildStep::Copying { .. }) && changes == 0 {
                sql(&source, &format!("UPDATE checkpoint SET {change}"));
                changes += 1;
            }
        };
        let refused = rebuild_store(options.clone(), &mut write).await;
        assert!(
            matches!(&refused, Err(RebuildError::Mismatch(text)) if text.contains("written meanwhile")),
            "{change}: {refused:?}"
        );
        assert_eq!(changes, 1, "{change}");
        sql(&source, &format!("UPDATE checkpoint SET {back}"));
    }
    let report = rebuild_store(options, &mut |_| {}).await.unwrap();
    assert_eq!(report.copied, 1);
    verify(&bank.path(), None).await.unwrap();
}

use std::time::Duration;

use florin_engine::{Command, CreateAccount, ReplaceMetadata};

use super::*;
use crate::{Florin, Options, WriteBehind};

fn metadata(json: &str) -> Option<Metadata> {
    Some(Metadata::new(json.into(), json.as_bytes()))
}

async fn done(florin: &Florin, command: Command) {
    let answer = florin.submit(command, None).await.unwrap();
    assert_eq!(answer.exceptions, []);
}

#[tokio::test]
async fn words_are_those_of_the_moment_at_which_memory_was_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    let options = |write_behind| Options {
        write_behind,
        segment_bytes: 256 << 10,
        ..Options::new(directory.path().join("ledger"))
    };
    let mut florin = Florin::open(options(WriteBehind::Paused)).unwrap();
    let account_id = AccountId(1);
    let created =
        CreateAccount { metadata: metadata("{\"a\":1}"), ..CreateAccount::new(account_id) };
    done(&florin, Command::CreateAccounts(vec![created])).await;
    let seen = florin.account(account_id).await.unwrap().value.unwrap().account;
    let nobody = Account { id: AccountId(2), ..seen.clone() };
    for source in ["journal", "store"] {
        let history = &florin.running.history;
        let words = history.words_of([&seen].into_iter()).await.unwrap();
        assert_eq!(words[&account_id].metadata, metadata("{\"a\":1}"), "{source}");
        let missing = HistoryError::Missing { seq: seen.metadata_seq.0 };
        let found = history.words_of([&seen, &nobody].into_iter()).await;
        assert_eq!(found.unwrap_err(), missing, "{source}");
        florin.stop().await;
        florin = Florin::open(options(WriteBehind::Running)).unwrap();
        let replace = ReplaceMetadata { account_id, metadata: metadata("{\"b\":1}") };
        done(&florin, Command::ReplaceMetadata(replace)).await;
        assert!(florin.wait_stored(florin.positions().durable, Duration::from_secs(30)).await);
    }
    florin.stop().await;
}

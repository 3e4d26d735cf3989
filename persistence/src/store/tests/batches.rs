//! When a batch is large enough.

use florin_engine::{
    Event, JournalSeq, Metadata, Record, Timestamp, Transfer, TransferId, TransferPosted,
};

use crate::store::StoreBatch;

/// A command of one transfer.
fn record(id: u64, metadata: Option<Metadata>) -> Record {
    let timestamp = Timestamp(id);
    let transfer =
        Transfer { id: TransferId(id.into()), timestamp, metadata, ..Transfer::default() };
    let posted = TransferPosted { transfer, debit_account: 0, credit_account: 1 };
    let events = vec![Event::TransferPosted(posted)];
    Record { timestamp, asked: 1, events, accounts: Vec::new(), ledgers: Vec::new(), key: None }
}

/// How many commands fill a batch.
fn commands_of_a_batch(metadata: Option<&str>, key: Option<&[u8]>) -> u64 {
    let mut batch = StoreBatch::new(JournalSeq::NONE);
    for id in 1.. {
        let metadata = metadata.map(|text| Metadata { text: text.into(), digest: 1 });
        batch.push(JournalSeq(id), record(id, metadata), key).unwrap();
        if batch.is_full() {
            return id;
        }
    }
    unreachable!("it is full before numbers end")
}

#[test]
fn a_batch_is_full_by_its_rows_or_by_its_bytes() {
    let text = format!(r#"{{"text":"{}"}}"#, "x".repeat(4096 - 11));
    assert_eq!(text.len(), 4096);
    assert_eq!(commands_of_a_batch(None, None), 64_000);
    assert_eq!(commands_of_a_batch(Some("{}"), None), 64_000);
    assert_eq!(commands_of_a_batch(Some(&text), None), 4096, "16 MiB of metadata");
    assert_eq!(commands_of_a_batch(None, Some(&[7; 400])), 32_000, "a transfer and its record");
    assert_eq!(commands_of_a_batch(None, Some(&[7; 1 << 20])), 16, "16 MiB of records");
}

//! Records of commands with a key go over a few at a time: a large batch has half a million bytes, the largest command 24 million.

use florin_engine::JournalSeq;

use super::exactly_once::world_of;
use super::{Kind, in_both};
use crate::store::export::{CHUNK_ROWS, KEYED_BYTES};

in_both! {
    keyed_records_are_exported_by_their_bytes,
}

async fn keyed_records_are_exported_by_their_bytes(kind: Kind) {
    let (mut world, _) = world_of(33, 30);
    // Small ones, of which a chunk has as many as it may, large ones, and one that is larger than a chunk.
    let (half, whole) = (world.records.len() / 2, world.records.len());
    for (seq, _, key) in &mut world.records {
        let bytes = match seq.0 as usize {
            at if at < half => 3,
            at if at == whole - 1 => 10 * KEYED_BYTES as usize,
            at => 20 + at % 60,
        };
        *key = Some(vec![seq.0 as u8; bytes]);
    }
    let place = kind.place();
    let store = place.open().await;
    store.apply(&world.batch(JournalSeq::NONE, world.seq())).await.unwrap();

    let (mut exported, mut most, mut fewest) = (Vec::new(), 0, usize::MAX);
    let mut export = store.export().await.unwrap();
    while let Some(batch) = export.next().await.unwrap() {
        let Some((_, last)) = batch.keyed.last() else { continue };
        let bytes: usize = batch.keyed.iter().map(|(_, record)| record.len()).sum();
        assert!(bytes - last.len() < KEYED_BYTES as usize, "{bytes} bytes");
        most = most.max(batch.keyed.len());
        fewest = fewest.min(batch.keyed.len());
        exported.extend(batch.keyed);
    }
    assert_eq!((most, fewest), (CHUNK_ROWS as usize, 1));
    let expected: Vec<(JournalSeq, Box<[u8]>)> = world
        .records
        .iter()
        .filter_map(|(seq, _, key)| Some((*seq, key.as_deref()?.into())))
        .collect();
    assert_eq!(exported, expected);
}

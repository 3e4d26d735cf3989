//! What stands in tables that no list tells whole is held against the journal row by row.

use florin_engine::JournalSeq;

use super::exactly_once::world_of;
use super::world::World;
use super::{Kind, in_both};
use crate::store::{Store, TableSums};

in_both! {
    sums_of_a_store_are_those_of_its_records,
    whatever_is_damaged_changes_the_sums,
}

fn of_records(world: &World, first: JournalSeq, last: JournalSeq) -> TableSums {
    let mut sums = TableSums::default();
    for (seq, record, keyed) in &world.records {
        if first <= *seq && *seq <= last {
            sums.add(*seq, record.clone(), keyed.as_deref()).unwrap();
        }
    }
    sums
}

async fn of_store(store: &Store, first: JournalSeq, last: JournalSeq) -> TableSums {
    store.export().await.unwrap().sums(first, last).await.unwrap()
}

async fn sums_of_a_store_are_those_of_its_records(kind: Kind) {
    let (world, middle) = world_of(31, 120);
    let place = kind.place();
    let store = place.open().await;
    store.apply(&world.batch(JournalSeq::NONE, middle)).await.unwrap();
    store.apply(&world.batch(middle, world.seq())).await.unwrap();
    let all = (JournalSeq::FIRST, world.seq());
    for (first, last) in [all, (middle, world.seq()), (JournalSeq::FIRST, middle)] {
        let (stored, journal) =
            (of_store(&store, first, last).await, of_records(&world, first, last));
        assert_eq!(stored.difference(&journal), None, "{first:?} to {last:?}");
        assert_eq!(stored, journal);
    }
    // A stretch is another one where a record is missing.
    let whole = of_records(&world, all.0, all.1);
    for (seq, record, keyed) in &world.records {
        let mut of_one = TableSums::default();
        of_one.add(*seq, record.clone(), keyed.as_deref()).unwrap();
        if of_one != TableSums::default() {
            let rest = of_records(&world, seq.next(), all.1);
            assert_ne!(rest, of_records(&world, *seq, all.1));
        }
    }
    assert_ne!(whole, TableSums::default());
}

async fn whatever_is_damaged_changes_the_sums(kind: Kind) {
    let (world, _) = world_of(32, 120);
    let all = (JournalSeq::FIRST, world.seq());
    let journal = of_records(&world, all.0, all.1);
    for (table, damages) in [
        (
            "settlements",
            [
                "DELETE FROM settlements WHERE seq = (SELECT max(seq) FROM settlements)",
                "UPDATE settlements SET kind = 3 - kind WHERE kind <> 3",
            ],
        ),
        (
            "transactions",
            [
                "DELETE FROM transactions WHERE seq = (SELECT min(seq) FROM transactions)",
                "UPDATE transactions SET last_timestamp = last_timestamp + 1",
            ],
        ),
        (
            "balance_history",
            [
                "DELETE FROM balance_history WHERE seq = (SELECT max(seq) FROM balance_history)",
                "UPDATE balance_history SET version = version + 1 WHERE seq = (SELECT min(seq) FROM balance_history)",
            ],
        ),
        (
            "replaced_metadata",
            [
                "DELETE FROM replaced_metadata",
                "UPDATE replaced_metadata SET metadata_digest = metadata_digest + 1",
            ],
        ),
        (
            "keyed_records",
            [
                "DELETE FROM keyed_records WHERE seq = (SELECT max(seq) FROM keyed_records)",
                "UPDATE keyed_records SET record = (SELECT record FROM keyed_records ORDER BY seq LIMIT 1)",
            ],
        ),
    ] {
        for damage in damages {
            let place = kind.place();
            let store = place.open().await;
            store.apply(&world.batch(JournalSeq::NONE, world.seq())).await.unwrap();
            place.execute(damage).await;
            let told = of_store(&store, all.0, all.1).await.difference(&journal);
            assert!(told.is_some_and(|told| told.contains(table)), "{damage}");
        }
    }
}

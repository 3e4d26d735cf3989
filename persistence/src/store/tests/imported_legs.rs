//! Transactions whose legs stand at times of their own, long before their command.

use florin_engine::{JournalSeq, TransferFlags};

use super::exactly_once::world_of;
use super::world::World;
use super::{Kind, in_both};
use crate::store::{Order, PageRequest, Store, StoredTransfer, TransferFilter};

in_both! {
    a_transaction_has_its_imported_legs,
    legs_that_an_older_program_stored_are_found_again,
}

/// Each transaction has all its legs, and no others; gives how many were imported.
async fn check_legs(world: &World, store: &Store) -> usize {
    let mut imported = 0;
    for stored in &world.transactions {
        let id = stored.transaction.id;
        let of_world = world.transfers.iter();
        let expected: Vec<StoredTransfer> =
            of_world.filter(|leg| leg.transfer.transaction_id == Some(id)).cloned().collect();
        assert_eq!(expected.len(), stored.transaction.transfers as usize);
        let legs = store.transfers_of_transaction(id).await.unwrap().value;
        assert_eq!(legs, expected, "{stored:?}");
        let filter = TransferFilter { transaction: Some(id), ..TransferFilter::default() };
        let page = PageRequest { order: Order::OldestFirst, ..PageRequest::first(20) };
        assert_eq!(store.transfers(&filter, &page).await.unwrap().data, expected, "{stored:?}");
        let first = &expected[0].transfer;
        imported += usize::from(first.flags.contains(TransferFlags::IMPORTED));
    }
    imported
}

async fn a_transaction_has_its_imported_legs(kind: Kind) {
    let (world, middle) = world_of(31, 30);
    let place = kind.place();
    let store = place.open().await;
    store.apply(&world.batch(JournalSeq::NONE, middle)).await.unwrap();
    store.apply(&world.batch(middle, world.seq())).await.unwrap();
    assert!(check_legs(&world, &store).await > 3);
}

async fn legs_that_an_older_program_stored_are_found_again(kind: Kind) {
    let (world, _) = world_of(32, 30);
    let place = kind.place();
    let store = place.open().await;
    store.apply(&world.batch(JournalSeq::NONE, world.seq())).await.unwrap();
    drop(store);
    // What it knew of them was the time of their command.
    place.execute("UPDATE transactions SET last_timestamp = timestamp + transfers").await;
    place.execute("DROP VIEW v_transactions").await;
    place.execute("ALTER TABLE transactions DROP COLUMN first_timestamp").await;
    place.execute("DROP TABLE IF EXISTS merges").await;
    place.execute("DELETE FROM _sqlx_migrations WHERE version >= 8").await;
    let store = place.open().await;
    assert!(check_legs(&world, &store).await > 3);
}

//! Metadata that a batch replaces costs PostgreSQL a few statements, not a few for each account.

use florin_engine::{AccountId, JournalSeq, Metadata};

use super::sqlite_file::shown_id;
use super::world::World;
use super::{Kind, Place};
use crate::store::{AccountFilter, MetadataEquals, PageRequest};

#[tokio::test]
async fn a_batch_replaces_the_metadata_of_all_accounts_at_once() {
    let mut world = World::new(50);
    let place = Kind::Postgres.place();
    let store = place.open().await;
    let middle = world.seq();
    store.apply(&world.batch(JournalSeq::NONE, middle)).await.unwrap();
    // Accounts of the store and of the batch itself, some of them several times, and some left without.
    world.create_later_accounts();
    let ids: Vec<AccountId> = world.accounts.keys().copied().collect();
    for round in 0..3 {
        for (nr, id) in ids.iter().enumerate() {
            let text = format!(r#"{{"round":{round},"nr":{nr}}}"#).into();
            let metadata = Metadata { text, digest: (10 * nr + round + 1) as u64 };
            world.replace_metadata(*id, Some(metadata).filter(|_| round < 2 || nr % 3 > 0));
        }
    }
    let Place::Server { server, database } = &place else { unreachable!("it was asked for") };
    let _ = server.psql(
        database,
        "CREATE TABLE public.asked (what text);
         CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO public.asked VALUES (TG_OP || ' ' || TG_TABLE_NAME); RETURN NULL; END $$;
         CREATE TRIGGER note AFTER UPDATE ON florin.accounts FOR EACH STATEMENT EXECUTE FUNCTION public.note();
         CREATE TRIGGER note AFTER INSERT OR DELETE ON florin.accounts_by_metadata FOR EACH STATEMENT EXECUTE FUNCTION public.note();
         CREATE TRIGGER note AFTER INSERT ON florin.replaced_metadata FOR EACH STATEMENT EXECUTE FUNCTION public.note()",
    );
    store.apply(&world.batch(middle, world.seq())).await.unwrap();
    let asked = "SELECT what || ' ' || count(*) FROM public.asked GROUP BY what ORDER BY what";
    assert_eq!(
        server.psql(database, asked).lines().collect::<Vec<_>>(),
        [
            "DELETE accounts_by_metadata 1",
            // Those of the accounts that the batch creates, and those of what replaces it.
            "INSERT accounts_by_metadata 2",
            "INSERT replaced_metadata 1",
            "UPDATE accounts 1",
        ]
    );

    let kept = "SELECT seq, account_id, coalesce(before, 'null'), coalesce(after, 'null')
        FROM florin.v_replaced_metadata ORDER BY seq";
    let expected: Vec<String> = world
        .replacements()
        .into_iter()
        .map(|(seq, id, [before, after])| format!("{}|{}|{before}|{after}", seq.0, shown_id(id.0)))
        .collect();
    assert_eq!(expected.len(), 3 * ids.len());
    assert_eq!(server.psql(database, kept).lines().collect::<Vec<_>>(), expected);
    for (key, value, found) in
        [("round", "0", 0), ("round", "1", 0), ("nr", "4", 1), ("nr", "3", 0)]
    {
        let metadata = vec![MetadataEquals { key: key.to_owned(), value: value.to_owned() }];
        let filter = AccountFilter { metadata, ..AccountFilter::default() };
        let page = store.accounts(&filter, &PageRequest::first(100)).await.unwrap();
        assert_eq!(page.data.len(), found, "{key}={value}");
    }
    for id in ids {
        let found = store.account(id).await.unwrap().value;
        assert_eq!(found.as_ref(), world.accounts.get(&id));
    }
}

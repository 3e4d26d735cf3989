//! Write-behind takes its time with what nobody waits for.

use std::time::{Duration, Instant};

use florin_actors::{Options, StoreChoice};
use florin_persistence::store::{PostgresOptions, TakeOver};
use florin_tests::postgres::Postgres;

use crate::bank::{TestBank, transfer};

const PATIENCE: Duration = Duration::from_secs(60);
/// How many transfers are stored in one step while there is time, and how many steps the batch then takes.
const STEP: u128 = 256;
const STEPS: u128 = 8;
/// Notes each statement that stores transfers, and makes it take 20 ms.
const WATCH: &str = "CREATE TABLE public.steps (step serial);
    CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO public.steps DEFAULT VALUES; PERFORM pg_sleep(0.02); RETURN NULL;
    END $$;
    CREATE TRIGGER note AFTER INSERT ON florin.transfers FOR EACH STATEMENT EXECUTE FUNCTION public.note()";

/// In how many statements a batch is stored, which somebody waits for or not.
async fn steps(somebody_waits: bool) -> u128 {
    let server = Postgres::shared();
    let database = server.create_database();
    let options = PostgresOptions::new(server.url(&database));
    let store = StoreChoice::Postgres { options, take_over: TakeOver::WhenFree };
    let bank = TestBank::open_with(|options| Options { store, segment_bytes: 4 << 20, ..options });
    bank.accounts(2).await;
    bank.everything_stored().await;
    let _ = server.psql(&database, WATCH);
    let transfers = (1..=STEP * STEPS).map(|id| transfer(id, 1, 2, "0.01")).collect();
    assert_eq!(bank.batch(transfers, None).await.unwrap().exceptions, []);
    let durable = bank.florin.positions().durable;
    if somebody_waits {
        assert!(bank.florin.wait_stored(durable, PATIENCE).await);
    }
    let deadline = Instant::now() + PATIENCE;
    while bank.florin.positions().stored < durable {
        assert!(Instant::now() < deadline, "the batch is not stored");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.psql(&database, "SELECT count(*) FROM public.steps").parse().unwrap()
}

#[tokio::test]
async fn a_batch_rests_until_somebody_waits_for_it() {
    assert_eq!(steps(false).await, STEPS);
    let steps = steps(true).await;
    assert!(steps < STEPS / 2, "{steps} steps");
}

//! JSON in and out, by the functions that serve requests, without a request around them.

use florin::measured::{Edge, Told, read_batch, read_transfer};
use florin_actors::{Answer, Durability, Florin, Options, WriteBehind};
use florin_engine::{
    AccountId, Amount, AmountInput, Command, CreateAccount, CreateTransfer, TransferId,
};
use tempfile::TempDir;
use uuid::Uuid;

use super::{Case, Named, SEGMENT_BYTES, unfed};

const BATCH: u64 = 8_190;
const ACCOUNTS: u64 = 1_000;
/// Bodies in one step.
const SINGLES: u64 = 100;
const GROUP: &str = "JSON";

pub(super) const CASES: [Named; 5] = [
    Named::new(GROUP, "a transfer read", SINGLES, read_singles),
    Named::new(GROUP, "a transfer of a batch of 8,190 read", BATCH, read_a_batch),
    Named::new(
        GROUP,
        "the answer to a transfer written, with its accounts",
        SINGLES,
        answer_single,
    ),
    Named::new(GROUP, "the answer to such a batch written, all created", 1, || {
        answer_batch(Told::Refused)
    }),
    Named::new(GROUP, "a transfer of the answer to such a batch, each told", BATCH, || {
        answer_batch(Told::Each)
    }),
];

/// Ids of version 7, as clients make them.
fn id(number: u64) -> u128 {
    0x0190_a5b0_0000_7000_8000_0000_0000_0000 | u128::from(number)
}

/// The transfer of a number, as a client writes it.
fn text(number: u64) -> String {
    let CreateTransfer {
        id,
        debit_account_id: AccountId(debit),
        credit_account_id: AccountId(credit),
        ..
    } = transfer(number);
    let (id, cents) = (Uuid::from_u128(id.0), number % 100);
    format!(
        r#"{{"id":"{id}","debit_account_id":{debit},"credit_account_id":{credit},"amount":"12.{cents:02}"}}"#
    )
}

fn transfer(number: u64) -> CreateTransfer {
    let account = |place: u64| AccountId(u128::from(1 + place % ACCOUNTS));
    let amount = AmountInput::Minor(Amount::from_minor(1_200 + number % 100));
    CreateTransfer::new(TransferId(id(number)), account(number), account(number + 1), amount)
}

fn read_singles() -> Box<dyn Case> {
    unfed((0..SINGLES).map(text).collect::<Vec<_>>(), |texts| {
        let read: Vec<_> = texts.iter().map(|text| read_transfer(text.as_bytes())).collect();
        assert_eq!(read[7].id.0, id(7));
        read
    })
}

fn read_a_batch() -> Box<dyn Case> {
    let texts: Vec<_> = (0..BATCH).map(text).collect();
    unfed(format!("[{}]", texts.join(",")), |text| {
        let read = read_batch(text.as_bytes());
        assert_eq!(read.len() as u64, BATCH);
        read
    })
}

/// A ledger that has answered a command, and what writes the answer.
struct Answering {
    edge: Edge,
    answer: Answer,
    /// Dropped after the ledger.
    _directory: TempDir,
}

impl Answering {
    /// What it answers to the first so many transfers.
    fn to(count: u64) -> Answering {
        let directory = TempDir::with_prefix("florin-bench-").expect("a temporary directory");
        let mut options = Options::new(directory.path().join("data"));
        options.segment_bytes = SEGMENT_BYTES;
        options.durability = Durability::Memory;
        options.write_behind = WriteBehind::Paused;
        let florin = Florin::open(options).expect("an empty directory can be opened");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let answer = runtime.expect("a runtime can be had").block_on(async {
            let accounts = (1..=ACCOUNTS).map(|id| CreateAccount::new(AccountId(id.into())));
            let accounts = florin.submit(Command::CreateAccounts(accounts.collect()), None).await;
            assert!(accounts.is_ok_and(|answer| answer.exceptions.is_empty()));
            let transfers = (0..count).map(transfer).collect();
            florin.submit(Command::CreateTransfers(transfers), None).await
        });
        let answer = answer.expect("a command is answered");
        assert!(answer.exceptions.is_empty(), "nothing is refused");
        Answering { edge: Edge::new(florin), answer, _directory: directory }
    }
}

fn answer_single() -> Box<dyn Case> {
    unfed(Answering::to(1), |answering| {
        let Answering { edge, answer, .. } = answering;
        let told = || edge.answer_transfer(TransferId(id(0)), answer);
        let told: Vec<_> = (0..SINGLES).map(|_| told()).collect();
        assert!(told[0].starts_with(br#"{"id":""#));
        told
    })
}

fn answer_batch(told: Told) -> Box<dyn Case> {
    let named: Vec<Option<u128>> = (0..BATCH).map(|number| Some(id(number))).collect();
    unfed((Answering::to(BATCH), named), move |(answering, named)| {
        let body = answering.edge.answer_batch(named, told, &answering.answer);
        assert!(body.starts_with(br#"{"created":8190,"#));
        body
    })
}

//! A ledger in a temporary directory, spoken to in few words.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use florin_actors::{Answer, Florin, Options, SubmitError};
use florin_engine::{
    AccountFlags, AccountId, AmountInput, Command, CommandKey, CreateAccount, CreateTransfer,
    ItemOutcome, TransferId,
};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct TestBank {
    pub(crate) florin: Florin,
    directory: TempDir,
}

pub(crate) fn options(path: PathBuf) -> Options {
    // Small segments, so that few transfers fill several.
    Options { segment_bytes: 256 << 10, ..Options::new(path) }
}

impl TestBank {
    pub(crate) fn open() -> TestBank {
        TestBank::open_with(|options| options)
    }

    pub(crate) fn open_with(change: impl FnOnce(Options) -> Options) -> TestBank {
        let directory = tempfile::tempdir().unwrap();
        let florin = Florin::open(change(options(directory.path().join("ledger")))).unwrap();
        TestBank { florin, directory }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("ledger")
    }

    /// Stops and opens again.
    pub(crate) async fn restart(self) -> TestBank {
        self.restart_with(|options| options).await
    }

    pub(crate) async fn restart_with(self, change: impl FnOnce(Options) -> Options) -> TestBank {
        self.florin.stop().await;
        let florin = Florin::open(change(options(self.path()))).unwrap();
        TestBank { florin, directory: self.directory }
    }

    /// Waits until the store has everything.
    pub(crate) async fn everything_stored(&self) {
        let durable = self.florin.positions().durable;
        assert!(self.florin.wait_stored(durable, PATIENCE).await);
    }

    /// Moves money from account 1 to 2 until the journal's first segment is gone.
    pub(crate) async fn fill_until_a_segment_goes(&self) {
        let oldest = self.path().join("journal").join("00000000000000000001.seg");
        let mut next = 1_000_000;
        let deadline = Instant::now() + 4 * PATIENCE;
        while oldest.exists() {
            assert!(Instant::now() < deadline, "no segment was ever removed");
            for _ in 0..20 {
                let transfers = (next..next + 200).map(|id| transfer(id, 1, 2, "0.01")).collect();
                assert_eq!(self.batch(transfers, None).await.unwrap().exceptions, []);
                next += 200;
            }
            self.everything_stored().await;
        }
    }

    /// Accounts 1 to `count`, of which the last can not be overdrawn.
    pub(crate) async fn accounts(&self, count: u128) {
        let accounts = (1..=count).map(|id| {
            let mut account = CreateAccount::new(AccountId(id));
            if id == count {
                account.flags = AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS;
            }
            account
        });
        let answer =
            self.florin.submit(Command::CreateAccounts(accounts.collect()), None).await.unwrap();
        assert_eq!(answer.exceptions, []);
    }

    pub(crate) async fn batch(
        &self,
        transfers: Vec<CreateTransfer>,
        key: Option<CommandKey>,
    ) -> Result<Answer, SubmitError> {
        self.florin.submit(Command::CreateTransfers(transfers), key).await
    }

    /// Moves money; answers `ok`, `exists` or the rejection's code.
    pub(crate) async fn transfer(&self, id: u128, from: u128, to: u128, amount: &str) -> String {
        let answer = self.batch(vec![transfer(id, from, to, amount)], None).await.unwrap();
        shown(&answer)
    }

    pub(crate) async fn balance(&self, id: u128) -> i128 {
        let found = self.florin.account(AccountId(id)).await.unwrap().value.unwrap();
        found.account.balances.balance(found.account.flags).minor_units()
    }
}

pub(crate) fn transfer(id: u128, from: u128, to: u128, amount: &str) -> CreateTransfer {
    let amount = AmountInput::parse(amount).unwrap();
    CreateTransfer::new(TransferId(id), AccountId(from), AccountId(to), amount)
}

pub(crate) fn shown(answer: &Answer) -> String {
    let outcomes = answer.exceptions.iter().map(|(index, outcome)| {
        let outcome = match outcome {
            ItemOutcome::Exists { .. } => "exists",
            ItemOutcome::Differs { .. } => "differs",
            ItemOutcome::Settled { settlement, .. } => settlement.rejection().code(),
            ItemOutcome::Rejected(rejection) => rejection.code(),
        };
        if answer.items == 1 { outcome.to_owned() } else { format!("{index} {outcome}") }
    });
    let outcomes: Vec<String> = outcomes.collect();
    if outcomes.is_empty() { "ok".to_owned() } else { outcomes.join(", ") }
}

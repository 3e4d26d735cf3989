//! To the shard and back: an embedded ledger with all its threads, a store that is not filled, and one thread that asks.

use florin_actors::{Durability, Florin, Options, WriteBehind};
use florin_engine::{
    AccountId, Amount, AmountInput, Command, CreateAccount, CreateTransfer, TransferId,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::{Case, Named, SEGMENT_BYTES, fed};

/// Who ask at once.
const CALLERS: u64 = 64;
const ACCOUNTS: u64 = 1_000;
const GROUP: &str = "to the shard and back";

pub(super) const CASES: [Named; 4] = [
    Named::new(GROUP, "an account read, with nothing to wait for", 1, read).differing(),
    Named::new(GROUP, "a transfer of one caller, durable (fdatasync)", 1, || {
        transferred(1, Durability::Fsync)
    })
    .differing(),
    Named::new(GROUP, "a transfer of 64 callers at once, durable (fdatasync)", CALLERS, || {
        transferred(CALLERS, Durability::Fsync)
    })
    .differing(),
    Named::new(GROUP, "a transfer of 64 callers at once, NOT synced", CALLERS, || {
        transferred(CALLERS, Durability::Memory)
    })
    .differing(),
];

struct Asking {
    runtime: Runtime,
    florin: Florin,
    next: u64,
    /// Dropped after the ledger.
    _directory: TempDir,
}

impl Asking {
    fn new(durability: Durability) -> Asking {
        let directory = TempDir::with_prefix("florin-bench-").expect("a temporary directory");
        let mut options = Options::new(directory.path().join("data"));
        options.segment_bytes = SEGMENT_BYTES;
        options.durability = durability;
        options.write_behind = WriteBehind::Paused;
        let florin = Florin::open(options).expect("an empty directory can be opened");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime can be had");
        let accounts = (1..=ACCOUNTS).map(|id| CreateAccount::new(AccountId(id.into())));
        runtime.block_on(submitted(&florin, Command::CreateAccounts(accounts.collect())));
        Asking { runtime, florin, next: 0, _directory: directory }
    }

    fn transfer(&mut self) -> Command {
        self.next += 1;
        let account = |place: u64| AccountId(u128::from(1 + place % ACCOUNTS));
        let (id, amount) = (TransferId(self.next.into()), Amount::from_minor(1));
        let (debit, credit) = (account(self.next), account(self.next * 7 + 1));
        let credit = if credit == debit { account(self.next + 1) } else { credit };
        let transfer = CreateTransfer::new(id, debit, credit, AmountInput::Minor(amount));
        Command::CreateTransfers(vec![transfer])
    }
}

async fn submitted(florin: &Florin, command: Command) -> u64 {
    let answer = florin.submit(command, None).await.expect("a command is answered");
    assert!(answer.exceptions.is_empty(), "refused: {:?}", answer.exceptions[0]);
    answer.seq.0
}

fn read() -> Box<dyn Case> {
    fed(
        Asking::new(Durability::Fsync),
        |_| (),
        |asking, ()| {
            let found = asking.runtime.block_on(asking.florin.account(AccountId(7)));
            found.expect("it can be read").value.expect("it was created")
        },
    )
}

fn transferred(callers: u64, durability: Durability) -> Box<dyn Case> {
    fed(
        Asking::new(durability),
        move |asking| (0..callers).map(|_| asking.transfer()).collect::<Vec<_>>(),
        |asking, mut commands| {
            let Asking { runtime, florin, .. } = asking;
            runtime.block_on(async {
                if commands.len() == 1 {
                    return submitted(florin, commands.remove(0)).await;
                }
                let mut waiting = JoinSet::new();
                for command in commands {
                    let florin = florin.clone();
                    waiting.spawn(async move { submitted(&florin, command).await });
                }
                waiting.join_all().await.into_iter().max().unwrap_or_default()
            })
        },
    )
}

//! What is compared: a handler that does nothing, Florin with each of its stores, and the design with row locks.

use std::fmt;
use std::time::Duration;

use florin_benches::bank::{ACCOUNTS, Bank};
use florin_benches::cpu::Parties;
use florin_benches::programs::{Program, beside, tell};
use florin_tests::http::{Client, Reply};
use florin_tests::postgres::Postgres;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::BATCH_SIZE;

/// As a server of this size would be set up: everything that an answered commit wrote is on the disk. Checkpoints come at the end
/// only, so that none falls into somebody's run; what they write is counted there.
const SETTINGS: &str = "
fsync = on
synchronous_commit = on
full_page_writes = on
shared_buffers = 1GB
max_wal_size = 64GB
checkpoint_timeout = 1d
max_connections = 200
";
/// How long a program that was stopped has to find its feet before it is measured.
const AWAKE: Duration = Duration::from_millis(200);

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Who {
    /// The handler that does nothing.
    Empty,
    /// Florin with its embedded store.
    Sqlite,
    /// Florin with PostgreSQL behind it.
    Postgres,
    /// The design with row locks.
    RowLocks,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Who::Empty => "empty handler",
            Who::Sqlite => "florin, embedded store",
            Who::Postgres => "florin, PostgreSQL",
            Who::RowLocks => "row locks in PostgreSQL",
        })
    }
}

enum Server {
    Florin(Bank),
    Other(Program),
}

/// A PostgreSQL of one subject's own.
struct Database {
    server: Postgres,
    name: String,
    /// Of the server; asked at the start, since one that sleeps does not answer.
    version: String,
}

impl Database {
    fn start() -> Database {
        let server = Postgres::start_with(SETTINGS);
        let name = server.create_database();
        let version = server.psql(&name, "SHOW server_version");
        let version = version.split(' ').next().unwrap_or_default().to_owned();
        Database { server, name, version }
    }

    fn url(&self) -> String {
        self.server.url(&self.name)
    }

    fn psql(&self, sql: &str) -> String {
        self.server.psql(&self.name, sql)
    }
}

/// One that answers, with the database that is its own.
pub(crate) struct Subject {
    pub(crate) who: Who,
    server: Server,
    postgres: Option<Database>,
    client: Client,
}

impl Subject {
    fn florin(who: Who) -> Subject {
        let postgres = (who == Who::Postgres).then(Database::start);
        let bank = match &postgres {
            None => Bank::start(&[], &[]),
            Some(database) => Bank::start(&[], &[("FLORIN_DATABASE_URL", &database.url())]),
        };
        bank.create_accounts();
        bank.wait_stored();
        let client = bank.client.clone();
        Subject { who, server: Server::Florin(bank), postgres, client }
    }

    fn row_locks(connections: u32) -> Subject {
        let database = Database::start();
        let (url, connections) = (database.url(), connections.to_string());
        let program = Program::start(&beside("row_locks"), &[&url, &connections]);
        let client = Client::new(program.base());
        let accounts = (1..=ACCOUNTS).map(|id| json!({"id": id.to_string()})).collect::<Vec<_>>();
        for part in accounts.chunks(5_000) {
            let reply = client.request("POST /v1/accounts/batch").send(json!(part));
            assert_eq!(reply.status, 200, "{reply:?}");
        }
        let postgres = Some(database);
        Subject { who: Who::RowLocks, server: Server::Other(program), postgres, client }
    }

    /// All of them, asleep. The handler that does nothing answers what Florin answered.
    pub(crate) fn all(connections: u32) -> Vec<Subject> {
        let sqlite = Subject::florin(Who::Sqlite);
        let [one, batch] = sqlite.answers().map(|reply| reply.body);
        let postgres = Subject::florin(Who::Postgres);
        let row_locks = Subject::row_locks(connections);
        for other in [&postgres, &row_locks] {
            let [its_one, its_batch] = other.answers().map(|reply| reply.body);
            for (its, expected) in [(&its_one, &one), (&its_batch, &batch)] {
                assert_eq!(shape(its), shape(expected), "{} answers in the same form", other.who);
            }
        }
        let program = Program::empty_handler(&one, &batch);
        let client = Client::new(program.base());
        let empty =
            Subject { who: Who::Empty, server: Server::Other(program), postgres: None, client };
        let all = vec![empty, sqlite, postgres, row_locks];
        all.iter().for_each(Subject::sleep);
        all
    }

    /// What it says to one transfer and to a batch as large as those of the load, which must be created.
    fn answers(&self) -> [Reply; 2] {
        let transfer = |id: u64| {
            let id = format!("0190a5b0-0000-7000-8000-{id:012x}");
            json!({"id": id, "debit_account_id": 2, "credit_account_id": 3, "amount": "0.01"})
        };
        let one = self.client.request("POST /v1/transfers").send(transfer(1));
        assert_eq!(one.status, 201, "{one:?}");
        let many: Vec<Value> = (2..2 + BATCH_SIZE).map(transfer).collect();
        let batch = self.client.request("POST /v1/transfers/batch").send(json!(many));
        assert_eq!(batch.status, 200, "{batch:?}");
        assert_eq!(batch.json()["created"], BATCH_SIZE, "{batch:?}");
        [one, batch]
    }

    /// Where it listens.
    pub(crate) fn base(&self) -> &str {
        self.client.base()
    }

    fn pid(&self) -> u32 {
        match &self.server {
            Server::Florin(bank) => bank.server.pid(),
            Server::Other(program) => program.pid(),
        }
    }

    /// Its processes.
    pub(crate) fn parties(&self) -> Parties {
        Parties { server: self.pid(), postgres: self.postgres.as_ref().map(|it| it.server.pid()) }
    }

    /// It does nothing from now on, not even what it had put off: that is done, and counted, while it is measured.
    pub(crate) fn sleep(&self) {
        tell(self.pid(), Signal::STOP);
        if let Some(database) = &self.postgres {
            database.server.pause();
        }
    }

    /// It goes on.
    pub(crate) fn wake(&self) {
        if let Some(database) = &self.postgres {
            database.server.resume();
        }
        tell(self.pid(), Signal::CONT);
        std::thread::sleep(AWAKE);
    }

    /// Returns when all that was acknowledged can be found with SQL.
    pub(crate) fn wait_stored(&self) {
        if let Server::Florin(bank) = &self.server {
            bank.wait_stored();
        }
    }

    /// How many cents have moved: with one cent a transfer, how many transfers there are. None where nothing is kept.
    pub(crate) fn moved(&self) -> Option<u64> {
        let moved = match (&self.server, &self.postgres) {
            (Server::Florin(bank), _) => {
                bank.wait_stored();
                let ledger = bank.client.request("GET /v1/ledgers/1").send(()).json();
                let text =
                    ledger["totals"]["debits_posted"].as_str().unwrap_or_default().replace('.', "");
                text.parse().ok()
            }
            (Server::Other(_), Some(database)) => {
                database.psql("SELECT sum(debits_posted)::bigint FROM accounts").parse().ok()
            }
            (Server::Other(_), None) => return None,
        };
        Some(moved.unwrap_or_else(|| panic!("{} does not tell what moved", self.who)))
    }

    /// Its database writes what it has put off.
    pub(crate) fn checkpoint(&self) {
        if let Some(database) = &self.postgres {
            let _ = database.psql("CHECKPOINT");
        }
    }

    /// The database's version, where there is one.
    pub(crate) fn postgres_version(&self) -> Option<&str> {
        self.postgres.as_ref().map(|database| &*database.version)
    }
}

/// The names of an answer's fields, but that which only Florin has.
fn shape(answer: &str) -> Vec<String> {
    let answer: Value = serde_json::from_str(answer).expect("an answer is JSON");
    let fields = answer.as_object().into_iter().flat_map(|fields| fields.keys().cloned());
    fields.filter(|name| name != "seq").collect()
}

//! What is compared: a handler that does nothing, Florin with each of its stores, and the design with row locks.

use std::fmt;
use std::time::Duration;

use florin_benches::bank::{ACCOUNTS, Bank};
use florin_benches::cpu::Parties;
use florin_benches::disk::written_by_family;
use florin_benches::programs::{Program, beside, tell};
use florin_tests::http::{Client, Reply};
use florin_tests::postgres::Postgres;
use rustix::process::Signal;
use serde_json::{Value, json};

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

/// One that answers, with the database that is its own.
pub(crate) struct Subject {
    pub(crate) who: Who,
    server: Server,
    postgres: Option<(Postgres, String)>,
    client: Client,
}

impl Subject {
    fn florin(who: Who) -> Subject {
        let postgres = (who == Who::Postgres).then(own_postgres);
        let bank = match &postgres {
            None => Bank::start(&[], &[]),
            Some((server, database)) => {
                Bank::start(&[], &[("FLORIN_DATABASE_URL", &server.url(database))])
            }
        };
        bank.create_accounts();
        bank.wait_stored();
        let client = bank.client.clone();
        Subject { who, server: Server::Florin(bank), postgres, client }
    }

    fn row_locks(connections: u32) -> Subject {
        let (server, database) = own_postgres();
        let (url, connections) = (server.url(&database), connections.to_string());
        let program = Program::start(&beside("row_locks"), &[&url, &connections]);
        let client = Client::new(program.base());
        let accounts = (1..=ACCOUNTS).map(|id| json!({"id": id.to_string()})).collect::<Vec<_>>();
        for part in accounts.chunks(5_000) {
            let reply = client.request("POST /v1/accounts/batch").send(json!(part));
            assert_eq!(reply.status, 200, "{reply:?}");
        }
        let postgres = Some((server, database));
        Subject { who: Who::RowLocks, server: Server::Other(program), postgres, client }
    }

    /// All of them, asleep. The handler that does nothing answers what Florin answered.
    pub(crate) fn all(connections: u32) -> Vec<Subject> {
        let sqlite = Subject::florin(Who::Sqlite);
        let [one, batch] = sqlite.answers().map(|reply| reply.body);
        let postgres = Subject::florin(Who::Postgres);
        let row_locks = Subject::row_locks(connections);
        for other in [&postgres, &row_locks] {
            let shapes = [other.answers().map(|reply| shape(&reply)), sqlite_shapes(&one, &batch)];
            assert_eq!(shapes[0], shapes[1], "{} answers in the same form", other.who);
        }
        let program = Program::empty_handler(&one, &batch);
        let client = Client::new(program.base());
        let empty =
            Subject { who: Who::Empty, server: Server::Other(program), postgres: None, client };
        let all = vec![empty, sqlite, postgres, row_locks];
        all.iter().for_each(Subject::sleep);
        all
    }

    /// What it says to one transfer and to a batch of two, which must be created.
    fn answers(&self) -> [Reply; 2] {
        let transfer = |id: u64| {
            let id = format!("0190a5b0-0000-7000-8000-{id:012x}");
            json!({"id": id, "debit_account_id": 2, "credit_account_id": 3, "amount": "0.01"})
        };
        let one = self.client.request("POST /v1/transfers").send(transfer(1));
        assert_eq!(one.status, 201, "{one:?}");
        let both = json!([transfer(2), transfer(3)]);
        let batch = self.client.request("POST /v1/transfers/batch").send(both);
        assert_eq!(batch.status, 200, "{batch:?}");
        assert_eq!(batch.json()["created"], 2, "{batch:?}");
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
        Parties { server: self.pid(), postgres: self.postgres.as_ref().map(|(it, _)| it.pid()) }
    }

    /// Bytes that its processes have written so far.
    pub(crate) fn written(&self) -> u64 {
        let Parties { server, postgres } = self.parties();
        written_by_family(server) + postgres.map_or(0, written_by_family)
    }

    /// It does nothing from now on, not even what it had put off: that is done, and counted, while it is measured.
    pub(crate) fn sleep(&self) {
        tell(self.pid(), Signal::STOP);
        if let Some((postgres, _)) = &self.postgres {
            postgres.pause();
        }
    }

    /// It goes on.
    pub(crate) fn wake(&self) {
        if let Some((postgres, _)) = &self.postgres {
            postgres.resume();
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
                let text = ledger["debits_posted"].as_str().unwrap_or_default().replace('.', "");
                text.parse().ok()
            }
            (Server::Other(_), Some((postgres, database))) => {
                let sum = "SELECT sum(debits_posted)::bigint FROM accounts";
                postgres.psql(database, sum).parse().ok()
            }
            (Server::Other(_), None) => return None,
        };
        Some(moved.unwrap_or_else(|| panic!("{} does not tell what moved", self.who)))
    }

    /// Bytes that its database still has to write.
    pub(crate) fn checkpoint(&self) -> u64 {
        let Some((postgres, database)) = &self.postgres else { return 0 };
        let before = self.written();
        let _ = postgres.psql(database, "CHECKPOINT");
        self.written() - before
    }

    /// The database's version, where there is one.
    pub(crate) fn postgres_version(&self) -> Option<String> {
        let (postgres, database) = self.postgres.as_ref()?;
        let version = postgres.psql(database, "SHOW server_version");
        version.split(' ').next().map(str::to_owned)
    }
}

fn own_postgres() -> (Postgres, String) {
    let postgres = Postgres::start_with(SETTINGS);
    let database = postgres.create_database();
    (postgres, database)
}

/// The names of an answer's fields, but those that only Florin has.
fn shape(reply: &Reply) -> Vec<String> {
    shape_of(&reply.json())
}

fn shape_of(answer: &Value) -> Vec<String> {
    let fields = answer.as_object().into_iter().flat_map(|fields| fields.keys().cloned());
    fields.filter(|name| name != "seq").collect()
}

fn sqlite_shapes(one: &str, batch: &str) -> [Vec<String>; 2] {
    [one, batch].map(|text| shape_of(&serde_json::from_str(text).expect("an answer is JSON")))
}

//! Rows in bulk, encoded once: appended by binary `COPY` when they are many, and by one `INSERT` from arrays when they are few.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

use super::binary::{Array, Binary, Kind};
use super::connect::{PATIENCE, within};
use super::snapshot::Sql;
use crate::store::error::StoreError;
use crate::store::leisure::Leisure;

/// From so many rows on they go by `COPY`, which costs the server a tenth to a fifth less. Its end is a small message right
/// behind the rows, which over TCP waits for their acknowledgement (Nagle's rule, 40 ms, and the client leaves no way to turn it
/// off). With so many rows the server is busy meanwhile; fewer are sooner there by a statement with arrays, which is one message.
const COPY_ROWS_MIN: usize = 16_384;
/// So many bytes go out at once: enough to cost few calls, little enough to stay in the processor's cache.
const PIECE_BYTES: usize = 128 * 1024;
/// When there is time, rows go in statements of so many, some five milliseconds of the server's time each.
const STEP_ROWS: usize = 256;
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// A connection that writes, and the buffer that its rows are encoded in.
pub(super) struct Writer {
    pub(super) connection: PgConnection,
    buffer: Binary,
    /// How long one statement, or one piece of rows, may take.
    pub(super) limit: Duration,
    leisure: Arc<Leisure>,
}

/// Where rows go, and the columns that they have.
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) columns: &'static [(&'static str, Kind)],
    pub(super) doing: &'static str,
}

impl Table {
    fn target(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| *name).collect();
        format!("{} ({})", self.name, names.join(", "))
    }
}

/// Rows that go in several statements, with rests between them where there is time.
pub(super) struct Steps<'a, T> {
    left: &'a [T],
    /// When the last statement was begun.
    began: Option<Instant>,
}

impl<'a, T> Steps<'a, T> {
    pub(super) fn of(rows: &'a [T]) -> Steps<'a, T> {
        Steps { left: rows, began: None }
    }
}

impl Writer {
    pub(super) fn new(connection: PgConnection, limit: Duration, leisure: Arc<Leisure>) -> Writer {
        let buffer = Binary::with_capacity(PIECE_BYTES + PIECE_BYTES / 8);
        Writer { connection, buffer, limit, leisure }
    }

    /// The rows of the next statement: all that are left, or, while there is time, a few, after a rest. None when all went.
    pub(super) async fn next_step<'a, T>(&self, steps: &mut Steps<'a, T>) -> Option<&'a [T]> {
        if steps.left.is_empty() {
            return None;
        }
        if let Some(began) = steps.began {
            let rest = self.leisure.rest_after(began.elapsed());
            if !rest.is_zero() {
                tokio::time::sleep(rest).await;
            }
        }
        let few = if self.leisure.is_none() { usize::MAX } else { STEP_ROWS };
        let now = steps.left.split_off(..few.min(steps.left.len()));
        steps.began = Some(Instant::now());
        now
    }

    /// Lets the statements of this SQL transaction take as long as whole tables need. The caller has begun it, and sets the limit back.
    pub(super) async fn be_patient(&mut self) -> Result<(), StoreError> {
        let unlimited = sqlx::raw_sql("SET LOCAL statement_timeout = 0");
        let unlimited = unlimited.execute(&mut self.connection);
        within(self.limit, "beginning what reads whole tables", unlimited).await?;
        self.limit = PATIENCE;
        Ok(())
    }

    /// Appends `rows`, of which `encode` writes the fields of each in the order of the columns. After an error the connection is
    /// in the middle of something, and must go.
    pub(super) async fn append<T>(
        &mut self,
        table: &Table,
        rows: &[T],
        encode: impl Fn(&T, &mut Binary) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut steps = Steps::of(rows);
        while let Some(now) = self.next_step(&mut steps).await {
            let taken = match now.len() {
                ..COPY_ROWS_MIN => self.insert(table, now, &encode).await?,
                _ => self.copy(table, now, &encode).await?,
            };
            if taken != now.len() as u64 {
                let what = "rows that the database did not count";
                return Err(StoreError::Unreadable { what });
            }
        }
        Ok(())
    }

    async fn insert<T>(
        &mut self,
        table: &Table,
        rows: &[T],
        encode: impl Fn(&T, &mut Binary) -> Result<(), StoreError>,
    ) -> Result<u64, StoreError> {
        let kinds = table.columns.iter().map(|(_, kind)| *kind);
        let mut arrays: Vec<Array> = kinds.map(|kind| Array::new(kind, rows.len())).collect();
        for row in rows {
            self.buffer.clear();
            encode(row, &mut self.buffer)?;
            let mut fields = self.buffer.fields();
            let placed = arrays.iter_mut().zip(&mut fields).map(|(array, field)| {
                array.next().raw(field);
            });
            // UNNEST would fill up a shorter array with NULLs.
            assert_eq!(placed.count(), table.columns.len(), "{}: a field is missing", table.doing);
            assert!(fields.next().is_none(), "{}: a field too many", table.doing);
        }
        let mut sql = Sql::new("INSERT INTO ");
        sql.push(&table.target()).push_unnested(arrays);
        let statement = sqlx::query_with(AssertSqlSafe(sql.text), sql.arguments);
        let done = statement.execute(&mut self.connection);
        Ok(within(self.limit, table.doing, done).await?.rows_affected())
    }

    async fn copy<T>(
        &mut self,
        table: &Table,
        rows: &[T],
        encode: impl Fn(&T, &mut Binary) -> Result<(), StoreError>,
    ) -> Result<u64, StoreError> {
        let Writer { connection, buffer, limit, leisure: _ } = self;
        let statement = format!("COPY {} FROM STDIN (FORMAT binary)", table.target());
        let mut stream = within(*limit, table.doing, connection.copy_in_raw(&statement)).await?;
        let columns = (table.columns.len() as i16).to_be_bytes();
        buffer.clear();
        buffer.raw(SIGNATURE);
        for row in rows {
            buffer.raw(&columns);
            encode(row, buffer)?;
            if buffer.bytes().len() >= PIECE_BYTES {
                within(*limit, table.doing, stream.send(buffer.bytes())).await?;
                buffer.clear();
                // Who moves money should not wait for a batch.
                std::thread::yield_now();
            }
        }
        buffer.raw(&(-1_i16).to_be_bytes());
        within(*limit, table.doing, stream.send(buffer.bytes())).await?;
        within(*limit, table.doing, stream.finish()).await
    }
}

#[cfg(test)]
mod tests {
    use florin_tests::postgres::Postgres as Server;
    use sqlx::{Connection, Executor};

    use super::*;

    const COLUMNS: &[(&str, Kind)] = &[
        ("a", Kind::Bigint),
        ("b", Kind::Integer),
        ("c", Kind::Numeric),
        ("d", Kind::Uuid),
        ("e", Kind::Text),
        ("f", Kind::Bytea),
        ("g", Kind::Jsonb),
    ];
    const MAKE: &str = "CREATE TABLE rows
        (a bigint, b integer, c numeric, d uuid, e text, f bytea, g jsonb)";
    /// What `encode` writes, in the server's words.
    const EXPECTED: &str = "SELECT n, CASE WHEN n % 3 > 0 THEN n END, n::numeric * n * n,
        lpad(to_hex(n), 32, '0')::uuid, CASE WHEN n % 5 > 0 THEN repeat('ö', (n % 40)::int) END,
        int8send(n), CASE WHEN n % 7 > 0 THEN jsonb_build_array(n) END";

    fn encode(n: &i32, row: &mut Binary) -> Result<(), StoreError> {
        let (wide, absolute) = (i64::from(*n), n.unsigned_abs());
        row.bigint(wide);
        if n % 3 == 0 {
            row.null()
        } else {
            row.integer(*n)
        };
        row.numeric(u128::from(absolute).pow(3)).id(u128::from(absolute));
        if n % 5 == 0 {
            row.null()
        } else {
            row.text(&"ö".repeat(absolute as usize % 40))
        };
        row.bytea(&wide.to_be_bytes());
        if n % 7 == 0 {
            row.null()
        } else {
            row.jsonb(&format!("[{n}]"))
        };
        Ok(())
    }

    async fn writer(server: &Server, database: &str) -> Writer {
        let mut connection = PgConnection::connect(&server.url(database)).await.unwrap();
        connection.execute(MAKE).await.unwrap();
        Writer::new(connection, Duration::from_secs(30), Arc::default())
    }

    #[tokio::test]
    async fn few_rows_and_many_arrive_as_they_are() {
        let server = Server::shared();
        let database = server.create_database();
        let mut writer = writer(server, &database).await;
        let table = Table { name: "rows", columns: COLUMNS, doing: "testing" };
        let command = "SELECT split_part(query, ' ', 1) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()";
        for (count, expected_command) in [
            (0, "CREATE"),
            (1, "INSERT"),
            (COPY_ROWS_MIN - 1, "INSERT"),
            (COPY_ROWS_MIN, "COPY"),
            (3 * COPY_ROWS_MIN, "COPY"),
        ] {
            let rows: Vec<i32> = (1..).take(count).collect();
            writer.append(&table, &rows, encode).await.unwrap();
            assert_eq!(server.psql(&database, command), expected_command, "{count} rows");
            let expected = format!("({EXPECTED} FROM generate_series(1, {count}::bigint) n)");
            let different = format!(
                "SELECT count(*) FROM ((TABLE rows EXCEPT ALL {expected})
                 UNION ALL ({expected} EXCEPT ALL TABLE rows)) t"
            );
            assert_eq!(server.psql(&database, &different), "0", "{count} rows");
            let _ = server.psql(&database, "TRUNCATE rows");
        }
    }

    const LONG: Duration = Duration::from_secs(60);

    /// With rests of this share until then, how many rows each statement had, where each takes 50 ms.
    async fn appended(share: f64, until: Duration) -> (Vec<String>, Duration) {
        let server = Server::shared();
        let database = server.create_database();
        let mut writer = writer(server, &database).await;
        let watch = "CREATE TABLE steps (step serial, rows bigint);
            CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                INSERT INTO steps (rows) SELECT count(*) FROM new; PERFORM pg_sleep(0.05); RETURN NULL;
            END $$;
            CREATE TRIGGER note AFTER INSERT ON rows REFERENCING NEW TABLE AS new
                FOR EACH STATEMENT EXECUTE FUNCTION note();";
        let _ = server.psql(&database, watch);
        let table = Table { name: "rows", columns: COLUMNS, doing: "testing" };
        let rows: Vec<i32> = (1..).take(4 * STEP_ROWS + 1).collect();
        let began = Instant::now();
        writer.leisure.set(share);
        let leisure = Arc::clone(&writer.leisure);
        let hurry = tokio::spawn(async move {
            tokio::time::sleep(until).await;
            leisure.set(0.0);
        });
        writer.append(&table, &rows, encode).await.unwrap();
        let took = began.elapsed();
        hurry.abort();
        let steps = server.psql(&database, "SELECT rows FROM steps ORDER BY step");
        (steps.lines().map(str::to_owned).collect(), took)
    }

    #[tokio::test]
    async fn while_there_is_time_rows_go_a_few_at_a_time_with_rests() {
        let (steps, _) = appended(0.0, LONG).await;
        assert_eq!(steps, ["1025"]);
        let (steps, took) = appended(1.0, LONG).await;
        assert_eq!(steps, ["256", "256", "256", "256", "1"]);
        assert!(took >= Duration::from_millis(5 * 50 + 4 * 50), "{took:?}");
        let (steps, _) = appended(1.0, Duration::from_millis(80)).await;
        assert!((2..5).contains(&steps.len()), "the others go at once: {steps:?}");
    }

    #[tokio::test]
    #[should_panic(expected = "testing: a field is missing")]
    async fn a_row_that_lacks_a_field_is_never_filled_up() {
        let server = Server::shared();
        let mut writer = writer(server, &server.create_database()).await;
        let table = Table { name: "rows", columns: COLUMNS, doing: "testing" };
        let short = |n: &i32, row: &mut Binary| {
            row.integer(*n);
            Ok(())
        };
        let _ = writer.append(&table, &[1], short).await;
    }
}

//! Many rows in few statements.

use std::sync::Arc;

use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{Arguments, AssertSqlSafe};

use super::columns::{self, Column};
use super::connect::database_error;
use crate::store::error::StoreError;

/// How many rows one statement takes, largest first: each size is one text, prepared once and kept. With 16 columns the largest
/// binds 8,192 values, where SQLite takes 32,766; larger ones are not faster.
const STATEMENT_ROWS: [usize; 4] = [512, 64, 8, 1];

/// An INSERT of which the rows are still to come.
///
/// All of them say OR FAIL or resolve their conflict: with the default, OR ABORT, SQLite copies each page that a statement of
/// many rows changes, to take the statement back alone; here a failure rolls the whole batch back.
pub(super) struct Insert {
    /// Up to and with VALUES.
    pub(super) head: &'static str,
    pub(super) columns: usize,
    /// What follows the rows: empty, or the conflict's resolution.
    pub(super) tail: &'static str,
    pub(super) doing: &'static str,
}

impl Insert {
    fn text(&self, rows: usize) -> Arc<str> {
        let mut row = "(?".to_owned();
        (1..self.columns).for_each(|_| row.push_str(",?"));
        row.push(')');
        let mut text = String::with_capacity(self.head.len() + rows * (row.len() + 1) + 128);
        text.push_str(self.head);
        for index in 0..rows {
            if index > 0 {
                text.push(',');
            }
            text.push_str(&row);
        }
        text.push_str(self.tail);
        text.into()
    }

    /// Inserts `rows`, of which `bind` gives the columns of each in order.
    pub(super) async fn run<T>(
        &self,
        connection: &mut SqliteConnection,
        mut rows: &[T],
        bind: impl Fn(&T, &mut RowColumns) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        for size in STATEMENT_ROWS {
            if rows.len() < size {
                continue;
            }
            let text = self.text(size);
            while let Some((now, later)) = rows.split_at_checked(size) {
                let mut values = RowColumns::new(size * self.columns);
                for row in now {
                    bind(row, &mut values)?;
                }
                debug_assert_eq!(values.0.len(), size * self.columns, "{}", self.doing);
                sqlx::query_with(AssertSqlSafe(Arc::clone(&text)), values.0)
                    .execute(&mut *connection)
                    .await
                    .map_err(|source| database_error(self.doing, source))?;
                rows = later;
            }
        }
        Ok(())
    }
}

/// The values of a statement, row after row.
pub(super) struct RowColumns(SqliteArguments);

impl RowColumns {
    fn new(values: usize) -> RowColumns {
        let mut arguments = SqliteArguments::default();
        arguments.reserve(values, 0);
        RowColumns(arguments)
    }

    /// Adds the next column.
    pub(super) fn add(&mut self, column: impl Into<Column>) -> &mut RowColumns {
        columns::bind(&mut self.0, column.into());
        self
    }
}

//! Rows by binary `COPY`: encoded here, sent in pieces, appended by the server without parsing.

use std::time::Duration;

use sqlx::postgres::PgConnection;

use super::binary::Binary;
use super::connect::within;
use crate::store::error::StoreError;

/// So many bytes go out at once: enough to cost few calls, little enough to stay in the processor's cache.
const PIECE_BYTES: usize = 128 * 1024;
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// A connection that writes, and the buffer that its rows are encoded in.
pub(super) struct Writer {
    pub(super) connection: PgConnection,
    buffer: Binary,
    /// How long one statement, or one piece of rows, may take.
    pub(super) limit: Duration,
}

/// Where rows go.
pub(super) struct Table {
    /// The whole statement.
    pub(super) copy: &'static str,
    pub(super) columns: u16,
    pub(super) doing: &'static str,
}

impl Writer {
    pub(super) fn new(connection: PgConnection, limit: Duration) -> Writer {
        let buffer = Binary::with_capacity(PIECE_BYTES + PIECE_BYTES / 8);
        Writer { connection, buffer, limit }
    }

    /// Appends `rows`, of which `encode` writes the fields of each in order. After an error the connection is in the middle of
    /// something, and must go.
    pub(super) async fn copy<T>(
        &mut self,
        table: &Table,
        rows: &[T],
        encode: impl Fn(&T, &mut Binary) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        let Writer { connection, buffer, limit } = self;
        let mut stream = within(*limit, table.doing, connection.copy_in_raw(table.copy)).await?;
        buffer.clear();
        buffer.raw(SIGNATURE);
        for row in rows {
            buffer.raw(&table.columns.to_be_bytes());
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
        let taken = within(*limit, table.doing, stream.finish()).await?;
        if taken == rows.len() as u64 {
            Ok(())
        } else {
            Err(StoreError::Unreadable { what: "rows that the database did not count" })
        }
    }
}

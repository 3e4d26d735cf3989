//! What is told of many rows at once: statements, and sums over a ledger.

use florin_engine::{AccountId, LedgerId, Timestamp};

use super::columns::{self, Reader};
use super::snapshot::{Snapshot, Sql};
use super::{Sqlite, queries, time_of};
use crate::store::decode;
use crate::store::error::StoreError;
use crate::store::filter::BalanceFilter;
use crate::store::page::{AsOf, Order, PageRequest};
use crate::store::rows::{BalanceAt, Checkpoint, LedgerByCode, StoredAccount};
use crate::store::span::Span;
use crate::store::statement::{
    self, Moment, Movement, Moves, PostedAt, Statement, StatementRequest,
};

impl Sqlite {
    pub(in crate::store) async fn posted_at(
        &self,
        account: AccountId,
        moment: Moment,
    ) -> Result<AsOf<Option<PostedAt>>, StoreError> {
        let mut snapshot = self.readers.snapshot().await?;
        let value = statement::posted_at(&mut snapshot, account, moment).await?;
        let as_of = Snapshot::checkpoint(&snapshot).seq;
        snapshot.end().await?;
        Ok(AsOf { as_of, value })
    }

    pub(in crate::store) async fn statement(
        &self,
        request: &StatementRequest,
    ) -> Result<AsOf<Option<Statement>>, StoreError> {
        let mut snapshot = self.readers.snapshot().await?;
        let value = statement::statement(&mut snapshot, request).await?;
        let as_of = Snapshot::checkpoint(&snapshot).seq;
        snapshot.end().await?;
        Ok(AsOf { as_of, value })
    }

    pub(in crate::store) async fn ledger_by_code(
        &self,
        id: LedgerId,
    ) -> Result<AsOf<Option<LedgerByCode>>, StoreError> {
        let _one_at_a_time = self.reports.lock().await;
        let mut snapshot = self.readers.snapshot().await?;
        let mut sql = Sql::new("SELECT ");
        sql.push(queries::LEDGER_COLUMNS).push(" FROM ledgers l WHERE l.id = ?").bind(id.0);
        let ledger = snapshot.fetch(sql).await?;
        let ledger = ledger.first().map(Reader::new).map(decode::ledger).transpose()?;
        let mut value = None;
        if let Some(stored) = ledger {
            let rows = snapshot.fetch(queries::totals_by_code(id)).await?;
            let codes = rows.iter().map(|row| queries::code_totals(Reader::new(row)));
            value = Some(LedgerByCode { stored, codes: codes.collect::<Result<_, _>>()? });
        }
        let as_of = Snapshot::checkpoint(&snapshot).seq;
        snapshot.end().await?;
        Ok(AsOf { as_of, value })
    }
}

impl Moves for Snapshot<'_> {
    fn checkpoint(&self) -> Checkpoint {
        Snapshot::checkpoint(self)
    }

    async fn account(&mut self, id: AccountId) -> Result<Option<StoredAccount>, StoreError> {
        let rows = self.fetch(queries::accounts_by_id(&[columns::id(id.0)])).await?;
        rows.first().map(Reader::new).map(decode::account).transpose()
    }

    async fn moves(
        &mut self,
        account: AccountId,
        span: Span,
        order: Order,
        rows: usize,
    ) -> Result<Vec<Movement>, StoreError> {
        let found = self.fetch(queries::moves(account, span, order, rows)).await?;
        found.iter().map(|row| decode::movement(Reader::new(row), account)).collect()
    }

    async fn first_transfer(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let first = Sql::new("SELECT timestamp FROM transfers ORDER BY timestamp LIMIT 1");
        Ok(time_of(&self.fetch(first).await?)?.map(Timestamp))
    }

    async fn history_at(
        &mut self,
        account: AccountId,
        at: Timestamp,
    ) -> Result<Option<BalanceAt>, StoreError> {
        let filter = BalanceFilter { at: Some(at), ..BalanceFilter::default() };
        let span = Span::ALL.within(0, at.0);
        let sql = queries::balances(account, &filter, &PageRequest::first(1), span);
        let rows = self.fetch(sql).await?;
        rows.first().map(Reader::new).map(decode::balance_at).transpose()
    }
}

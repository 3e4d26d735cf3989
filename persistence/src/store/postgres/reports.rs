//! What is told of many rows at once: statements, and sums over a ledger.

use florin_engine::{AccountId, LedgerId, Timestamp};

use super::columns::Reader;
use super::snapshot::{Snapshot, Sql};
use super::{Postgres, all, queries, time_of};
use crate::store::decode;
use crate::store::error::StoreError;
use crate::store::filter::BalanceFilter;
use crate::store::page::{AsOf, Order, PageRequest};
use crate::store::rows::{BalanceAt, Checkpoint, LedgerByCode, StoredAccount};
use crate::store::span::Span;
use crate::store::statement::{
    self, Moment, Movement, Moves, PostedAt, Statement, StatementRequest,
};

impl Postgres {
    pub(in crate::store) async fn posted_at(
        &self,
        account: AccountId,
        moment: Moment,
    ) -> Result<AsOf<Option<PostedAt>>, StoreError> {
        let read = self.read(async |snapshot| {
            let value = statement::posted_at(snapshot, account, moment).await?;
            Ok(AsOf { as_of: Snapshot::checkpoint(snapshot).seq, value })
        });
        read.await
    }

    pub(in crate::store) async fn statement(
        &self,
        request: &StatementRequest,
    ) -> Result<AsOf<Option<Statement>>, StoreError> {
        let read = self.read(async |snapshot| {
            let value = statement::statement(snapshot, request).await?;
            Ok(AsOf { as_of: Snapshot::checkpoint(snapshot).seq, value })
        });
        read.await
    }

    pub(in crate::store) async fn ledger_by_code(
        &self,
        id: LedgerId,
    ) -> Result<AsOf<Option<LedgerByCode>>, StoreError> {
        let _one_at_a_time = self.reports.lock().await;
        let read = self.read(async |snapshot| {
            let mut sql = Sql::new("SELECT ");
            sql.push(queries::LEDGER_COLUMNS).push(" FROM ledgers l WHERE l.id = ").bind(id.0);
            let ledger = snapshot.fetch(sql).await?;
            let mut value = None;
            if let Some(row) = ledger.first() {
                let stored = decode::ledger(Reader::new(row))?;
                let rows = snapshot.fetch(queries::totals_by_code(id)).await?;
                value = Some(LedgerByCode { stored, codes: all(&rows, queries::code_totals)? });
            }
            Ok(AsOf { as_of: Snapshot::checkpoint(snapshot).seq, value })
        });
        read.await
    }
}

impl Moves for Snapshot {
    fn checkpoint(&self) -> Checkpoint {
        Snapshot::checkpoint(self)
    }

    async fn account(&mut self, id: AccountId) -> Result<Option<StoredAccount>, StoreError> {
        let rows = self.fetch(queries::accounts_by_id(&[id.0])).await?;
        rows.first().map(|row| decode::account(Reader::new(row))).transpose()
    }

    async fn moves(
        &mut self,
        account: AccountId,
        span: Span,
        order: Order,
        rows: usize,
    ) -> Result<Vec<Movement>, StoreError> {
        let rows = self.fetch(queries::moves(account, span, order, rows)).await?;
        all(&rows, |columns| decode::movement(columns, account))
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
        rows.first().map(|row| decode::balance_at(Reader::new(row))).transpose()
    }
}

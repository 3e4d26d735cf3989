//! The bodies of requests about something that is there: reversals, whole transactions, and what changes an account.

use florin_engine::{
    AccountId, AmountInput, Condition, ExternalId, Metadata, ReplaceMetadata, ReverseTransfer,
    SetOverdraftLimit, Transfer, TransferId,
};

use super::conditions::{self, NewCondition};
use super::input::{
    Name, Naming, metadata_value, name, needed, optional, time_value, u32_value, u64_value,
};
use super::json::raw_object;
use super::schemas::{Data128Input, Decimal64Input, IdInput, MetadataObject, MoneyInput};
use super::values;
use crate::http::error::Fault;
use crate::http::fresh::fresh_id;

raw_object! {
    /// What to say of the reversal of a transfer: all of it may be left out.
    NewReversal {
        /// Its name, decided once for ever; a UUIDv7 is made when absent.
        id: Option<IdInput>,
        /// Your own reference.
        user_data_128: Option<Data128Input>,
        /// Your own reference.
        user_data_64: Option<Decimal64Input>,
        /// Your own reference.
        user_data_32: Option<u32>,
        /// When it took effect outside.
        effective_at: Option<String>,
        /// Your own words about it.
        metadata: Option<MetadataObject>,
        /// What must hold for it to happen; at most 16.
        conditions: Option<Vec<NewCondition>>,
    }
}

raw_object! {
    /// What to say of the transaction that posts, voids or reverses all legs of another one: all of it may be left out.
    SettleTransaction {
        /// Its name, in the transfers' id space; a UUIDv7 is made when absent. Its legs get ids derived from it and their index.
        id: Option<IdInput>,
        /// Your own words about it.
        metadata: Option<MetadataObject>,
        /// What must hold before its first leg for it to happen; at most 16.
        conditions: Option<Vec<NewCondition>>,
    }
}

raw_object! {
    /// Another overdraft limit.
    NewOverdraftLimit {
        /// How far the limited side may go beyond the other from now on.
        #[schema(required)]
        overdraft_limit: MoneyInput,
    }
}

raw_object! {
    /// Other metadata, instead of all that was there.
    NewMetadata {
        /// Your own words about it from now on; `{}` for none.
        #[schema(required)]
        metadata: MetadataObject,
    }
}

impl NewReversal<'_> {
    /// The command that the body asks for, of a transfer that is still to be found: so far it has nothing but its id.
    pub(crate) fn decode(&self, reversed: TransferId) -> Result<(ReverseTransfer, Naming), Fault> {
        let Name { id, external_id, naming } = name(self.id, "id", fresh_id)?;
        let reverse = ReverseTransfer {
            id,
            external_id,
            original: Transfer { id: reversed, ..Transfer::default() },
            user_data_128: optional(self.user_data_128, "user_data_128", values::data_128)?
                .unwrap_or(0),
            user_data_64: optional(self.user_data_64, "user_data_64", u64_value)?.unwrap_or(0),
            user_data_32: optional(self.user_data_32, "user_data_32", u32_value)?.unwrap_or(0),
            effective_at: optional(self.effective_at, "effective_at", time_value)?,
            metadata: metadata_value(self.metadata)?,
            conditions: conditions::conditions(self.conditions)?,
        };
        Ok((reverse, naming))
    }
}

/// What is said of a transaction about another one.
#[derive(Debug)]
pub(crate) struct DecodedSettling {
    /// Its name.
    pub(crate) id: TransferId,
    /// The text that its id stands for, if the caller named it by one.
    pub(crate) external_id: Option<ExternalId>,
    /// Whether the caller named it.
    pub(crate) naming: Naming,
    /// The caller's own words about it.
    pub(crate) metadata: Option<Metadata>,
    /// What must hold for it to happen.
    pub(crate) conditions: Vec<Condition>,
}

impl SettleTransaction<'_> {
    /// What the body says.
    pub(crate) fn decode(&self) -> Result<DecodedSettling, Fault> {
        let Name { id, external_id, naming } = name(self.id, "id", fresh_id)?;
        Ok(DecodedSettling {
            id,
            external_id,
            naming,
            metadata: metadata_value(self.metadata)?,
            conditions: conditions::conditions(self.conditions)?,
        })
    }
}

impl NewOverdraftLimit<'_> {
    /// The command that the body asks for.
    pub(crate) fn decode(&self, account_id: AccountId) -> Result<SetOverdraftLimit, Fault> {
        let overdraft_limit: AmountInput =
            needed(self.overdraft_limit, "overdraft_limit", values::amount)?;
        Ok(SetOverdraftLimit { account_id, overdraft_limit })
    }
}

impl NewMetadata<'_> {
    /// The command that the body asks for.
    pub(crate) fn decode(&self, account_id: AccountId) -> Result<ReplaceMetadata, Fault> {
        // `null` is no way to say none: a client that forgot to fill it in would lose what was there.
        let metadata = needed(self.metadata, "metadata", super::metadata::read)?;
        Ok(ReplaceMetadata { account_id, metadata })
    }
}

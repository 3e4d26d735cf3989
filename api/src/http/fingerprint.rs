//! What a request asks for, digested by meaning: the second use of an `Idempotency-Key` must ask for the same.
//!
//! The fingerprint is XXH3-64 over the method, the path and the fields of the commands, each with a fixed width or with its
//! length before it. It is kept with the key for ever, so this layout is part of the durable format: fields are added at the
//! end of an event, behind a tag of their own and only when they are used, never in between.
//!
//! Amounts count by value (`10.0` is `10.00`), ids however they were written, metadata by its digest, absent fields as their
//! defaults. An id that was made here, because the caller named none, does not count. An absent `ledger` counts as absent: the
//! edge does not know the debit account's.

use florin_engine::{
    AmountInput, Comparison, Condition, CreateAccount, CreateLedger, CreateTransfer, Expected,
    Metadata, OpenAccount, ReverseTransfer, SignedInput, Timestamp, metadata_digest,
};
use xxhash_rust::xxh3::Xxh3;

use super::wire::changes::DecodedSettling;
use super::wire::input::{DecodedTransaction, Naming};

/// The tag before conditions.
const CONDITIONS: u8 = 2;

/// Takes up what a request asks for.
pub(crate) struct Fingerprint(Xxh3);

impl Fingerprint {
    /// Begins with the route.
    pub(crate) fn of_route(method: &str, path: &str) -> Fingerprint {
        let mut fingerprint = Fingerprint(Xxh3::new());
        fingerprint.text(method);
        fingerprint.text(path);
        fingerprint
    }

    /// The digest of all that was taken up.
    pub(crate) fn digest(&self) -> u64 {
        self.0.digest()
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(&(text.len() as u64).to_le_bytes());
        self.bytes(text.as_bytes());
    }

    fn id(&mut self, id: u128, naming: Naming) {
        match naming {
            Naming::Named => {
                self.bytes(&[1]);
                self.bytes(&id.to_le_bytes());
            }
            Naming::Generated => self.bytes(&[0]),
        }
    }

    fn amount(&mut self, amount: AmountInput) {
        match amount {
            // Nothing in minor units is nothing in major units.
            AmountInput::Minor(minor) if !minor.is_zero() => {
                self.bytes(&[1]);
                self.bytes(&minor.minor_units().to_le_bytes());
            }
            AmountInput::Minor(_) => self.decimal(0, 0),
            AmountInput::Major(decimal) => {
                let decimal = decimal.normalize();
                self.decimal(decimal.mantissa(), decimal.scale());
            }
        }
    }

    fn decimal(&mut self, mantissa: i128, scale: u32) {
        self.bytes(&[0]);
        self.bytes(&mantissa.to_le_bytes());
        self.bytes(&scale.to_le_bytes());
    }

    /// Takes up a ledger.
    pub(crate) fn ledger(&mut self, ledger: &CreateLedger) {
        let CreateLedger { id, currency, scale, name } = ledger;
        self.bytes(&id.0.to_le_bytes());
        self.text(currency);
        self.bytes(&[scale.digits()]);
        self.text(name);
    }

    /// Takes up an account.
    pub(crate) fn account(&mut self, account: &CreateAccount) {
        let CreateAccount {
            id,
            ledger,
            code,
            flags,
            overdraft_limit,
            user_data_128,
            user_data_64,
            user_data_32,
            timestamp,
            metadata,
        } = account;
        self.id(id.0, Naming::Named);
        self.bytes(&ledger.0.to_le_bytes());
        self.bytes(&code.0.to_le_bytes());
        self.bytes(&flags.bits().to_le_bytes());
        self.amount(*overdraft_limit);
        self.bytes(&user_data_128.to_le_bytes());
        self.bytes(&user_data_64.to_le_bytes());
        self.bytes(&user_data_32.to_le_bytes());
        self.bytes(&metadata_digest(metadata.as_ref()).to_le_bytes());
        self.imported(*timestamp);
    }

    /// Takes up the moment of what is imported; where nothing is, the fingerprint is what it was before there were imports.
    fn imported(&mut self, timestamp: Timestamp) {
        if timestamp.0 != 0 {
            self.bytes(&timestamp.0.to_le_bytes());
        }
    }

    /// Takes up a transfer.
    pub(crate) fn transfer(&mut self, transfer: &CreateTransfer, naming: Naming) {
        let CreateTransfer {
            id,
            debit_account_id,
            credit_account_id,
            amount,
            ledger,
            code,
            flags,
            pending_id,
            timeout,
            user_data_128,
            user_data_64,
            user_data_32,
            effective_at,
            timestamp,
            metadata,
            conditions,
        } = transfer;
        self.id(id.0, naming);
        self.bytes(&debit_account_id.0.to_le_bytes());
        self.bytes(&credit_account_id.0.to_le_bytes());
        self.amount(*amount);
        match ledger {
            Some(ledger) => {
                self.bytes(&[1]);
                self.bytes(&ledger.0.to_le_bytes());
            }
            None => self.bytes(&[0]),
        }
        self.bytes(&code.0.to_le_bytes());
        self.bytes(&flags.bits().to_le_bytes());
        self.bytes(&pending_id.0.to_le_bytes());
        self.bytes(&timeout.to_le_bytes());
        self.bytes(&user_data_128.to_le_bytes());
        self.bytes(&user_data_64.to_le_bytes());
        self.bytes(&user_data_32.to_le_bytes());
        self.bytes(&effective_at.map_or(u64::MAX, |at| at.0).to_le_bytes());
        self.bytes(&metadata_digest(metadata.as_ref()).to_le_bytes());
        self.imported(*timestamp);
        self.conditions(conditions);
    }

    /// Takes up conditions; where there are none, the fingerprint is what it was before there were any.
    fn conditions(&mut self, conditions: &[Condition]) {
        if conditions.is_empty() {
            return;
        }
        self.bytes(&[CONDITIONS]);
        self.bytes(&(conditions.len() as u64).to_le_bytes());
        for Condition { account_id, comparison, expected } in conditions {
            self.bytes(&account_id.0.to_le_bytes());
            self.bytes(&[match comparison {
                Comparison::Eq => 0,
                Comparison::Gt => 1,
                Comparison::Gte => 2,
                Comparison::Lt => 3,
                Comparison::Lte => 4,
            }]);
            match expected {
                Expected::Version(version) => {
                    self.bytes(&[0]);
                    self.bytes(&version.to_le_bytes());
                }
                Expected::Balance(sum) => self.sum(1, *sum),
                Expected::Available(sum) => self.sum(2, *sum),
            }
        }
    }

    fn sum(&mut self, what: u8, sum: SignedInput) {
        let (sign, amount) = match sum {
            SignedInput::Positive(amount) => (0, amount),
            SignedInput::Negative(amount) => (1, amount),
        };
        self.bytes(&[what, sign]);
        self.amount(amount);
    }

    /// Takes up a transaction. A leg's id that follows from the transaction's counts when that one was named.
    pub(crate) fn transaction(&mut self, transaction: &DecodedTransaction) {
        let create = &transaction.create;
        self.id(create.id.0, transaction.naming);
        self.bytes(&metadata_digest(create.metadata.as_ref()).to_le_bytes());
        self.conditions(&create.conditions);
        self.bytes(&(create.transfers.len() as u64).to_le_bytes());
        for (leg, naming) in create.transfers.iter().zip(&transaction.legs) {
            let naming = match transaction.naming {
                Naming::Named => Naming::Named,
                Naming::Generated => *naming,
            };
            self.transfer(leg, naming);
        }
    }

    /// Takes up the reversal of the transfer that the path names.
    pub(crate) fn reversal(&mut self, reverse: &ReverseTransfer, naming: Naming) {
        let ReverseTransfer {
            id,
            original: _,
            user_data_128,
            user_data_64,
            user_data_32,
            effective_at,
            metadata,
            conditions,
        } = reverse;
        self.id(id.0, naming);
        self.bytes(&user_data_128.to_le_bytes());
        self.bytes(&user_data_64.to_le_bytes());
        self.bytes(&user_data_32.to_le_bytes());
        self.bytes(&effective_at.map_or(u64::MAX, |at| at.0).to_le_bytes());
        self.metadata(metadata.as_ref());
        self.conditions(conditions);
    }

    /// Takes up what settles or reverses the transaction that the path names.
    pub(crate) fn settling(&mut self, settling: &DecodedSettling) {
        let DecodedSettling { id, naming, metadata, conditions } = settling;
        self.id(id.0, *naming);
        self.metadata(metadata.as_ref());
        self.conditions(conditions);
    }

    /// Takes up the overdraft limit of the account that the path names.
    pub(crate) fn overdraft_limit(&mut self, overdraft_limit: AmountInput) {
        self.amount(overdraft_limit);
    }

    /// Takes up metadata.
    pub(crate) fn metadata(&mut self, metadata: Option<&Metadata>) {
        self.bytes(&metadata_digest(metadata).to_le_bytes());
    }

    /// Takes up an account with its opening balance.
    pub(crate) fn opening(&mut self, open: &OpenAccount) {
        self.account(&open.account);
        self.amount(open.balance);
    }
}

#[cfg(test)]
mod tests {
    use crate::http::error::ApiError;
    use crate::http::fresh::fresh_id;
    use crate::http::wire::input::{NewAccount, NewTransaction, NewTransfer};
    use crate::http::wire::json::{Place, read};

    use super::*;

    fn transfer(json: &str) -> u64 {
        let body: NewTransfer<'_> = read(json.as_bytes(), Place::Object).unwrap();
        let (transfer, naming) = body.decode(fresh_id).unwrap();
        let mut fingerprint = Fingerprint::of_route("POST", "/v1/transfers");
        fingerprint.transfer(&transfer, naming);
        fingerprint.digest()
    }

    fn account(json: &str) -> u64 {
        let body: NewAccount<'_> = read(json.as_bytes(), Place::Object).unwrap();
        let mut fingerprint = Fingerprint::of_route("POST", "/v1/accounts");
        fingerprint.account(&body.decode().unwrap());
        fingerprint.digest()
    }

    fn transaction(json: &str) -> u64 {
        let body: NewTransaction<'_> = read(json.as_bytes(), Place::Object).unwrap();
        let decoded: Result<_, ApiError> = body.decode();
        let mut fingerprint = Fingerprint::of_route("POST", "/v1/transactions");
        fingerprint.transaction(&decoded.unwrap());
        fingerprint.digest()
    }

    #[test]
    fn the_same_transfer_in_other_words_is_the_same() {
        let first = transfer(r#"{"debit_account_id":1,"credit_account_id":2,"amount":10}"#);
        for json in [
            r#"{"debit_account_id":1,"credit_account_id":2,"amount":10}"#,
            r#"{"amount":"10.00","credit_account_id":"2","debit_account_id":"00000000-0000-0000-0000-000000000001"}"#,
            r#"{"debit_account_id":1,"credit_account_id":2,"amount":10.0,"code":1,"flags":[],"metadata":{},"timeout":0,"user_data_64":"0","pending_id":null}"#,
        ] {
            assert_eq!(transfer(json), first, "{json}");
        }
        for json in [
            r#"{"id":7,"debit_account_id":1,"credit_account_id":2,"amount":10}"#,
            r#"{"debit_account_id":1,"credit_account_id":2,"amount":10.01}"#,
            r#"{"debit_account_id":1,"credit_account_id":2,"amount":"max"}"#,
            r#"{"debit_account_id":2,"credit_account_id":1,"amount":10}"#,
            r#"{"debit_account_id":1,"credit_account_id":2,"amount":10,"ledger":1}"#,
            r#"{"debit_account_id":1,"credit_account_id":2,"amount":10,"code":2}"#,
            r#"{"debit_account_id":1,"credit_account_id":2,"amount":10,"user_data_32":1}"#,
            r#"{"debit_account_id":1,"credit_account_id":2,"amount":10,"metadata":{"a":1}}"#,
            r#"{"debit_account_id":1,"credit_account_id":2,"amount":10,"effective_at":"2026-01-01T00:00:00Z"}"#,
            r#"{"debit_account_id":1,"credit_account_id":2,"amount":10,"conditions":[{"account_id":1,"version":{"eq":1}}]}"#,
        ] {
            assert_ne!(transfer(json), first, "{json}");
        }
    }

    #[test]
    fn nothing_is_nothing_in_minor_and_major_units() {
        assert_eq!(account(r#"{"id":1}"#), account(r#"{"id":"1","overdraft_limit":"0.00"}"#));
        assert_ne!(account(r#"{"id":1}"#), account(r#"{"id":1,"overdraft_limit":1}"#));
    }

    #[test]
    fn derived_ids_of_legs_count_only_under_a_named_transaction() {
        let leg = r#"{"debit_account_id":1,"credit_account_id":2,"amount":1}"#;
        let unnamed = format!(r#"{{"transfers":[{leg}]}}"#);
        assert_eq!(transaction(&unnamed), transaction(&unnamed));
        let named = format!(r#"{{"id":9,"transfers":[{leg}]}}"#);
        assert_eq!(transaction(&named), transaction(&named));
        assert_ne!(transaction(&named), transaction(&unnamed));
        let other =
            r#"{"transfers":[{"id":5,"debit_account_id":1,"credit_account_id":2,"amount":1}]}"#;
        assert_ne!(transaction(other), transaction(&unnamed));
    }

    #[test]
    fn the_route_counts() {
        let of = |method, path| Fingerprint::of_route(method, path).digest();
        assert_ne!(of("POST", "/transaction"), of("POST", "/process_transaction"));
        assert_ne!(of("POST", "/a"), of("PUT", "/a"));
    }
}

//! Conditions: what must hold of accounts for a transfer or a transaction to happen.

use florin_engine::{AccountId, Comparison, Condition, CreateTransfer, Expected};
use serde_json::value::RawValue;

use super::input::needed;
use super::json::{EVENTS_MAX, Events, Place, raw_object, read};
use super::schemas::{Decimal64Input, IdInput, SumInput};
use super::values::{self, ValueFault};
use crate::http::error::{ApiError, Fault, FaultCode};

/// Conditions on one transfer, or on one transaction as a whole.
const CONDITIONS_MAX: usize = 16;
/// Conditions in one command: deciding them costs no more than its events may.
const CONDITIONS_OF_COMMAND_MAX: usize = EVENTS_MAX;

raw_object! {
    /// What must hold of one account for it to happen: one of `version`, `balance` and `available`, compared in one way.
    NewCondition {
        /// The account.
        #[schema(required)]
        account_id: IdInput,
        /// How many commands have changed it.
        version: Option<VersionComparison>,
        /// What it holds.
        balance: Option<SumComparison>,
        /// What can still be moved out of its limited side.
        available: Option<SumComparison>,
    }
}

raw_object! {
    /// How the version that is found must compare with the one given.
    VersionComparison {
        /// Equal.
        eq: Option<Decimal64Input>,
        /// Greater.
        gt: Option<Decimal64Input>,
        /// Greater or equal.
        gte: Option<Decimal64Input>,
        /// Less.
        lt: Option<Decimal64Input>,
        /// Less or equal.
        lte: Option<Decimal64Input>,
    }
}

raw_object! {
    /// How the sum that is found must compare with the one given.
    SumComparison {
        /// Equal.
        eq: Option<SumInput>,
        /// Greater.
        gt: Option<SumInput>,
        /// Greater or equal.
        gte: Option<SumInput>,
        /// Less.
        lt: Option<SumInput>,
        /// Less or equal.
        lte: Option<SumInput>,
    }
}

/// Reads the body's field `conditions`; none where it is absent or `null`.
pub(super) fn conditions(raw: Option<&RawValue>) -> Result<Vec<Condition>, Fault> {
    let Some(raw) = raw.filter(|raw| raw.get() != "null") else { return Ok(Vec::new()) };
    let Events(asked): Events<NewCondition<'_>> =
        read(raw.get().as_bytes(), Place::Field("conditions")).map_err(fault_of)?;
    if asked.len() > CONDITIONS_MAX {
        return Err(too_many(CONDITIONS_MAX));
    }
    let each = |(index, asked): (usize, &NewCondition<'_>)| {
        condition(asked).map_err(|fault| within(&format!("conditions[{index}]"), fault))
    };
    asked.iter().enumerate().map(each).collect()
}

/// Refuses more conditions on all transfers of a command together than it may have.
pub(crate) fn bounded(transfers: &[CreateTransfer]) -> Result<(), Fault> {
    let all: usize = transfers.iter().map(|transfer| transfer.conditions.len()).sum();
    if all > CONDITIONS_OF_COMMAND_MAX {
        return Err(too_many(CONDITIONS_OF_COMMAND_MAX));
    }
    Ok(())
}

fn too_many(max: usize) -> Fault {
    let detail = format!("must be at most {max}");
    Fault::new("conditions", FaultCode::OutOfRange, detail)
}

fn fault_of(error: ApiError) -> Fault {
    match error {
        ApiError::InvalidRequest { fault, .. } | ApiError::MalformedJson { fault, .. } => fault,
        _ => too_many(CONDITIONS_MAX),
    }
}

/// The fault of a field that stands inside another one; without a name it is of that one itself.
fn within(outer: &str, fault: Fault) -> Fault {
    let field = match &*fault.field {
        "" | "body" => outer.to_owned(),
        inner => format!("{outer}.{inner}"),
    };
    Fault { field: field.into(), ..fault }
}

fn condition(asked: &NewCondition<'_>) -> Result<Condition, Fault> {
    let account_id = AccountId(needed(asked.account_id, "account_id", values::id)?);
    let what =
        [("version", asked.version), ("balance", asked.balance), ("available", asked.available)];
    let (what, raw) = only_one(what, "version, balance, available")?;
    let inside = |fault: Fault| within(what, fault);
    let text = raw.get().as_bytes();
    let (comparison, expected) = if what == "version" {
        let VersionComparison { eq, gt, gte, lt, lte } =
            read(text, Place::Object).map_err(|error| inside(fault_of(error)))?;
        let number = |raw: &RawValue| values::integer_or_string(raw, u64::MAX);
        let (comparison, version) = compared([eq, gt, gte, lt, lte], number).map_err(inside)?;
        (comparison, Expected::Version(version))
    } else {
        let SumComparison { eq, gt, gte, lt, lte } =
            read(text, Place::Object).map_err(|error| inside(fault_of(error)))?;
        let (comparison, sum) = compared([eq, gt, gte, lt, lte], values::sum).map_err(inside)?;
        let is_balance = what == "balance";
        (comparison, if is_balance { Expected::Balance(sum) } else { Expected::Available(sum) })
    };
    Ok(Condition { account_id, comparison, expected })
}

fn compared<T>(
    [eq, gt, gte, lt, lte]: [Option<&RawValue>; 5],
    value: impl FnOnce(&RawValue) -> Result<T, ValueFault>,
) -> Result<(Comparison, T), Fault> {
    let named = [("eq", eq), ("gt", gt), ("gte", gte), ("lt", lt), ("lte", lte)];
    let (name, raw) = only_one(named, "eq, gt, gte, lt, lte")?;
    let comparison = match name {
        "eq" => Comparison::Eq,
        "gt" => Comparison::Gt,
        "gte" => Comparison::Gte,
        "lt" => Comparison::Lt,
        _ => Comparison::Lte,
    };
    match value(raw) {
        Ok(value) => Ok((comparison, value)),
        Err(fault) => Err(Fault::new(name, fault.code, fault.detail)),
    }
}

/// The one of these fields that is given.
fn only_one<'a, const N: usize>(
    fields: [(&'static str, Option<&'a RawValue>); N],
    names: &str,
) -> Result<(&'static str, &'a RawValue), Fault> {
    let given = fields.into_iter().filter_map(|(name, raw)| Some((name, raw?)));
    let mut given = given.filter(|(_, raw)| raw.get() != "null");
    match (given.next(), given.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => {
            Err(Fault::new("", FaultCode::MissingField, format!("must have one of: {names}")))
        }
        (Some(_), Some(_)) => {
            let detail = format!("must have only one of: {names}");
            Err(Fault::new("", FaultCode::InvalidValue, detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: &str) {
        let raw: &RawValue = serde_json::from_str(json).unwrap();
        let shown = match conditions(Some(raw)) {
            Ok(conditions) => conditions
                .iter()
                .map(|it| format!("{} {:?} {:?}", it.account_id.0, it.comparison, it.expected))
                .collect::<Vec<_>>()
                .join("; "),
            Err(fault) => format!("{} {:?}", fault.field, fault.code),
        };
        assert_eq!(shown, expected, "{json}");
    }

    #[test]
    fn conditions_are_read_strictly() {
        check("null", "");
        check("[]", "");
        check(
            r#"[{"account_id":"1","version":{"eq":7}},{"account_id":2,"version":{"lt":"8"}}]"#,
            "1 Eq Version(7); 2 Lt Version(8)",
        );
        check(
            r#"[{"account_id":1,"balance":{"gte":"-10.00"}},{"account_id":1,"available":{"lte":0.5}}]"#,
            "1 Gte Balance(Negative(Major(10.00))); 1 Lte Available(Positive(Major(0.5)))",
        );
        check(r#"[{"account_id":1,"balance":{"gt":-1}}]"#, "1 Gt Balance(Negative(Major(1)))");
        check("{}", "conditions WrongType");
        check("[1]", "conditions[0] WrongType");
        check(r#"[{"account_id":1}]"#, "conditions[0] MissingField");
        check(r#"[{"version":{"eq":1}}]"#, "conditions[0].account_id MissingField");
        check(r#"[{"account_id":"x","version":{"eq":1}}]"#, "conditions[0].account_id NotAnId");
        check(r#"[{"account_id":1,"colour":1}]"#, "conditions[0].colour UnknownField");
        let two = r#"[{"account_id":1,"version":{"eq":1},"balance":{"eq":1}}]"#;
        check(two, "conditions[0] InvalidValue");
        check(r#"[{"account_id":1,"version":{}}]"#, "conditions[0].version MissingField");
        check(r#"[{"account_id":1,"version":7}]"#, "conditions[0].version WrongType");
        check(r#"[{"account_id":1,"version":{"eq":-1}}]"#, "conditions[0].version.eq OutOfRange");
        check(r#"[{"account_id":1,"version":{"ne":1}}]"#, "conditions[0].version.ne UnknownField");
        let two = r#"[{"account_id":1,"balance":{"gt":1,"lt":2}}]"#;
        check(two, "conditions[0].balance InvalidValue");
        check(r#"[{"account_id":1,"balance":{"eq":"1e3"}}]"#, "conditions[0].balance.eq Exponent");
        check(r#"[{"account_id":1,"balance":{"eq":"--1"}}]"#, "conditions[0].balance.eq Signed");
        check(r#"[{"account_id":1,"balance":{"eq":true}}]"#, "conditions[0].balance.eq WrongType");
        let one = r#"{"account_id":1,"version":{"eq":1}}"#;
        check(&format!("[{}]", [one; 17].join(",")), "conditions OutOfRange");
        check(&format!("[{}]", [one; 9000].join(",")), "conditions OutOfRange");
        check(&format!("[{}]", [one; 16].join(",")), &["1 Eq Version(1)"; 16].join("; "));
    }
}

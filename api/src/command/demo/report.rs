//! What the town's minute looked like.

use std::time::Duration;

use hdrhistogram::Histogram;
use rust_decimal::Decimal;
use serde_json::Value;

use super::DemoError;
use super::cast::role;
use super::tally::{Kind, Tally};
use super::traffic::Town;
use crate::command::page::field;
use crate::command::print::{self, Align::Left, Align::Right};
use crate::command::text::{grouped, rate, time};

/// How many of the richest are shown.
const RICHEST: usize = 10;

/// A balance as a figure; nothing for what is none.
fn balance(account: &Value) -> Decimal {
    account["balance"].as_str().and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// The richest of the town, and the bank whose money it is.
pub(super) fn balances(accounts: &[Value], town: &Town) -> String {
    let mut sorted: Vec<&Value> =
        accounts.iter().filter(|account| role(account) != "bank").collect();
    sorted.sort_by_key(|account| std::cmp::Reverse(balance(account)));
    sorted.truncate(RICHEST);
    sorted.extend(accounts.iter().filter(|account| role(account) == "bank"));
    let rows = sorted.into_iter().map(|account| {
        let changes = account["version"].as_u64().unwrap_or(0);
        let name = field(&account["metadata"], "name");
        [
            name,
            role(account).into(),
            field(account, "balance"),
            grouped(changes),
            field(account, "id"),
        ]
    });
    let balance = town.currency.as_str();
    print::table(
        [("richest", Left), ("", Left), (balance, Right), ("changes", Right), ("account", Left)],
        rows,
    )
}

/// Requests and their latencies by kind, and what came of them.
pub(super) fn figures(tally: &Tally, elapsed: Duration) -> String {
    let all = tally.latency_of_all();
    let rows = Kind::ALL
        .iter()
        .map(|kind| row(kind.name(), tally.latency(*kind)))
        .chain(std::iter::once(row("all", &all)));
    let columns =
        [("request", Left), ("count", Right), ("p50", Right), ("p99", Right), ("max", Right)];
    let requests = print::table(columns, rows);
    let mut outcomes = vec![
        ("transfers done".to_owned(), grouped(tally.transfers)),
        ("transfers a second".to_owned(), grouped(rate(tally.transfers, elapsed))),
        ("requests a second".to_owned(), grouped(rate(all.len(), elapsed))),
        ("retries answered as replays".to_owned(), grouped(tally.replayed)),
    ];
    let refused =
        tally.refused.iter().map(|(code, count)| (format!("refused: {code}"), grouped(*count)));
    outcomes.extend(refused);
    if tally.busy > 0 {
        outcomes.push(("told to come back later".to_owned(), grouped(tally.busy)));
    }
    let outcomes = outcomes.iter().map(|(name, count)| (name.as_str(), count.clone()));
    format!("{requests}\n\n{}", print::pairs(outcomes, Right))
}

fn row(name: &str, latency: &Histogram<u64>) -> [String; 5] {
    let at = |nanos: u64| {
        if latency.is_empty() { "-".to_owned() } else { time(Duration::from_nanos(nanos)) }
    };
    [
        name.to_owned(),
        grouped(latency.len()),
        at(latency.value_at_quantile(0.5)),
        at(latency.value_at_quantile(0.99)),
        at(latency.max()),
    ]
}

/// That no money came from nowhere or went there.
///
/// # Errors
/// It did, with the figures.
pub(super) fn conservation(
    ledger: &Value,
    accounts: &[Value],
    town: &Town,
) -> Result<String, DemoError> {
    let totals = &ledger["totals"];
    let posted = ["debits_posted", "credits_posted"].map(|name| field(totals, name));
    if posted[0].is_empty() || posted[0] != posted[1] {
        let what =
            format!("the ledger's debits are {:?} and its credits {:?}", posted[0], posted[1]);
        return Err(DemoError::NotConserved { what });
    }
    let everybody = 1 + town.cast.merchants.len() + town.cast.people.len();
    if accounts.len() != everybody {
        let what =
            format!("{} of the demo's {everybody} accounts are in the store", accounts.len());
        return Err(DemoError::NotConserved { what });
    }
    let sum: Decimal = accounts.iter().map(balance).sum();
    if !sum.is_zero() {
        let what = format!("the demo's accounts add up to {sum} instead of nothing");
        return Err(DemoError::NotConserved { what });
    }
    Ok(format!(
        "money is conserved: {} {currency} debited = {} {currency} credited in the whole ledger, and the demo's {} accounts add up to {sum} {currency}",
        posted[0],
        posted[1],
        grouped(accounts.len() as u64),
        currency = town.currency,
    ))
}

#[cfg(test)]
mod tests {
    use florin_engine::Scale;
    use serde_json::json;

    use super::super::cast::Cast;
    use super::super::tally::Outcome;
    use super::*;

    fn town(merchants: usize, people: usize) -> Town {
        let mut cast = Cast::invent();
        cast.merchants.truncate(merchants);
        cast.people.truncate(people);
        Town { cast, scale: Scale::try_new(2).unwrap(), currency: "USD".into() }
    }

    fn account(code: u16, name: &str, balance: &str) -> Value {
        json!({"id":"7","code":code,"balance":balance,"version":1234,"metadata":{"name":name}})
    }

    #[test]
    fn the_richest_come_first_and_the_bank_last() {
        let accounts = [
            account(1, "The Bank", "-30.50"),
            account(3, "Ada", "9.00"),
            account(2, "Shop", "21.50"),
        ];
        let expected = "
 richest             USD  changes  account
───────────────────────────────────────────
 Shop      merchant   21.50    1,234  7
 Ada       person      9.00    1,234  7
 The Bank  bank      -30.50    1,234  7";
        let shown = balances(&accounts, &town(1, 1));
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let no_line = |text: &str| words(&text.replace('─', ""));
        assert_eq!(no_line(&shown), no_line(expected));
    }

    #[test]
    fn figures_hold_what_was_counted() {
        let mut tally = Tally::new();
        let done = Outcome::Done { transfers: 1, refused: [].into() };
        let refused =
            Outcome::Done { transfers: 0, refused: [("exceeds_credits".into(), 1)].into() };
        for _ in 0..2_000 {
            tally.count(Kind::Payment, &done, Duration::from_millis(2), Some(1));
        }
        tally.count(Kind::TooMuch, &refused, Duration::from_millis(2), Some(1));
        tally.count(Kind::Retry, &Outcome::Replayed, Duration::from_millis(2), Some(1));
        let shown = figures(&tally, Duration::from_secs(2));
        let lines: Vec<String> = shown
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        for expected in [
            "payment 2,000 2.00 ms 2.00 ms 2.00 ms",
            "salary 0 - - -",
            "all 2,002 2.00 ms 2.00 ms 2.00 ms",
            "transfers done 2,000",
            "transfers a second 1,000",
            "requests a second 1,001",
            "retries answered as replays 1",
            "refused: exceeds_credits 1",
        ] {
            assert!(lines.iter().any(|line| line == expected), "{expected} in\n{shown}");
        }
        assert!(!shown.contains("come back later"));
    }

    #[test]
    fn money_from_nowhere_is_found() {
        let ledger = |debits: &str, credits: &str| json!({"totals":{"debits_posted":debits,"credits_posted":credits}});
        let even = [
            account(1, "The Bank", "-30.50"),
            account(3, "Ada", "9.00"),
            account(2, "Shop", "21.50"),
        ];
        let odd = [
            account(1, "The Bank", "-30.50"),
            account(3, "Ada", "9.01"),
            account(2, "Shop", "21.50"),
        ];
        let town = town(1, 1);
        let check = |ledger: &Value, accounts: &[Value]| match conservation(ledger, accounts, &town)
        {
            Ok(text) => text,
            Err(error) => error.to_string(),
        };
        assert_eq!(
            check(&ledger("61.00", "61.00"), &even),
            "money is conserved: 61.00 USD debited = 61.00 USD credited in the whole ledger, and the demo's 3 accounts add up to 0.00 USD"
        );
        for (ledger, accounts) in [
            (ledger("61.00", "61.01"), even.as_slice()),
            (ledger("61.00", "61.00"), &odd),
            (ledger("61.00", "61.00"), &even[..2]),
            (json!({}), &even),
        ] {
            let complaint = check(&ledger, accounts);
            assert!(complaint.starts_with("MONEY IS NOT CONSERVED"), "{complaint}");
        }
    }
}

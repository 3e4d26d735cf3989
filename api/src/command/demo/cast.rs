//! Who lives in the town: people who can not overdraw, merchants of whom one is everybody's, and the bank that pays salaries.

use florin_engine::Scale;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{DemoError, LEDGER};
use crate::command::client::{Client, Query};
use crate::command::page::field;

/// How many people there are.
const PEOPLE: usize = 1_000;

/// Accounts and transfers in one request of the preparation.
const BATCH: usize = 500;

/// What everybody begins with, in major units.
const OPENING: u64 = 500;

/// The numbering of accounts by what they are.
const BANK: u16 = 1;
const MERCHANT: u16 = 2;
const PERSON: u16 = 3;

/// Where everybody goes every day.
const HOT_MERCHANT: &str = "City Transit";

const MERCHANTS: [&str; 20] = [
    HOT_MERCHANT,
    "Corner Grocery",
    "Harbour Bakery",
    "Old Town Books",
    "Bright Electricity",
    "Clear Water Works",
    "Green Pharmacy",
    "Lantern Cinema",
    "Maple Hardware",
    "Night Owl Diner",
    "North Gate Fuel",
    "Paper & Ink",
    "Pine Street Gym",
    "Quick Post",
    "River Bicycles",
    "Seaside Hotel",
    "Silver Spoon",
    "Sunrise Coffee",
    "Tailor & Thread",
    "Wide Web Telecom",
];

const FIRST_NAMES: [&str; 40] = [
    "Ada", "Amir", "Ana", "Ben", "Bo", "Carla", "Chen", "Dana", "David", "Elif", "Emil", "Eva",
    "Farah", "Finn", "Grace", "Hana", "Hugo", "Ida", "Ivan", "Jonas", "Kofi", "Lara", "Leo",
    "Lina", "Mara", "Milo", "Nadia", "Nils", "Noor", "Olga", "Omar", "Paula", "Rosa", "Sam",
    "Sofia", "Tariq", "Uma", "Vera", "Yuki", "Zoe",
];

const LAST_NAMES: [&str; 25] = [
    "Abel", "Baker", "Castro", "Diaz", "Eriksen", "Fischer", "Garcia", "Haddad", "Ito", "Jensen",
    "Kaya", "Lopez", "Mensah", "Novak", "Okafor", "Park", "Quinn", "Rossi", "Silva", "Tanaka",
    "Ueda", "Vogel", "Weber", "Yilmaz", "Zhang",
];

/// The accounts of one run of the demo. Their ids are new each time, so that runs never meet.
pub(super) struct Cast {
    pub(super) bank: Uuid,
    /// The first is the hot one.
    pub(super) merchants: Vec<Uuid>,
    pub(super) people: Vec<Uuid>,
    /// What all accounts and transfers of the run have in `user_data_64`.
    pub(super) run: u64,
}

impl Cast {
    /// A town that is not there yet.
    pub(super) fn invent() -> Cast {
        let run = Uuid::now_v7();
        Cast {
            bank: Uuid::now_v7(),
            merchants: MERCHANTS.iter().map(|_| Uuid::now_v7()).collect(),
            people: (0..PEOPLE).map(|_| Uuid::now_v7()).collect(),
            // Below 2^63, which is all that a number has in a store that knows only signed ones.
            run: run.as_u64_pair().1 >> 1,
        }
    }

    /// Creates the accounts, and has the bank give everybody something to begin with.
    pub(super) fn create(&self, client: &Client, scale: Scale) -> Result<(), DemoError> {
        for accounts in self.accounts().chunks(BATCH) {
            send(client, "/v1/accounts/batch", accounts)?;
        }
        let opening = amount(OPENING * minor_units_in_one(scale), scale);
        let openings: Vec<Value> =
            self.people.iter().map(|person| self.transfer(self.bank, *person, &opening)).collect();
        for transfers in openings.chunks(BATCH) {
            send(client, "/v1/transfers/batch", transfers)?;
        }
        Ok(())
    }

    /// A transfer under a new id.
    pub(super) fn transfer(&self, from: Uuid, to: Uuid, amount: &str) -> Value {
        json!({
            "id": Uuid::now_v7().to_string(),
            "debit_account_id": from.to_string(),
            "credit_account_id": to.to_string(),
            "amount": amount,
            "user_data_64": self.run.to_string(),
        })
    }

    /// Where a page of the run's accounts is, as of `seq`.
    pub(super) fn page(&self, cursor: Option<&str>, seq: u64) -> String {
        Query::default()
            .with("user_data_64", Some(self.run))
            .with("limit", Some(1_000))
            .with("cursor", cursor)
            .with("min_seq", Some(seq))
            .of("/v1/accounts")
    }

    fn accounts(&self) -> Vec<Value> {
        let account = |id: &Uuid, code: u16, flags: &[&str], name: &str| {
            json!({
                "id": id.to_string(),
                "ledger": LEDGER,
                "code": code,
                "flags": flags,
                "user_data_64": self.run.to_string(),
                "metadata": {"name": name},
            })
        };
        let bank = account(&self.bank, BANK, &[], "The Bank");
        let merchants = self.merchants.iter().zip(MERCHANTS);
        let merchants = merchants.map(|(id, name)| account(id, MERCHANT, &[], name));
        let people = self.people.iter().enumerate().map(|(index, id)| {
            let first = FIRST_NAMES[index % FIRST_NAMES.len()];
            let last = LAST_NAMES[index / FIRST_NAMES.len() % LAST_NAMES.len()];
            account(id, PERSON, &["debits_must_not_exceed_credits"], &format!("{first} {last}"))
        });
        std::iter::once(bank).chain(merchants).chain(people).collect()
    }
}

/// What an account of the run is, by its code.
pub(super) fn role(account: &Value) -> &'static str {
    match account["code"].as_u64().and_then(|code| u16::try_from(code).ok()) {
        Some(BANK) => "bank",
        Some(MERCHANT) if account["metadata"]["name"] == HOT_MERCHANT => "hot merchant",
        Some(MERCHANT) => "merchant",
        _ => "person",
    }
}

/// An amount as it is sent.
pub(super) fn amount(minor_units: u64, scale: Scale) -> String {
    florin_engine::Amount::from_minor(minor_units).display(scale).to_string()
}

/// How many minor units make one; a town whose money has very many digits is content with small change.
pub(super) fn minor_units_in_one(scale: Scale) -> u64 {
    10_u64.pow(u32::from(scale.digits().min(8)))
}

fn send(client: &Client, path: &str, things: &[Value]) -> Result<(), DemoError> {
    let answer = client.post(path, &Value::from(things))?.accepted()?.json()?;
    match answer["rejected"].as_array().and_then(|rejected| rejected.first()) {
        None => Ok(()),
        Some(rejected) => {
            let what = format!("{path} refused one as {}", field(rejected, "code"));
            Err(DemoError::Unprepared { what })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn everybody_is_somebody_else() {
        let cast = Cast::invent();
        let accounts = cast.accounts();
        assert_eq!(accounts.len(), 1 + MERCHANTS.len() + PEOPLE);
        let distinct =
            |name: fn(&Value) -> String| accounts.iter().map(name).collect::<HashSet<_>>().len();
        assert_eq!(distinct(|account| field(account, "id")), accounts.len());
        assert_eq!(distinct(|account| field(&account["metadata"], "name")), accounts.len());
    }

    #[test]
    fn only_people_are_limited_and_each_has_a_role() {
        let accounts = Cast::invent().accounts();
        let count = |wanted| accounts.iter().filter(|account| role(account) == wanted).count();
        assert_eq!(
            [count("bank"), count("hot merchant"), count("merchant"), count("person")],
            [1, 1, 19, 1_000]
        );
        for account in &accounts {
            let limited = field(account, "flags") == "debits_must_not_exceed_credits";
            assert_eq!(limited, role(account) == "person");
        }
    }

    #[test]
    fn amounts_have_the_digits_of_the_ledger() {
        let scale = |digits| Scale::try_new(digits).unwrap();
        assert_eq!(amount(OPENING * minor_units_in_one(scale(2)), scale(2)), "500.00");
        assert_eq!(amount(OPENING * minor_units_in_one(scale(0)), scale(0)), "500");
        assert_eq!(amount(1, scale(28)), "0.0000000000000000000000000001");
    }
}

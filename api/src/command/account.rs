//! `florin account create|get|list`.

use std::process::ExitCode;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::client::{self, OutputArgs, Query, ServerArgs};
use super::page::{self, PageArgs, field};
use super::print::Align::{Left, Right};
use super::{Outcome, print};
use crate::http;

#[derive(Debug, clap::Subcommand)]
pub(super) enum AccountVerb {
    /// Create an account
    Create(CreateArgs),
    /// Show an account
    Get(GetArgs),
    /// List accounts, newest first
    List(ListArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct CreateArgs {
    /// The account's id: a number, a UUID, or ext: and a text of your own
    #[arg(long, value_parser = client::id)]
    id: String,
    /// The ledger that its amounts are counted in
    #[arg(long, default_value_t = 1)]
    ledger: u32,
    /// What kind of account it is, in your own numbering
    #[arg(long, default_value_t = 1)]
    code: u16,
    /// Such as debits_must_not_exceed_credits,history
    #[arg(long, value_delimiter = ',')]
    flags: Vec<String>,
    /// How far the limited side may go beyond the other, such as 100.00
    #[arg(long, value_name = "AMOUNT")]
    overdraft_limit: Option<String>,
    #[command(flatten)]
    reference: ReferenceArgs,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// The caller's own words and references, as they are given and as they are sent.
#[derive(Debug, clap::Args, Serialize)]
pub(super) struct ReferenceArgs {
    /// A JSON object, such as '{"name":"Alice"}'
    #[arg(long, value_name = "JSON", value_parser = client::metadata)]
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Box<RawValue>>,
    /// Your own reference: a number or a UUID
    #[arg(long, value_name = "ID", value_parser = client::data_128)]
    #[serde(skip_serializing_if = "Option::is_none")]
    user_data_128: Option<String>,
    /// Your own reference
    #[arg(long, value_name = "NUMBER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    user_data_64: Option<u64>,
    /// Your own reference
    #[arg(long, value_name = "NUMBER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    user_data_32: Option<u32>,
}

/// What is sent.
#[derive(Serialize)]
struct NewAccount<'a> {
    id: &'a str,
    ledger: u32,
    code: u16,
    flags: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    overdraft_limit: Option<&'a str>,
    #[serde(flatten)]
    reference: &'a ReferenceArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct GetArgs {
    /// The account's id: a number, a UUID, or ext: and a text of your own
    #[arg(value_parser = client::id)]
    id: String,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Only of this ledger
    #[arg(long)]
    ledger: Option<u32>,
    /// Only of this code
    #[arg(long)]
    code: Option<u16>,
    /// Only with this reference
    #[arg(long, value_name = "NUMBER")]
    user_data_64: Option<u64>,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Does what the verb says.
pub(super) fn run(verb: AccountVerb) -> Outcome {
    match verb {
        AccountVerb::Create(args) => create(&args),
        AccountVerb::Get(args) => get(&args),
        AccountVerb::List(args) => list(&args),
    }
}

fn create(args: &CreateArgs) -> Outcome {
    let answer = args
        .server
        .client()?
        .post("/v1/accounts", &body(args))
        .and_then(client::Answer::accepted)
        .map_err(|error| error.of_command(&args.id))?;
    show(&answer, args.output)
}

fn body(args: &CreateArgs) -> NewAccount<'_> {
    NewAccount {
        id: &args.id,
        ledger: args.ledger,
        code: args.code,
        flags: &args.flags,
        overdraft_limit: args.overdraft_limit.as_deref(),
        reference: &args.reference,
    }
}

fn get(args: &GetArgs) -> Outcome {
    let path = format!("/v1/accounts/{}", http::encode(&args.id));
    let answer = args.server.client()?.get(&path)?.accepted()?;
    show(&answer, args.output)
}

fn show(answer: &client::Answer, output: OutputArgs) -> Outcome {
    if output.json {
        print::out(&answer.body)?;
        return Ok(ExitCode::SUCCESS);
    }
    let account = answer.json()?;
    print::out(&details(&account))?;
    if answer.replayed {
        print::out("\nit was there already, with the same content")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn details(account: &Value) -> String {
    const FIELDS: [&str; 17] = [
        "id",
        "external_id",
        "ledger",
        "code",
        "flags",
        "balance",
        "available",
        "debits_posted",
        "credits_posted",
        "debits_pending",
        "credits_pending",
        "overdraft_limit",
        "version",
        "user_data_128",
        "user_data_64",
        "user_data_32",
        "metadata",
    ];
    let fields = FIELDS.iter().chain(&["timestamp"]).map(|name| (*name, field(account, name)));
    // References that nobody gave are zero; they would only be in the way.
    let fields = fields.filter(|(name, value)| {
        !(value.is_empty() || (name.starts_with("user_data") && value == "0"))
    });
    print::pairs(fields, Left)
}

fn list(args: &ListArgs) -> Outcome {
    let query = Query::default()
        .with("ledger", args.ledger)
        .with("code", args.code)
        .with("user_data_64", args.user_data_64);
    let path = args.page.query(query).of("/v1/accounts");
    let answer = args.server.client()?.get(&path)?.accepted()?;
    if args.output.json {
        print::out(&answer.body)?;
        return Ok(ExitCode::SUCCESS);
    }
    let page = answer.json()?;
    print::out(&format!("{}{}", table(&page), page::footer(&page, "accounts")))?;
    Ok(ExitCode::SUCCESS)
}

fn table(page: &Value) -> String {
    let columns = [
        ("id", Left),
        ("ledger", Right),
        ("code", Right),
        ("balance", Right),
        ("available", Right),
        ("version", Right),
        ("flags", Left),
        ("metadata", Left),
    ];
    let rows = page::data(page).iter().map(|account| columns.map(|(name, _)| field(account, name)));
    print::table(columns, rows)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(subcommand)]
        verb: AccountVerb,
    }

    fn parse(line: &str) -> Result<AccountVerb, clap::Error> {
        Line::try_parse_from(std::iter::once("account").chain(line.split(' ')))
            .map(|line| line.verb)
    }

    #[test]
    fn flags_become_the_body() {
        let line = "create --id 7 --code 10 --flags history,debits_must_not_exceed_credits --overdraft-limit 1.50 \
                    --metadata {\"name\":\"Al\",\"a\":1.50,\"a\":1e2} --user-data-64 18446744073709551615";
        let AccountVerb::Create(args) = parse(line).unwrap() else { panic!("create") };
        // The metadata digit for digit: what is wrong with it is the server's to say.
        let expected = r#"{"id":"7","ledger":1,"code":10,"flags":["history","debits_must_not_exceed_credits"],"overdraft_limit":"1.50","metadata":{"name":"Al","a":1.50,"a":1e2},"user_data_64":18446744073709551615}"#;
        assert_eq!(serde_json::to_string(&body(&args)).unwrap(), expected);
    }

    #[test]
    fn what_can_not_be_sent_is_wrong_usage() {
        for line in [
            "create",
            "create --id x",
            "create --id 1 --code 65536",
            "get ../2",
            "create --id 1 --metadata 3",
            "list --limit 0",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn an_account_is_shown_without_what_nobody_gave() {
        let account =
            json!({"id":"7","balance":"1.00","user_data_64":"0","user_data_32":5,"metadata":{}});
        assert_eq!(details(&account), "id            7\nbalance       1.00\nuser_data_32  5");
    }
}

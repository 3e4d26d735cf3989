//! `florin transfer create|get|list`.

use std::process::ExitCode;

use serde::Serialize;
use serde_json::Value;

use super::account::ReferenceArgs;
use super::client::{self, OutputArgs, Query, ServerArgs};
use super::page::{self, PageArgs, field};
use super::print::Align::{Left, Right};
use super::{Outcome, print};
use crate::http;

#[derive(Debug, clap::Subcommand)]
pub(super) enum TransferVerb {
    /// Move money from one account to another
    Create(CreateArgs),
    /// Show a transfer
    Get(GetArgs),
    /// List transfers, newest first
    List(ListArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct CreateArgs {
    /// The account that gives (the debit account)
    #[arg(long, value_name = "ID", value_parser = client::id)]
    from: String,
    /// The account that receives (the credit account)
    #[arg(long, value_name = "ID", value_parser = client::id)]
    to: String,
    /// How much, in major units, such as 10.00
    #[arg(long)]
    amount: String,
    /// The transfer's id: a number, a UUID, or ext: and a text of your own, decided once for ever; a new one when absent
    #[arg(long, value_parser = client::id)]
    id: Option<String>,
    /// The ledger of both accounts; that of the debit account when absent
    #[arg(long)]
    ledger: Option<u32>,
    /// What kind of transfer it is, in your own numbering
    #[arg(long, default_value_t = 1)]
    code: u16,
    /// Flags of the transfer
    #[arg(long, value_delimiter = ',')]
    flags: Vec<String>,
    #[command(flatten)]
    reference: ReferenceArgs,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct GetArgs {
    /// The transfer's id: a number, a UUID, or ext: and a text of your own
    #[arg(value_parser = client::id)]
    id: String,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Only of this account, on either side
    #[arg(long, value_name = "ID", value_parser = client::id)]
    account: Option<String>,
    /// Only of this ledger
    #[arg(long)]
    ledger: Option<u32>,
    /// Only of this code
    #[arg(long)]
    code: Option<u16>,
    /// Only with this reference
    #[arg(long, value_name = "NUMBER")]
    user_data_64: Option<u64>,
    /// Only from this moment on, such as 2026-01-31T00:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only before this moment
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Does what the verb says.
pub(super) fn run(verb: TransferVerb) -> Outcome {
    match verb {
        TransferVerb::Create(args) => create(&args),
        TransferVerb::Get(args) => get(&args),
        TransferVerb::List(args) => list(&args),
    }
}

fn create(args: &CreateArgs) -> Outcome {
    // The id is made here, so that a lost answer can be asked for again under it.
    let id = args.id.clone().unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
    let answer = args
        .server
        .client()?
        .post("/v1/transfers", &body(args, &id))
        .and_then(client::Answer::accepted)
        .map_err(|error| error.of_command(&id))?;
    show(&answer, args.output)
}

/// What is sent.
#[derive(Serialize)]
struct NewTransfer<'a> {
    id: &'a str,
    debit_account_id: &'a str,
    credit_account_id: &'a str,
    amount: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ledger: Option<u32>,
    code: u16,
    flags: &'a [String],
    #[serde(flatten)]
    reference: &'a ReferenceArgs,
}

fn body<'a>(args: &'a CreateArgs, id: &'a str) -> NewTransfer<'a> {
    NewTransfer {
        id,
        debit_account_id: &args.from,
        credit_account_id: &args.to,
        amount: &args.amount,
        ledger: args.ledger,
        code: args.code,
        flags: &args.flags,
        reference: &args.reference,
    }
}

fn get(args: &GetArgs) -> Outcome {
    let path = format!("/v1/transfers/{}", http::encode(&args.id));
    let answer = args.server.client()?.get(&path)?.accepted()?;
    show(&answer, args.output)
}

fn show(answer: &client::Answer, output: OutputArgs) -> Outcome {
    if output.json {
        print::out(&answer.body)?;
        return Ok(ExitCode::SUCCESS);
    }
    print::out(&details(&answer.json()?))?;
    if answer.replayed {
        print::out("\nit was done already, with the same content: nothing moved again")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn details(transfer: &Value) -> String {
    const FIELDS: [(&str, &str); 15] = [
        ("id", "id"),
        ("external_id", "external_id"),
        ("from", "debit_account_id"),
        ("to", "credit_account_id"),
        ("amount", "amount"),
        ("status", "status"),
        ("reversed_by", "reversed_by"),
        ("ledger", "ledger"),
        ("code", "code"),
        ("flags", "flags"),
        ("user_data_128", "user_data_128"),
        ("user_data_64", "user_data_64"),
        ("user_data_32", "user_data_32"),
        ("metadata", "metadata"),
        ("timestamp", "timestamp"),
    ];
    let fields = FIELDS.iter().map(|(shown, name)| (*shown, field(transfer, name)));
    // References that nobody gave are zero; they would only be in the way.
    let mut rows: Vec<_> = fields
        .filter(|(name, value)| {
            !(value.is_empty() || (name.starts_with("user_data") && value == "0"))
        })
        .collect();
    for (shown, name) in [("from's balance", "debit_account"), ("to's balance", "credit_account")] {
        let balance = field(&transfer[name], "balance");
        if !balance.is_empty() {
            rows.push((shown, balance));
        }
    }
    print::pairs(rows, Left)
}

fn list(args: &ListArgs) -> Outcome {
    let query = Query::default()
        .with("ledger", args.ledger)
        .with("code", args.code)
        .with("user_data_64", args.user_data_64)
        .with("from", args.since.as_ref())
        .with("to", args.until.as_ref());
    let path = match &args.account {
        Some(account) => format!("/v1/accounts/{}/transfers", http::encode(account)),
        None => "/v1/transfers".to_owned(),
    };
    let answer = args.server.client()?.get(&args.page.query(query).of(&path))?.accepted()?;
    if args.output.json {
        print::out(&answer.body)?;
        return Ok(ExitCode::SUCCESS);
    }
    let page = answer.json()?;
    print::out(&format!("{}{}", table(&page), page::footer(&page, "transfers")))?;
    Ok(ExitCode::SUCCESS)
}

fn table(page: &Value) -> String {
    let columns = [
        ("time", Left),
        ("id", Left),
        ("from", Left),
        ("to", Left),
        ("amount", Right),
        ("status", Left),
        ("code", Right),
    ];
    let rows = page::data(page).iter().map(|transfer| {
        ["timestamp", "id", "debit_account_id", "credit_account_id", "amount", "status", "code"]
            .map(|name| field(transfer, name))
    });
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
        verb: TransferVerb,
    }

    fn parse(line: &str) -> Result<TransferVerb, clap::Error> {
        Line::try_parse_from(std::iter::once("transfer").chain(line.split(' ')))
            .map(|line| line.verb)
    }

    #[test]
    fn flags_become_the_body() {
        let line =
            "create --from 1 --to 2 --amount 10.00 --ledger 3 --flags linked --user-data-32 9";
        let TransferVerb::Create(args) = parse(line).unwrap() else { panic!("create") };
        let expected = r#"{"id":"5","debit_account_id":"1","credit_account_id":"2","amount":"10.00","ledger":3,"code":1,"flags":["linked"],"user_data_32":9}"#;
        assert_eq!(serde_json::to_string(&body(&args, "5")).unwrap(), expected);
    }

    #[test]
    fn what_can_not_be_sent_is_wrong_usage() {
        for line in [
            "create --from 1 --to 2",
            "create --from a --to 2 --amount 1",
            "get",
            "list --order up",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn a_transfer_is_shown_with_what_it_left() {
        let transfer = json!({
            "id":"5","debit_account_id":"1","credit_account_id":"2","amount":"10.00","user_data_64":"0",
            "debit_account":{"id":"1","balance":"90.00"},"metadata":{"note":"tea"}
        });
        let expected = [
            "id              5",
            "from            1",
            "to              2",
            "amount          10.00",
            "metadata        {\"note\":\"tea\"}",
            "from's balance  90.00",
        ];
        assert_eq!(details(&transfer), expected.join("\n"));
    }
}

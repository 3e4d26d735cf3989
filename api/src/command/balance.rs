//! `florin balance ID`.

use std::process::ExitCode;

use super::client::{self, OutputArgs, ServerArgs};
use super::page::field;
use super::print::Align::Right;
use super::{Outcome, print};
use crate::http;

#[derive(Debug, clap::Args)]
pub(super) struct BalanceArgs {
    /// The account's id: a number, a UUID, or ext: and a text of your own
    #[arg(value_parser = client::id)]
    id: String,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Shows what the account holds, as of every write that was acknowledged before.
pub(super) fn run(args: &BalanceArgs) -> Outcome {
    let path = format!("/v1/accounts/{}", http::encode(&args.id));
    let answer = args.server.client()?.get(&path)?.accepted()?;
    if args.output.json {
        print::out(&answer.body)?;
        return Ok(ExitCode::SUCCESS);
    }
    let account = answer.json()?;
    let rows = ["balance", "available"].map(|name| (name, field(&account, name)));
    print::out(&print::pairs(rows, Right))?;
    Ok(ExitCode::SUCCESS)
}

//! `florin config`: what is in force, and who said so.

use std::process::ExitCode;

use crate::config::{Config, Flags};

use super::print::Align::Left;
use super::{Outcome, print};

#[derive(Debug, clap::Args)]
pub(super) struct ConfigArgs {
    #[command(flatten)]
    flags: Flags,
    /// Print nothing but whether the configuration can be used: exit 0 if so, else 2
    #[arg(long)]
    check: bool,
}

/// Prints the settings, or only whether they can be used.
pub(super) fn run(args: &ConfigArgs) -> Outcome {
    let resolved = Config::of_process(&args.flags)?;
    if args.check {
        print::out("the configuration is valid")?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = resolved.rows.into_iter().map(|row| [row.key, row.value, row.origin]);
    print::out(&print::table([("setting", Left), ("value", Left), ("from", Left)], rows))?;
    Ok(ExitCode::SUCCESS)
}

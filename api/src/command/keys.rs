//! `florin keys new|list`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use super::print::Align::Left;
use super::{Outcome, print};
use crate::config;
use crate::keys::{self, Entry, Name, Scope};

#[derive(Debug, clap::Subcommand)]
pub(super) enum KeysVerb {
    /// Make a key, add it to the file, and show it once on the standard output
    New(NewArgs),
    /// List the keys in the file; none of them can be shown again
    List(FileArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct NewArgs {
    /// What it is good for: asking (read), commands too (write), or everything (admin)
    #[arg(long, value_enum)]
    scope: Scope,
    /// Whose it is or what for, such as billing
    #[arg(long, value_parser = Name::try_new)]
    name: Option<Name>,
    #[command(flatten)]
    file: FileArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct FileArgs {
    /// The keys file; a new one is made for its owner alone [FLORIN_API_KEYS]
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    file: Option<String>,
    /// TOML file with settings, for where the keys file is [FLORIN_CONFIG]
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    config: Option<PathBuf>,
}

/// Does what the verb says.
pub(super) fn run(verb: KeysVerb) -> Outcome {
    match verb {
        KeysVerb::New(args) => new(args),
        KeysVerb::List(args) => list(args),
    }
}

fn new(args: NewArgs) -> Outcome {
    let path = config::keys_file(args.file.file, args.file.config)?;
    let (token, Entry { id, scope, .. }) = keys::add(&path, args.name, args.scope)?;
    // Alone on its stream, so that a script can take it.
    print::out(&token.reveal())?;
    // If nobody reads this, the key is made all the same.
    let _ = writeln!(
        io::stderr(),
        "key {id} with scope {scope} is in {}; it is shown only now. A running server knows it after SIGHUP",
        path.display()
    );
    Ok(ExitCode::SUCCESS)
}

fn list(args: FileArgs) -> Outcome {
    let path = config::keys_file(args.file, args.config)?;
    let entries = keys::read(&path)?;
    if entries.is_empty() {
        print::out("no keys")?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = entries.iter().map(|entry| {
        let name = entry.name.as_ref().map_or("", Name::as_str);
        [entry.id.to_string(), entry.scope.to_string(), entry.created.to_string(), name.to_owned()]
    });
    let columns = [("id", Left), ("scope", Left), ("created", Left), ("name", Left)];
    print::out(&print::table(columns, rows))?;
    Ok(ExitCode::SUCCESS)
}

//! The command line: one module for each verb, and what they share.

mod account;
mod backup;
mod balance;
mod bench;
mod client;
mod completions;
mod demo;
mod health;
mod keys;
mod page;
mod print;
mod progress;
mod rebuild_store;
mod restore;
mod scheduling;
mod scratch;
mod serve;
mod settings;
mod text;
mod transfer;
mod verify;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{ConfigError, Flags};

/// A durable double-entry ledger: an in-memory transaction processor for money, over HTTP.
///
/// Without a verb it serves. Settings come from flags, then FLORIN_… variables (or FLORIN_…_FILE, naming a file with the value),
/// then the --config file, then defaults.
#[derive(Debug, Parser)]
#[command(name = "florin", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    serve: Flags,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve the ledger over HTTP (what `florin` does without a verb)
    Serve(Flags),
    /// Check a stopped data directory, or a backup, from the first byte to the last
    Verify(verify::VerifyArgs),
    /// Copy the data directory of a running or stopped server, consistent and checked
    Backup(backup::BackupArgs),
    /// Make a data directory of a backup
    Restore(restore::RestoreArgs),
    /// Make the store of a stopped server anew from its journal, an archive or another store
    RebuildStore(rebuild_store::RebuildStoreArgs),
    /// Print every setting in force and where it came from
    Config(settings::ConfigArgs),
    /// Make and list the keys that let callers in
    #[command(subcommand)]
    Keys(keys::KeysVerb),
    /// Exit 0 when a server is ready, for health checks
    Health(client::PlaceArgs),
    /// Create and read accounts on a server
    #[command(subcommand)]
    Account(account::AccountVerb),
    /// Create and read transfers on a server
    #[command(subcommand)]
    Transfer(transfer::TransferVerb),
    /// Show one account's balance
    Balance(balance::BalanceArgs),
    /// A minute of realistic traffic against a server, with figures
    Demo(demo::DemoArgs),
    /// Measure the embedded engine, without HTTP
    Bench(bench::BenchArgs),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
}

/// Why a verb could not do its work.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Serve(#[from] serve::ServeError),
    #[error(transparent)]
    Verify(#[from] florin_actors::VerifyError),
    #[error(transparent)]
    RebuildStore(#[from] Box<florin_actors::RebuildError>),
    #[error(transparent)]
    Backup(#[from] Box<florin_actors::BackupError>),
    #[error(transparent)]
    Restore(#[from] Box<florin_actors::RestoreError>),
    #[error(transparent)]
    Client(#[from] client::ClientError),
    #[error(transparent)]
    Keys(#[from] crate::keys::KeysError),
    #[error(transparent)]
    Tls(#[from] crate::tls::TlsError),
    #[error(transparent)]
    Demo(#[from] demo::DemoError),
    #[error(transparent)]
    Bench(#[from] bench::BenchError),
    #[error("cannot start what drives asynchronous work")]
    Runtime(#[source] io::Error),
    #[error("cannot write to the standard output")]
    Output(#[source] io::Error),
}

impl CommandError {
    fn exit_code(&self) -> ExitCode {
        match self {
            // Nothing was tried yet: the way it was called is what is wrong.
            CommandError::Config(_) | CommandError::Serve(serve::ServeError::Config(_)) => {
                ExitCode::from(2)
            }
            CommandError::Serve(_)
            | CommandError::Verify(_)
            | CommandError::RebuildStore(_)
            | CommandError::Backup(_)
            | CommandError::Restore(_)
            | CommandError::Client(_)
            | CommandError::Keys(_)
            | CommandError::Tls(_)
            | CommandError::Demo(_)
            | CommandError::Bench(_)
            | CommandError::Runtime(_)
            | CommandError::Output(_) => ExitCode::FAILURE,
        }
    }
}

/// What a verb that does all it was asked for answers with.
type Outcome = Result<ExitCode, CommandError>;

/// Does what the command line says.
pub fn main() -> ExitCode {
    // Wrong usage ends here with a sentence and exit code 2, `--help` and `--version` with 0.
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        // Whoever read the output has seen enough of it.
        Err(CommandError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            // If not even this can be written, the exit code still says it.
            let _ = writeln!(io::stderr(), "florin: {}", text::sentence(&error));
            error.exit_code()
        }
    }
}

fn run(cli: Cli) -> Outcome {
    match cli.verb {
        None => Ok(serve::run(&cli.serve)?),
        Some(Verb::Serve(flags)) => Ok(serve::run(&flags)?),
        Some(Verb::Verify(args)) => verify::run(args),
        Some(Verb::Backup(args)) => backup::run(args),
        Some(Verb::Restore(args)) => restore::run(args),
        Some(Verb::RebuildStore(args)) => rebuild_store::run(args),
        Some(Verb::Config(args)) => settings::run(&args),
        Some(Verb::Keys(verb)) => keys::run(verb),
        Some(Verb::Health(args)) => health::run(&args),
        Some(Verb::Account(verb)) => account::run(verb),
        Some(Verb::Transfer(verb)) => transfer::run(verb),
        Some(Verb::Balance(args)) => balance::run(&args),
        Some(Verb::Demo(args)) => demo::run(&args),
        Some(Verb::Bench(args)) => bench::run(&args),
        Some(Verb::Completions(args)) => completions::run(&args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_a_verb_the_flags_are_those_of_serve() {
        let cli = Cli::try_parse_from(["florin", "--listen", "127.0.0.1:1"]).unwrap();
        assert!(cli.verb.is_none());
        assert!(Cli::try_parse_from(["florin", "serve", "--listen", "127.0.0.1:1"]).is_ok());
        assert!(Cli::try_parse_from(["florin", "--listen"]).is_err());
        assert!(Cli::try_parse_from(["florin", "dance"]).is_err());
    }
}

//! `florin restore`: a data directory made of a backup.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueHint;

use super::{CommandError, Outcome, print, verify};
use crate::config::{self, Flags};

#[derive(Debug, clap::Args)]
pub(super) struct RestoreArgs {
    /// A backup, or the directory that `florin backup --to` names, of which the newest one is taken
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    from: PathBuf,
    /// The data directory to make: a new or an empty one [FLORIN_DATA_DIR; default ./florin-data]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    data_dir: Option<String>,
    /// TOML file that may name the data directory [FLORIN_CONFIG]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
}

/// Makes the directory, verifies it, and says what it holds.
pub(super) fn run(args: RestoreArgs) -> Outcome {
    let data_dir = config::data_dir(&Flags::of_data_dir(args.data_dir, args.config))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(CommandError::Runtime)?;
    let restored = runtime.block_on(florin_actors::restore(&args.from, &data_dir));
    let (backup, report) = restored.map_err(Box::new)?;
    print::out(&format!(
        "{} is restored from {} and sound\n\n{}",
        data_dir.display(),
        backup.display(),
        verify::summary(&report)
    ))?;
    Ok(ExitCode::SUCCESS)
}

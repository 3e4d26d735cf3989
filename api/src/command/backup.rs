//! `florin backup`: a consistent copy of a ledger's directory, while it runs.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueHint;
use florin_persistence::backup::{self, Contents, Made};
use florin_persistence::disk::OsDisk;

use super::{CommandError, Outcome, print, text};
use crate::config::{self, Flags};

#[derive(Debug, clap::Args)]
pub(super) struct BackupArgs {
    /// The data directory, of a running server or a stopped one [FLORIN_DATA_DIR; default ./florin-data]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    data_dir: Option<String>,
    /// Where backups go, each in a directory of its own: on another disk, or on one that is copied away
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    to: PathBuf,
    /// Take only what the journal has beyond the newest backup there, which is quick enough for every few seconds
    #[arg(long)]
    journal_only: bool,
    /// Remove the oldest backups there, so that this many are left
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,
    /// TOML file that may name the data directory [FLORIN_CONFIG]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
}

/// Makes the backup and says how far it reaches.
pub(super) fn run(args: BackupArgs) -> Outcome {
    let data_dir = config::data_dir(&Flags::of_data_dir(args.data_dir, args.config))?;
    let contents = if args.journal_only { Contents::Journal } else { Contents::Everything };
    let keep = args.keep.map(|keep| keep as usize);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(CommandError::Runtime)?;
    let making = backup::make(OsDisk::shared(), &data_dir, &args.to, contents, keep);
    let made = runtime.block_on(making).map_err(Box::new)?;
    print::out(&summary(&made))?;
    Ok(ExitCode::SUCCESS)
}

fn summary(made: &Made) -> String {
    let (path, position) = (made.path.display(), text::grouped(made.manifest.last_seq));
    if made.is_new {
        let copied = text::grouped(made.copied_bytes);
        format!("{path} has everything up to position {position}: {copied} bytes copied")
    } else {
        format!("{path} has everything up to position {position} already")
    }
}

#[cfg(test)]
mod tests {
    use florin_persistence::backup::Manifest;

    use super::*;

    #[test]
    fn it_is_said_how_far_a_backup_reaches() {
        let manifest = Manifest {
            format_version: 1,
            ledger: uuid::Uuid::nil(),
            first_seq: 1,
            last_seq: 4_711,
            frame_hash: String::new(),
            snapshot_seq: 0,
            indexed_seq: 0,
            ids: 0,
            stored_seq: None,
            files: Vec::new(),
        };
        let mut made =
            Made { path: PathBuf::from("b/1"), manifest, copied_bytes: 12_345, is_new: true };
        let told = "b/1 has everything up to position 4,711: 12,345 bytes copied";
        assert_eq!(summary(&made), told);
        made.is_new = false;
        assert_eq!(summary(&made), "b/1 has everything up to position 4,711 already");
    }
}

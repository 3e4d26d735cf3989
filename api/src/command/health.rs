//! `florin health`: is a server ready?

use std::process::ExitCode;

use super::client::{ClientError, HEALTH_PATIENCE, PlaceArgs};
use super::{Outcome, print};

/// Exits 0 when `/readyz` says 200, so that a container or a script can ask.
pub(super) fn run(args: &PlaceArgs) -> Outcome {
    let client = args.client(None, HEALTH_PATIENCE)?;
    let answer = client.get("/readyz")?;
    let status = answer.json().ok().and_then(|json| Some(json.get("status")?.as_str()?.to_owned()));
    if answer.status != 200 {
        return Err(ClientError::NotReady { url: args.url.clone(), status }.into());
    }
    print::out(status.as_deref().unwrap_or("ready"))?;
    Ok(ExitCode::SUCCESS)
}

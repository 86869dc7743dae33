//! The claim of an attempt: a launcher passes it on, or rank 0 makes and keeps it if there is no launcher.

use std::time::Duration;

use common::attempt::{Attempt, Claim, Claimant, Holder, News, Request, acquire, claim_of};
use common::config::{RawConfig, RunConfig};
use common::storage::Folder;
use common::worker_contract::StartLine;

use super::failure::fail;
use crate::control::Requests;
use crate::error::JobError;

/// Returns the claim that the launcher's `line` names. If the line has no id, the claim is looked up by its number.
pub fn claim_told(line: &StartLine) -> Result<Claim, JobError> {
    let StartLine { attempt: number, claim_id, .. } = line;
    if !claim_id.is_empty() || *number == 0 {
        return Ok(Claim { number: *number, id: claim_id.clone() });
    }
    let config = RawConfig::parse("from the launcher", &line.config, &[])?.run()?;
    Ok(claim_of(&Folder::open(&config.run.output, &config.storage)?, *number)?)
}

/// Claims the next attempt of `run`. This may take as long as the previous claim needs to expire.
pub fn claim(run: &Folder, config: &RunConfig, ranks: u32) -> Result<Attempt, JobError> {
    let claimant = Claimant { ranks, expiry: Duration::from_secs(config.launch.claim_expiry_s), holds: None };
    let mut is_told = false;
    let claim = acquire(run, &claimant, &mut |waiting| {
        if !std::mem::replace(&mut is_told, true) {
            tracing::info!("{waiting}");
        }
        true
    });
    Ok(claim?.unwrap_or_else(|| unreachable!("it waits as long as it takes")))
}

/// Keeps `claim`, and acts on news of the run: requests, and a newer claim.
pub fn hold(config: &RunConfig, claim: Attempt, requests: &Requests) -> Result<Holder, JobError> {
    let run = Folder::open(&config.run.output, &config.storage)?;
    let requests = requests.clone();
    let on_news = move |news| match news {
        News::Asked(Request::Save) => requests.ask_for_save(),
        News::Asked(Request::Stop) => requests.ask_for_stop(),
        News::Fenced(error) => fail(&error.to_string(), error.exit_code()),
    };
    let expiry = Duration::from_secs(config.launch.claim_expiry_s);
    Holder::start(&run, claim, expiry, on_news).map_err(JobError::Thread)
}

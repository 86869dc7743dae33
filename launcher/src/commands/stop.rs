//! `launcher stop`: ends a run after a save, from anywhere that reaches its folder.

use std::time::{Duration, Instant};

use common::attempt::{self, Request};
use common::checkpoint_store::{self, folder_of};
use common::exit_code::ExitCode;

use super::error::CommandError;
use super::run_folder;
use crate::cli::runs::StopArgs;
use crate::error::LaunchError;
use crate::view::terminal::{to_stderr, to_stdout};

/// Pause between looks for the end.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Asks for the end, waits for it, and prints the checkpoint from which the run resumes.
pub fn run(args: &StopArgs) -> Result<ExitCode, LaunchError> {
    let run = run_folder::open(&args.run)?;
    let holder = run_folder::ask(&run, Request::Stop)?;
    if args.wait_s == 0 {
        return Ok(ExitCode::Done);
    }
    let until = Instant::now() + Duration::from_secs(args.wait_s);
    while attempt::current(&run)?.is_some() {
        if Instant::now() >= until {
            let (attempt, claimant, wait_s) = (holder.attempt, holder.claimant(), args.wait_s);
            return Err(CommandError::NotEnded { attempt, claimant, wait_s }.into());
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
    match checkpoint_store::newest(&run)? {
        Some(name) => {
            to_stderr("stopped; the same `launcher train` goes on from");
            to_stdout(folder_of(&run, &name).url());
        }
        None => to_stderr("stopped, with no checkpoint committed: the same `launcher train` begins anew"),
    }
    Ok(ExitCode::Done)
}

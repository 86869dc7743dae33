//! `launcher train`: starts or resumes the run that the config names.

use std::time::Duration;

use common::attempt::{self, Claimant};
use common::checkpoint_layout::CheckpointName;
use common::checkpoint_store;
use common::checkpoint_store::Found;
use common::config::change::check_accepted;
use common::config::{Backend as BackendKind, RunConfig};
use common::exit_code::ExitCode;
use common::metrics::RunMetrics;
use common::shell::quoted;
use common::start::{self, Wanted};
use common::storage::Folder;

use super::error::CommandError;
use super::target::Target;
use super::{launching, overrides, prepare_first, target};
use crate::backend::kubernetes::Kubernetes;
use crate::backend::kubernetes::work::Work;
use crate::backend::{Backend, RankProgram};
use crate::cli::jobs::TrainArgs;
use crate::cli::shared::TargetArgs;
use crate::error::LaunchError;
use crate::interrupts::Interrupts;
use crate::supervise::job::{Job, Seen};
use crate::view::figures::counted;
use crate::view::terminal::{to_stderr, to_stdout};
use crate::view::train::View;
use crate::{preflight, programs, supervise};

/// Trains to the end, until somebody stops it, or until another attempt would not help.
pub fn run(mut args: TrainArgs) -> Result<ExitCode, LaunchError> {
    let flags = flags(&args);
    args.config.overrides.extend(flags);
    let raw = target::config(&args.config)?;
    let mut config = raw.clone().run()?;
    check_accepted(&args.accept_changes, &config).map_err(LaunchError::RefusedChange)?;
    launching::check_detach(args.detach, &config.launch)?;
    preflight::tasks::chosen(&config)?;
    let wanted = wanted(&args)?;
    let accepted: Vec<String> = args.accept_changes.iter().map(|key| format!("--accept-change={key}")).collect();
    let script = launching::batch_script(&config.launch, &config.run.name, "train", Some(&args.config), &accepted)?;
    common::storage::make_urls_absolute(&mut config)?;
    let (prepared, kept) = prepare_first::run(&raw, &config, &args.config)?;
    if prepared != ExitCode::Done {
        return Ok(prepared);
    }
    // Going back happens once, and here: a submitted job may run several times.
    if wanted != Wanted::Newest && !go_back(&config, &args.accept_changes, &wanted)? {
        return Ok(ExitCode::Stopped);
    }
    if let Some(script) = script {
        return launching::submit(&script);
    }
    if args.detach {
        return detach(config, args.accept_changes);
    }
    let backend = backend(&config, &args.accept_changes)?;
    let run = Folder::open(&config.run.output, &config.storage)?;
    let job = Job { config, accepted_changes: args.accept_changes, backend, run, handed: launching::handed()? };
    let mut interrupts = kept.map_or_else(Interrupts::install, Ok).map_err(LaunchError::system("handle signals"))?;
    let mut view = View::new(job.config.train.max_steps);
    let steps = counted(job.config.train.max_steps, "step");
    view.say(&format!("{}: {steps}, {}", job.config.run.name, job.run.url()));
    if let Some(warning) = preflight::vocabulary::unused_rows_of(&job.config) {
        view.say(&format!("warning: {warning}"));
    }
    let (code, seen) = supervise::run(&job, &mut interrupts, &mut view)?;
    match code {
        ExitCode::Done => say_done(&job, &seen, &args.config),
        ExitCode::Stopped => to_stderr("stopped; run the same command to go on"),
        // The cause has already been shown.
        _ => {}
    }
    Ok(code)
}

/// Returns the flags as overrides of the config.
fn flags(args: &TrainArgs) -> Vec<String> {
    let set = |key: &str, value: &Option<String>| value.as_ref().map(|value| overrides::set(key, value));
    let own = [set("run.output", &args.output), set("metrics.profile", &args.profile)];
    overrides::of_launch(&args.launch).into_iter().chain(own.into_iter().flatten()).collect()
}

/// Returns the checkpoint that the flags ask to continue from.
fn wanted(args: &TrainArgs) -> Result<Wanted, CommandError> {
    let Some(from) = &args.from else {
        return Ok(if args.from_scratch { Wanted::Scratch } else { Wanted::Newest });
    };
    match (from.parse(), CheckpointName::parse(from)) {
        (Ok(step), _) => Ok(Wanted::Step(step)),
        (_, Some(name)) => Ok(Wanted::Named(name)),
        _ => Err(CommandError::NotAStart { from: from.clone() }),
    }
}

/// Makes `wanted` what the run continues from. Returns false if somebody asked to stop meanwhile.
fn go_back(config: &RunConfig, accepted: &[String], wanted: &Wanted) -> Result<bool, LaunchError> {
    if launching::handed()?.is_some() {
        return Err(CommandError::NotTheClaimant.into());
    }
    let run = Folder::open(&config.run.output, &config.storage)?;
    let data = preflight::data::identity(config)?;
    let name = start::look(&run, (config, accepted), data.as_ref(), wanted)?;
    let counting = checkpoint_store::list(&run)?.into_iter().filter(Found::counts);
    let later = counting.filter(|found| name.as_ref().is_none_or(|name| found.name > *name)).count();
    let expiry = Duration::from_secs(config.launch.claim_expiry_s);
    let claimant = Claimant { ranks: 0, expiry, holds: None };
    let mut interrupts = Interrupts::install().map_err(LaunchError::system("handle signals"))?;
    let mut is_told = false;
    let gone_back = attempt::rewind(&run, &claimant, name.as_ref(), &mut |waiting| {
        if !std::mem::replace(&mut is_told, true) {
            to_stderr(waiting);
        }
        interrupts.poll().is_none()
    })?;
    let Some(attempt) = gone_back else { return Ok(false) };
    let to = name.map_or_else(|| "the beginning".to_owned(), |name| name.to_string());
    to_stderr(&format!(
        "went back to {to} (attempt {}): later checkpoints that do not count any more: {later}; without --from and --from-scratch the same \
         command goes on from here",
        attempt.attempt
    ));
    Ok(true)
}

/// Starts a supervisor in the cluster that runs what this command would run here.
fn detach(config: RunConfig, accepted_changes: Vec<String>) -> Result<ExitCode, LaunchError> {
    to_stderr(&Kubernetes::new(Work::Training { config, accepted_changes })?.detach()?);
    Ok(ExitCode::Done)
}

/// Creates the backend that starts the ranks of `config`.
pub fn backend(config: &RunConfig, accepted_changes: &[String]) -> Result<Box<dyn Backend>, LaunchError> {
    if config.launch.backend == BackendKind::Kubernetes {
        let work = Work::Training { config: config.clone(), accepted_changes: accepted_changes.to_vec() };
        return Ok(Box::new(Kubernetes::new(work)?));
    }
    let arguments = Box::new(|_| vec!["train".into(), "--from-launcher".into()]);
    let program = RankProgram { executable: programs::worker()?, arguments };
    launching::backend(&config.launch, program, Some(&config.run.output))
}

/// Prints the result, where it lies, and what to type next. Details that cannot be looked up are left out: the run is done.
fn say_done(job: &Job, seen: &Seen, args: &TargetArgs) {
    let steps = counted(job.config.train.max_steps, "step");
    let (loss, validation_loss) = losses(job, seen);
    let result = match (loss, validation_loss) {
        (_, Some(loss)) => format!(", validation loss {loss:.2}"),
        (Some(loss), None) => format!(", training loss {loss:.2}"),
        (None, None) => String::new(),
    };
    to_stderr(&format!("done: {steps}{result}"));
    if seen.loss.is_none() {
        to_stderr("  no step was left to do");
    }
    to_stderr(&format!("  run folder  {}", job.run.url()));
    match checkpoint_store::newest(&job.run) {
        Ok(Some(name)) => {
            to_stderr(&format!("  checkpoint  {}", checkpoint_store::folder_of(&job.run, &name).url()));
            to_stderr(&format!("  next        {} {}", programs::own_name(), sample_command(args)));
            to_stderr(
                "  again       a larger train.max_steps trains on (with --accept-change optimizer.decay_steps if that follows \
                 it), --from-scratch begins again",
            );
        }
        Ok(None) => {}
        Err(error) => tracing::warn!("cannot look for the newest checkpoint: {error}"),
    }
    if let Some(loss) = validation_loss {
        to_stdout(&format!("validation loss {loss:.2}"));
    }
}

/// Returns the last loss and validation loss, as just reported, or from an earlier launch if this one found the run complete.
fn losses(job: &Job, seen: &Seen) -> (Option<f64>, Option<f64>) {
    let reported = (seen.loss, seen.validation.as_ref().map(|record| record.validation_loss));
    if let (Some(_), Some(_)) = reported {
        return reported;
    }
    match RunMetrics::read(&job.run) {
        Ok(metrics) => {
            let stored = metrics.steps.last_key_value().map(|(_, record)| record.loss);
            let validated = metrics.validations.last_key_value().map(|(_, record)| record.validation_loss);
            (reported.0.or(stored), reported.1.or(validated))
        }
        Err(error) => {
            tracing::warn!("cannot look up the losses: {error}");
            reported
        }
    }
}

/// Returns the words after the launcher's name of a command that prints text from this run.
fn sample_command(args: &TargetArgs) -> String {
    // What was named has been read.
    let words = Target::of(args).map(|target| target.words()).unwrap_or_default();
    let mut command = "sample".to_owned();
    words.iter().for_each(|word| command.push_str(&format!(" {}", quoted(word))));
    for given in args.overrides.iter().filter(|given| !given.starts_with("launch.")) {
        command.push_str(&format!(" --set {}", quoted(given)));
    }
    command + " --prompt \"The\""
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::cli::shared::{BackendName, LaunchArgs};

    #[test]
    fn flags_are_overrides_and_the_next_command_keeps_what_matters() {
        let overridden = vec!["train.max_steps=7".into()];
        let config = TargetArgs { target: Some("my run.toml".into()), config: None, overrides: overridden };
        let args = TrainArgs {
            config,
            launch: LaunchArgs { backend: Some(BackendName::Local), ranks: Some(2), ..LaunchArgs::default() },
            output: Some("s3://b/a \"b\"".into()),
            accept_changes: Vec::new(),
            from: None,
            from_scratch: false,
            profile: None,
            detach: false,
        };
        let flags = flags(&args);
        assert_eq!(flags, ["launch.backend=\"local\"", "launch.ranks=2", r#"run.output="s3://b/a \"b\"""#]);
        let mut config = args.config;
        config.overrides.extend(flags);
        assert_eq!(
            sample_command(&config),
            r#"sample --config 'my run.toml' --set train.max_steps=7 --set 'run.output="s3://b/a \"b\""' --prompt "The""#
        );
    }
}

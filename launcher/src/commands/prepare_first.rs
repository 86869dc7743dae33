//! Prepares the data of a run before its first step, where the data is not there and the config says from what.

use std::path::Path;

use common::config::{Backend, LaunchConfig, PrepareJobConfig, RawConfig, RunConfig};
use common::exit_code::ExitCode;
use common::preflight::Finding;
use common::secrets::without_secrets;
use common::shell::quoted;
use common::storage::{Folder, StorageError};
use common::token_shard::INDEX_NAME;
use common::tokenizer::Tokenizer;

use super::dry_run::Inputs;
use super::error::CommandError;
use super::target::Target;
use super::{dry_run, prepare};
use crate::backend::slurm;
use crate::cli::jobs::PrepareArgs;
use crate::cli::shared::TargetArgs;
use crate::error::LaunchError;
use crate::interrupts::Interrupts;
use crate::preflight::vocabulary;
use crate::view::figures::counted;
use crate::view::terminal::to_stderr;

/// Subject of findings about the data.
const DATA: &str = "training data";
/// Folder of the training shards in `prepare.output`.
const TRAIN_FOLDER: &str = "train";
/// Beginnings of the overrides that a prepare job reads.
const READ_BY_PREPARE: [&str; 5] = ["prepare.", "webtext.", "launch.", "kubernetes.", "storage."];

/// A prepare job whose output is to be trained on, and is not there yet.
struct Pending {
    job: PrepareJobConfig,
    /// Folder of the training shards.
    url: String,
}

/// Does what `launcher prepare` would do with the config, if what `data.train` names is not there and `[prepare]` makes it.
/// Returns its exit code, and the signals if it was followed: none is lost between preparing and training.
pub fn run(
    raw: &RawConfig,
    config: &RunConfig,
    args: &TargetArgs,
) -> Result<(ExitCode, Option<Interrupts>), LaunchError> {
    // The config in a run folder does not say how its data was prepared.
    let Target::Config(path) = Target::of(args)? else { return Ok((ExitCode::Done, None)) };
    if !raw.has_prepare_section() {
        return Ok((ExitCode::Done, None));
    }
    if let Some((place, command)) = elsewhere(&config.launch, &path, &args.overrides)? {
        return match pending(raw, config)? {
            Some(pending) => Err(pending.left_to(place, command).into()),
            None => Ok((ExitCode::Done, None)),
        };
    }
    let mut interrupts = Interrupts::install().map_err(LaunchError::system("handle signals"))?;
    let leaving = interrupts.leave_meanwhile("the data");
    let pending = pending(raw, config)?;
    drop(leaving);
    let Some(Pending { job, url }) = pending else { return Ok((ExitCode::Done, Some(interrupts))) };
    to_stderr(&format!("{url} is not there yet: it is prepared first, as [prepare] says"));
    let args = PrepareArgs { config: args.clone(), ..PrepareArgs::default() };
    let code = prepare::follow(args, path, &job, &mut interrupts)?;
    match interrupts.poll() {
        Some(_) if code == ExitCode::Done => {
            to_stderr("stopped before the first step; run the same command to go on");
            Ok((ExitCode::Stopped, None))
        }
        _ => Ok((code, Some(interrupts))),
    }
}

/// Returns the job that makes what `data.train` of `config` names, if that is not there. Whether it is there must be certain: a
/// store that does not answer is left to those who read the data. The URLs of `config` are absolute.
fn pending(raw: &RawConfig, config: &RunConfig) -> Result<Option<Pending>, LaunchError> {
    let is_there =
        |url: &String| -> Result<bool, StorageError> { Folder::open(url, &config.storage)?.exists(INDEX_NAME) };
    let is_absent = |url: &&String| is_there(url).is_ok_and(|is_there| !is_there);
    let absent: Vec<&String> = config.data.train.iter().map(|source| &source.url).filter(is_absent).collect();
    if absent.is_empty() || !raw.has_prepare_section() {
        return Ok(None);
    }
    let job = raw.clone().prepare()?;
    let url = Folder::open(&job.prepare.output, &job.storage)?.folder(TRAIN_FOLDER).url().to_owned();
    let names_it = |named: &&&String| Folder::open(named, &config.storage).is_ok_and(|set| set.url() == url);
    Ok(absent.iter().find(names_it).map(|_| Pending { job, url: url.clone() }))
}

/// Returns the place, if this process does not start the ranks of `launch` itself, and a command that prepares the data first.
fn elsewhere(
    launch: &LaunchConfig,
    config: &Path,
    overrides: &[String],
) -> Result<Option<(&'static str, String)>, LaunchError> {
    let place = match launch.backend {
        Backend::Local | Backend::Mpirun => return Ok(None),
        Backend::Slurm if slurm::allocation(launch)?.is_some() => return Ok(None),
        Backend::Slurm => "a batch job of Slurm",
        Backend::Kubernetes => "an MPIJob",
    };
    Ok(Some((place, format!("`{}`", prepare_command(config, overrides)))))
}

/// Returns the command that prepares the data of the `config` with these `overrides`, which have the flags of the launch already:
/// its ranks run where those of training would. A secret in a URL is left out.
fn prepare_command(config: &Path, overrides: &[String]) -> String {
    let mut command = format!("launcher prepare --config {}", quoted(&config.display().to_string()));
    let is_read = |given: &&String| READ_BY_PREPARE.iter().any(|section| given.trim_start().starts_with(section));
    for given in overrides.iter().filter(is_read) {
        command.push_str(&format!(" --set {}", quoted(given)));
    }
    without_secrets(&command).into_owned()
}

/// Returns findings about data that is not there, where [`run`] prepares it or refuses to: about its tokenizer, and what is
/// going to happen. Returns `None` where nothing is prepared.
pub fn findings(raw: &RawConfig, config: &RunConfig, args: &TargetArgs) -> Result<Option<Vec<Finding>>, LaunchError> {
    let Target::Config(path) = Target::of(args)? else { return Ok(None) };
    let Some(pending) = pending(raw, config)? else { return Ok(None) };
    let data = match elsewhere(&config.launch, &path, &args.overrides)? {
        Some((place, command)) => Finding::failed(DATA, pending.left_to(place, command).to_string()),
        None => pending.outlook(dry_run::inputs(&path, &args.overrides)),
    };
    let tokenizer = match Tokenizer::open(&config.data.tokenizer, &config.storage) {
        Ok(tokenizer) => vocabulary::check(config, &tokenizer),
        Err(error) => Finding::failed("tokenizer", error.to_string()),
    };
    Ok(Some(vec![tokenizer, data]))
}

impl Pending {
    /// Returns the refusal to train in a `place` that does not prepare the data, which `command` does.
    fn left_to(self, place: &'static str, command: String) -> CommandError {
        CommandError::NotPrepared { url: self.url, place, command }
    }

    /// Says from what the data is going to be prepared, or why it cannot be, by what its job would read.
    fn outlook(&self, read: Result<Inputs, String>) -> Finding {
        let Inputs { objects, bytes } = match read {
            Ok(inputs) => inputs,
            Err(reason) => {
                let text = format!("{}: not there yet, and cannot be prepared: {reason}", self.url);
                return Finding::failed(DATA, text);
            }
        };
        let inputs = self.job.prepare.inputs.join(", ");
        let text = format!(
            "{}: not there yet; `launcher train` prepares it first, from {} ({}, {})",
            self.url,
            without_secrets(&inputs),
            counted(objects, "object"),
            counted(bytes, "byte")
        );
        Finding::ok(DATA, text)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use ::tests::base_config::BASE;
    use common::preflight::Verdict;

    use super::*;

    /// A config whose data is not there yet, in a folder of its own.
    struct Rig {
        folder: tempfile::TempDir,
    }

    impl Rig {
        fn new() -> Self {
            Rig { folder: tempfile::tempdir().unwrap() }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        /// Returns the arguments of a command that is about the config, with the backend.
        fn args(&self, backend: &str) -> TargetArgs {
            let config = self.path("run.toml");
            let place = |name: &str| self.path(name).display().to_string();
            let prepare = format!("\n[prepare]\ninputs = [{:?}]\noutput = {:?}\n", place("book.txt"), place("data"));
            std::fs::write(&config, BASE.to_owned() + &prepare).unwrap();
            let overrides = vec![
                format!("data.train={}", place("data/train")),
                format!("launch.backend={backend}"),
                "launch.ranks=2".to_owned(),
            ];
            TargetArgs { target: None, config: Some(config), overrides }
        }

        /// Returns the config that `args` name, and that of its run.
        fn configs(&self, args: &TargetArgs) -> (RawConfig, RunConfig) {
            let raw = RawConfig::load(&self.path("run.toml"), &args.overrides).unwrap();
            let mut resolved = raw.clone().run().unwrap();
            common::storage::make_urls_absolute(&mut resolved).unwrap();
            (raw, resolved)
        }
    }

    #[test]
    fn data_that_train_prepares_first_is_in_order_unless_its_job_would_be_refused() {
        let rig = Rig::new();
        let (raw, config) = rig.configs(&rig.args("local"));
        let pending = pending(&raw, &config).unwrap().unwrap();
        let found = pending.outlook(Err("nothing to read".to_owned()));
        assert_eq!((&*found.subject, found.verdict), (DATA, Verdict::Failed));
        assert!(
            found.text.ends_with("/data/train: not there yet, and cannot be prepared: nothing to read"),
            "{found:?}"
        );
        let found = pending.outlook(Ok(Inputs { objects: 1, bytes: 40_000 }));
        assert_eq!((&*found.subject, found.verdict), (DATA, Verdict::Ok));
        let words = ["`launcher train` prepares it first, from /", "/book.txt (1 object, 40,000 bytes)"];
        assert!(words.iter().all(|words| found.text.contains(words)), "{found:?}");
    }

    #[test]
    fn the_command_that_prepares_first_has_every_override_and_flag_that_prepare_reads() {
        let overrides = [
            "prepare.inputs=[\"a b.txt\"]",
            "prepare.output=s3://bucket/data",
            "train.max_steps=7",
            "prepare.tokenizer=https://host/own?sig=secret",
            "run.output=\"s3://bucket/run\"",
            "launch.backend=\"slurm\"",
            "launch.ranks=16",
            "launch.ranks_per_node=8",
        ];
        let command = prepare_command(Path::new("my run.toml"), &overrides.map(str::to_owned));
        let expected = "launcher prepare --config 'my run.toml' --set 'prepare.inputs=[\"a b.txt\"]' \
                        --set prepare.output=s3://bucket/data --set 'prepare.tokenizer=https://host/own' \
                        --set 'launch.backend=\"slurm\"' --set launch.ranks=16 --set launch.ranks_per_node=8";
        assert_eq!(command, expected);
    }

    #[test]
    fn data_that_is_not_there_fails_for_whoever_starts_no_ranks_in_the_words_of_train() {
        let rig = Rig::new();
        std::fs::write(rig.path("book.txt"), "text").unwrap();
        for (backend, words) in [("kubernetes", "an MPIJob only trains"), ("slurm", "a batch job of Slurm only trains")]
        {
            let args = rig.args(backend);
            let (raw, config) = rig.configs(&args);
            let Finding { subject, verdict, text, .. } = findings(&raw, &config, &args).unwrap().unwrap().remove(1);
            assert_eq!((&*subject, verdict), (DATA, Verdict::Failed));
            assert!(text.contains("is not prepared yet") && text.contains(words), "{text}");
        }
    }
}

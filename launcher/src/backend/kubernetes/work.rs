//! What the ranks of an MPIJob do: their config, the command of the launcher beside them, what their objects are called, and the
//! places that pods have to reach. Pure.

use common::attempt::Claim;
use common::config::{KubernetesConfig, LaunchConfig, PrepareJobConfig, RunConfig, StorageConfig};
use common::secrets;
use common::sha256::hex_sha256;

use crate::backend::error::BackendError;

/// Longest name of the objects of a run: names of pods begin with it, and are labels.
const NAME_BYTES_MAX: usize = 40;
/// Longest part of that name in the name of an evaluation, which goes on with a hash, the launcher's tag, and the number of an
/// attempt.
const EVALUATED_BYTES_MAX: usize = 26;
/// Longest part of that name in the name of a prepare job, which goes on as that of an evaluation does, with a longer word.
const PREPARED_BYTES_MAX: usize = 23;
/// What the objects of a prepare job are called after where the config gives no name.
const UNNAMED: &str = "convoy";
/// Digits of the hash in the name of an evaluation or a prepare job.
const HASH_DIGITS: usize = 8;
/// Config keys and options whose URLs may be patterns.
const TAKING_PATTERNS: [&str; 4] = ["data.train", "data.validation", "prepare.inputs", "--overlap"];
/// Digits of the tag of the launcher that has started ranks for which nobody claims attempts.
const TAG_DIGITS: usize = 4;

/// What the ranks of an MPIJob do, and its config, which is resolved and has absolute URLs.
#[derive(Debug, Clone)]
pub enum Work {
    /// They train.
    Training {
        /// Config of the run.
        config: RunConfig,
        /// Config keys that may differ from the checkpoint's.
        accepted_changes: Vec<String>,
    },
    /// They evaluate a checkpoint.
    Evaluation {
        /// Config of the checkpoint's run.
        config: RunConfig,
        /// Arguments of `launcher eval`, except for those that say where ranks run and what the config is.
        arguments: Vec<String>,
        /// Places that the ranks read or write, each with the option or the config key that names it.
        places: Vec<(&'static str, String)>,
    },
    /// They prepare data.
    Preparing {
        /// Config of the prepare job.
        config: PrepareJobConfig,
        /// Arguments of `launcher prepare`, except for those that say where ranks run and what the config is.
        arguments: Vec<String>,
    },
}

impl Work {
    /// Returns how many ranks there are, and how they are started.
    pub fn launch(&self) -> &LaunchConfig {
        match self {
            Work::Training { config, .. } | Work::Evaluation { config, .. } => &config.launch,
            Work::Preparing { config, .. } => &config.launch,
        }
    }

    /// Returns what the pods get.
    pub fn kubernetes(&self) -> &KubernetesConfig {
        match self {
            Work::Training { config, .. } | Work::Evaluation { config, .. } => &config.kubernetes,
            Work::Preparing { config, .. } => &config.kubernetes,
        }
    }

    /// Returns how stores are asked.
    pub fn storage(&self) -> &StorageConfig {
        match self {
            Work::Training { config, .. } | Work::Evaluation { config, .. } => &config.storage,
            Work::Preparing { config, .. } => &config.storage,
        }
    }

    /// Returns the name of the config's file in pods.
    pub fn config_file(&self) -> &'static str {
        match self {
            Work::Training { .. } | Work::Evaluation { .. } => "run.toml",
            Work::Preparing { .. } => "prepare.toml",
        }
    }

    /// Returns the config as TOML, with `launch` as its section of that name.
    pub fn config_with(&self, launch: LaunchConfig) -> String {
        match self {
            Work::Training { config, .. } | Work::Evaluation { config, .. } => {
                RunConfig { launch, ..config.clone() }.to_toml()
            }
            Work::Preparing { config, .. } => PrepareJobConfig { launch, ..config.clone() }.to_toml(),
        }
    }

    /// Returns the command of a launcher in the cluster that has ranks do this. `place` is the backend there with its flags,
    /// and `folder` the path of the folder with the config.
    pub fn command(&self, place: &[&str], folder: &str) -> Vec<String> {
        let (name, arguments) = match self {
            Work::Training { accepted_changes, .. } => {
                let flags = accepted_changes.iter().flat_map(|key| ["--accept-change".to_owned(), key.clone()]);
                ("train", flags.collect::<Vec<_>>())
            }
            Work::Evaluation { arguments, .. } => ("eval", arguments.clone()),
            Work::Preparing { arguments, .. } => ("prepare", arguments.clone()),
        };
        let words = ["launcher", name, "--backend"].into_iter().chain(place.iter().copied()).chain(["--config"]);
        let config = format!("{folder}/{}", self.config_file());
        words.map(str::to_owned).chain([config]).chain(arguments).collect()
    }

    /// Returns what the objects are called, without the number of an attempt. Different evaluations of a run have different
    /// names, so that they can be done at once, and so have prepare jobs with different outputs.
    pub fn name(&self) -> Result<String, BackendError> {
        Ok(match self {
            Work::Training { config, .. } => run_name(config)?,
            Work::Evaluation { config, .. } => {
                let (run, label) = (run_name(config)?, self.label());
                format!("{}-eval-{}", beginning(&run, EVALUATED_BYTES_MAX), beginning(&label, HASH_DIGITS))
            }
            Work::Preparing { config, .. } => {
                let given = config.kubernetes.name.as_str();
                let name = if given.is_empty() { UNNAMED } else { object_name("kubernetes.name", given)? };
                let label = self.label();
                format!("{}-prepare-{}", beginning(name, PREPARED_BYTES_MAX), beginning(&label, HASH_DIGITS))
            }
        })
    }

    /// Returns what the objects of an attempt are called. The attempts of a run are counted by their claims. Those of other work
    /// are counted by each launcher, whose tag keeps it from taking what another has left for its own.
    pub fn name_of_attempt(&self, attempt: &Claim) -> Result<String, BackendError> {
        let (name, number) = (self.name()?, attempt.number);
        Ok(match self {
            Work::Training { .. } => format!("{name}-a{number:04}"),
            Work::Evaluation { .. } | Work::Preparing { .. } => {
                let tag: String = attempt.id.chars().take(TAG_DIGITS).collect();
                format!("{name}-{tag}-a{number:04}")
            }
        })
    }

    /// Returns the value of [`RUN_LABEL`](super::manifests::RUN_LABEL). An attempt deletes what earlier ones with its label have
    /// left, so no evaluation has that of its run, and a prepare job has that of its output.
    pub fn label(&self) -> String {
        match self {
            Work::Training { config, .. } => run_label(&config.run.output),
            Work::Evaluation { config, arguments, .. } => {
                hash_of(&format!("{}\n{}", config.run.output, arguments.join("\n")))
            }
            Work::Preparing { config, .. } => {
                hash_of(&format!("prepare\n{}", config.prepare.output.trim_end_matches('/')))
            }
        }
    }

    /// Refuses places that pods cannot reach, and URLs that may hold a secret.
    pub fn check_places(&self) -> Result<(), BackendError> {
        match self {
            Work::Training { config, .. } => check_urls(run_urls(config)),
            Work::Evaluation { config, places, .. } => {
                check_urls(places.iter().map(|(name, url)| (*name, url.as_str())))?;
                // An evaluation does not read the run's data, whose URLs everyone can see all the same.
                run_urls(config).try_for_each(|(key, url)| check_secret(key, url))
            }
            Work::Preparing { config, .. } => check_urls(prepare_urls(config)),
        }
    }
}

/// Returns the label of the run at `url`.
pub fn run_label(url: &str) -> String {
    hash_of(url)
}

fn hash_of(text: &str) -> String {
    hex_sha256(text.as_bytes()).chars().take(16).collect()
}

/// Returns what the objects of a run are called.
fn run_name(config: &RunConfig) -> Result<String, BackendError> {
    let (key, name) = match config.kubernetes.name.as_str() {
        "" => ("run.name", config.run.name.as_str()),
        given => ("kubernetes.name", given),
    };
    object_name(key, name).map(str::to_owned)
}

/// Returns `name`, the value of `key`, if objects can be called so.
fn object_name<'a>(key: &'static str, name: &'a str) -> Result<&'a str, BackendError> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase());
    if starts_well && name.len() <= NAME_BYTES_MAX && common::config::kubernetes::is_label(name) {
        return Ok(name);
    }
    Err(BackendError::ObjectName { key, name: name.to_owned(), bytes_max: NAME_BYTES_MAX })
}

/// Returns at most the first `bytes_max` bytes of `name`, which is ASCII.
fn beginning(name: &str, bytes_max: usize) -> &str {
    &name[..name.len().min(bytes_max)]
}

/// Lists every URL of a run with its config key.
fn run_urls(config: &RunConfig) -> impl Iterator<Item = (&'static str, &str)> {
    let train = config.data.train.iter().map(|source| ("data.train", source.url.as_str()));
    let validation = config.data.validation.iter().map(|source| ("data.validation", source.url.as_str()));
    let tokenizer = Some(config.data.tokenizer.as_str()).filter(|tokenizer| *tokenizer != "gpt2");
    let tokenizer = tokenizer.map(|url| ("data.tokenizer", url));
    let tasks = &config.evaluation.tasks;
    let files = tasks.iter().filter_map(|task| Some(("evaluation.tasks", task.split_once('=')?.1)));
    let data = ("evaluation.tasks_data", config.evaluation.tasks_data.as_str());
    let of_tasks = files.chain((!tasks.is_empty()).then_some(data)).filter(|(_, url)| !url.is_empty());
    let run = [("run.output", config.run.output.as_str())];
    train.chain(validation).chain(tokenizer).chain(of_tasks).chain(run)
}

/// Lists every URL of a prepare job with its config key.
fn prepare_urls(job: &PrepareJobConfig) -> impl Iterator<Item = (&'static str, &str)> {
    let config = &job.prepare;
    let inputs = config.inputs.iter().map(|url| ("prepare.inputs", url.as_str()));
    let tokenizer = Some(config.tokenizer.as_str()).filter(|tokenizer| *tokenizer != "gpt2");
    let tokenizer = tokenizer.map(|url| ("prepare.tokenizer", url));
    let filter = config.has_overlap_filter().then_some(("prepare.overlap_filter", config.overlap_filter.as_str()));
    let against = job.webtext.against().map(|url| ("webtext.deduplicate.against", url));
    let sets = job.webtext.overlap_files().map(|url| ("webtext.overlap.tasks", url));
    let sets = sets.chain(job.webtext.overlap_data().map(|url| ("webtext.overlap.data", url)));
    inputs.chain([("prepare.output", config.output.as_str())]).chain(tokenizer).chain(filter).chain(against).chain(sets)
}

/// Refuses URLs that pods cannot reach or that may hold a secret: pods reach object stores only, and their config is visible
/// to everyone.
fn check_urls<'a>(mut urls: impl Iterator<Item = (&'static str, &'a str)>) -> Result<(), BackendError> {
    urls.try_for_each(|(key, url)| match is_local(url) {
        true => Err(BackendError::LocalUrl { key, url: url.to_owned() }),
        false => check_secret(key, url),
    })
}

fn is_local(url: &str) -> bool {
    let scheme = url.split_once("://").map_or("file", |(scheme, _)| scheme);
    matches!(scheme, "file" | "memory")
}

fn check_secret(key: &'static str, url: &str) -> Result<(), BackendError> {
    match !is_local(url) && secrets::may_hold_secret(url, TAKING_PATTERNS.contains(&key)) {
        true => Err(BackendError::SecretUrl { key, server: secrets::server(url) }),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signed_address_is_refused_and_a_pattern_is_taken_only_where_there_may_be_one() {
        for (key, url, is_refused) in [
            ("--overlap", "s3://bucket/part-?.jsonl", false),
            ("prepare.inputs", "s3://bucket/??/day=?/x=1/*.txt", false),
            ("data.train", "s3://bucket/part-?.bin", false),
            ("data.validation", "s3://bucket/part-?.bin", false),
            ("prepare.inputs", "s3://bucket/a.txt?versionId&X-Amz-Signature=f00", true),
            ("prepare.inputs", "s3://bucket/a.txt?X%2DAmz-Signature=f00", true),
            ("--tasks", "s3://bucket/a.txt%3Fsig%3Df00", true),
            ("prepare.tokenizer", "s3://bucket/own?TOKEN", true),
            ("run.output", "s3://bucket/run-?", false),
            ("run.output", "s3://bucket/run-?1", true),
            ("webtext.deduplicate.against", "s3://bucket/stages/deduplicate-0123456789abcdef", false),
            ("webtext.deduplicate.against", "https://host/stages/deduplicate-0123456789abcdef?sig=f00", true),
            ("webtext.overlap.tasks", "https://host/a.jsonl?sig=f00", true),
            ("webtext.overlap.data", "s3://bucket/eval-data", false),
            ("prepare.output", "abfss://container@account.dfs.core.windows.net/data", false),
            ("prepare.output", "abfss://container:hunter2@account.dfs.core.windows.net/data", true),
            ("data.tokenizer", "file:///own?", false),
        ] {
            let told = check_secret(key, url).map_err(|error| error.to_string());
            assert_eq!(told.is_err(), is_refused, "{key} = {url}");
            let told = told.err().unwrap_or_default();
            assert!(["f00", "TOKEN", "hunter2"].iter().all(|secret| !told.contains(secret)), "{told}");
        }
    }
}

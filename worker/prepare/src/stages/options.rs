//! What the config says about stages: tables become the options of the package `webtext`, and every fault is named before any
//! work.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use common::config::{ConfigError, Fault, PrepareConfig, StageName, WebtextConfig};
use common::secrets::without_secrets;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use webtext::clean::{CleanOptions, Cleaner, OptionsError, Set};
use webtext::deduplicate::DeduplicateOptions;
use webtext::extract::Limits;

use super::names::stage_of;
use super::overlap::options::OverlapOptions;

/// Hidden subcommand of the prepare program, which extracts pages for its parent.
pub const EXTRACT_COMMAND: &str = "extract-pages";
/// The program that is running, even when another has taken its place on the disk: a job may run for days.
const RUNNING_PROGRAM: &str = "/proc/self/exe";
/// Section of the config.
const SECTION: &str = "webtext";
/// Key of a set of rules.
const SET: &str = "set";

/// Makes commands that start a child of `extract`.
pub type ExtractCommand = Arc<dyn Fn() -> Command + Send + Sync>;

/// Options of all stages.
#[derive(Debug, Clone, PartialEq)]
pub struct StageOptions {
    /// Stages in their order; none for documents that are tokenized as they are.
    pub stages: Vec<StageName>,
    /// Limits of `extract`.
    pub extract: Limits,
    /// Rules of `clean`.
    pub clean: CleanOptions,
    /// Rules of `deduplicate`.
    pub deduplicate: DeduplicateOptions,
    /// What `overlap` looks for, and what it removes.
    pub overlap: OverlapOptions,
    /// Program that extracts pages when it is started with [`EXTRACT_COMMAND`]; `None` for the one that is running.
    pub program: Option<PathBuf>,
}

impl StageOptions {
    /// Reads the options of a config.
    ///
    /// # Errors
    /// Returns all faults, each with its key, its value, what was expected and what to do.
    pub fn read(config: &PrepareConfig, webtext: &WebtextConfig) -> Result<Self, ConfigError> {
        let webtext = webtext.with_absolute_paths();
        // A table without keys may be the default.
        let tables = [
            (StageName::Extract, &webtext.extract),
            (StageName::Clean, &webtext.clean),
            (StageName::Deduplicate, &webtext.deduplicate),
            (StageName::Overlap, &webtext.overlap),
        ];
        let is_given = tables.map(|(stage, table)| (stage, !table.is_empty()));
        let has_no_use = |(stage, is_given): &(StageName, bool)| *is_given && !config.stages.contains(stage);
        let without_stage = is_given.into_iter().filter(has_no_use);
        let mut faults: Vec<Fault> = without_stage.map(|(stage, _)| without(stage, &config.stages)).collect();
        let extract = read_extract(&json(&webtext.extract), &mut faults);
        let clean = read_clean(json(&webtext.clean), &mut faults);
        let deduplicate = read_deduplicate(&json(&webtext.deduplicate), &mut faults);
        let overlap = read_overlap(&json(&webtext.overlap), &config.stages, &mut faults);
        let stages = config.stages.clone();
        match faults.is_empty() {
            true => Ok(StageOptions { stages, extract, clean, deduplicate, overlap, program: None }),
            false => Err(refused(faults)),
        }
    }

    /// Returns the options of a stage as JSON, which is stored and hashed: without secrets in URLs, which change from day to day.
    pub fn of(&self, stage: StageName) -> Value {
        match stage {
            StageName::Extract => json(&self.extract),
            StageName::Clean => json(&self.clean),
            StageName::Deduplicate => json(&without_secrets_of(&self.deduplicate)),
            StageName::Overlap => json(&self.overlap.without_secrets()),
        }
    }

    /// Makes the rules of `clean` ready.
    ///
    /// # Errors
    /// Returns all faults of the rules. Those that were [`read`](Self::read) have none.
    pub fn cleaner(&self) -> Result<Cleaner, ConfigError> {
        Cleaner::new(self.clean.clone()).map_err(|error| refused(faults_of(StageName::Clean, error)))
    }

    /// Returns the maker of commands that start a child of `extract`.
    ///
    /// # Errors
    /// Fails if the system does not tell which program is running.
    pub fn extract_command(&self) -> std::io::Result<ExtractCommand> {
        let running = Path::new(RUNNING_PROGRAM);
        let program = match &self.program {
            Some(program) => program.clone(),
            None if running.exists() => running.to_owned(),
            None => std::env::current_exe()?,
        };
        Ok(Arc::new(move || {
            let mut command = Command::new(&program);
            command.arg(EXTRACT_COMMAND);
            command
        }))
    }
}

fn refused(faults: Vec<Fault>) -> ConfigError {
    ConfigError::Faults { origin: format!("in its section [{SECTION}]"), faults }
}

/// Returns the error for parameters of signatures.
pub(super) fn refused_minhash(error: OptionsError) -> ConfigError {
    refused(faults_of(StageName::Deduplicate, error))
}

/// Returns the section of the rules of a stage.
fn section_of(stage: StageName) -> String {
    format!("{SECTION}.{}", stage.name())
}

/// Returns the fault of a section for a `stage` that is not among the `stages` of the job.
fn without(stage: StageName, stages: &[StageName]) -> Fault {
    let mut with = [stages, &[stage]].concat();
    with.sort();
    let names: Vec<String> = with.iter().map(|stage| format!("{:?}", stage.name())).collect();
    let hint = format!(
        "has no use without the stage {}; write prepare.stages = [{}], or leave this section out",
        stage.name(),
        names.join(", ")
    );
    Fault { key: section_of(stage), value: None, hint }
}

fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_else(|e| unreachable!("options are JSON: {e}"))
}

fn read_extract(given: &Value, faults: &mut Vec<Fault>) -> Limits {
    let section = section_of(StageName::Extract);
    let limits: Limits = read(&Limits::default(), given, &section, faults);
    let mut within = |key: &str, value: u64, least: u64, most: u64| {
        if !(least..=most).contains(&value) {
            let hint = format!("must be from {least} to {most}; leave it out for {}", json(&Limits::default())[key]);
            faults.push(Fault { key: format!("{section}.{key}"), value: Some(value.to_string()), hint });
        }
    };
    within("page_bytes", limits.page_bytes, 1, 64 << 20);
    within("depth", limits.depth as u64, 1, 1 << 14);
    within("refused_depth", limits.refused_depth as u64, 1, 1 << 20);
    within("attribute_bytes", limits.attribute_bytes as u64, 0, 64 << 20);
    within("memory_bytes", limits.memory_bytes, Limits::MEMORY_BYTES_MIN, 1 << 40);
    within("cpu_ms", limits.cpu_ms, 1, 3_600_000);
    within("wall_ms", limits.wall_ms, 1, 3_600_000);
    limits
}

fn read_clean(mut given: Value, faults: &mut Vec<Fault>) -> CleanOptions {
    let section = section_of(StageName::Clean);
    let set = given.as_object_mut().and_then(|given| given.remove(SET));
    let set = match set.map(|set| (set.to_string(), serde_json::from_value::<Set>(set))) {
        None => Set::default(),
        Some((_, Ok(set))) => set,
        Some((value, Err(_))) => {
            let hint =
                "is no set of rules; give \"fineweb\" or \"paper\", and change single rules beside it".to_owned();
            faults.push(Fault { key: format!("{section}.{SET}"), value: Some(value), hint });
            Set::default()
        }
    };
    let options = read(&set.options(), &given, &section, faults);
    if let Err(error) = options.check() {
        faults.extend(faults_of(StageName::Clean, error));
    }
    options
}

fn read_deduplicate(given: &Value, faults: &mut Vec<Fault>) -> DeduplicateOptions {
    let section = section_of(StageName::Deduplicate);
    let options: DeduplicateOptions = read(&DeduplicateOptions::default(), given, &section, faults);
    if let Err(error) = options.check() {
        faults.extend(faults_of(StageName::Deduplicate, error));
    }
    for folder in options.against.iter().filter(|folder| !is_of_deduplication(folder)) {
        let hint =
            "is no folder of an earlier deduplication; it ends in stages/deduplicate- and 16 hex digits".to_owned();
        faults.push(Fault { key: format!("{section}.against"), value: Some(format!("{folder:?}")), hint });
    }
    let is_again = |at: usize| options.against[..at].iter().any(|other| same_folder(other, &options.against[at]));
    for at in (0..options.against.len()).filter(|at| is_again(*at)) {
        let (key, value) = (format!("{section}.against"), Some(format!("{:?}", options.against[at])));
        faults.push(Fault { key, value, hint: "is there twice; leave one out".to_owned() });
    }
    options
}

fn same_folder(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}

fn read_overlap(given: &Value, stages: &[StageName], faults: &mut Vec<Fault>) -> OverlapOptions {
    let section = section_of(StageName::Overlap);
    let before = faults.len();
    let options: OverlapOptions = read(&OverlapOptions::default(), given, &section, faults);
    let mut more = options.faults(&section, stages.contains(&StageName::Overlap));
    // A value that does not fit was replaced by the default, which has faults of its own.
    more.retain(|fault| !faults[before..].iter().any(|known| known.key == fault.key));
    faults.extend(more);
    options
}

/// Returns whether a folder was made by the stage `deduplicate`, by its name. The digits in it stand for all that is in there.
fn is_of_deduplication(folder: &str) -> bool {
    let folder = shown(folder);
    let name = folder.rsplit('/').next().unwrap_or_default();
    stage_of(name) == Some(StageName::Deduplicate.name())
}

/// Returns what is shown of a folder: no secrets, and no slash at its end.
fn shown(folder: &str) -> String {
    without_secrets(folder).trim_end_matches('/').to_owned()
}

/// Returns the rules with what is shown of folders.
fn without_secrets_of(options: &DeduplicateOptions) -> DeduplicateOptions {
    let against = options.against.iter().map(|folder| shown(folder)).collect();
    DeduplicateOptions { against, ..options.clone() }
}

/// Returns the faults of a stage's rules by their keys in the config.
fn faults_of(stage: StageName, error: OptionsError) -> Vec<Fault> {
    let section = section_of(stage);
    let fault = |fault: webtext::clean::options::Fault| Fault {
        key: format!("{section}.{}", fault.key),
        value: Some(fault.value),
        hint: format!("expected {}; {}", fault.expected, fault.hint),
    };
    error.faults.into_iter().map(fault).collect()
}

/// Returns `base` with the values that are `given`, which is a table of tables. Those that do not fit are faults, and left out.
fn read<T: Serialize + DeserializeOwned + Clone>(base: &T, given: &Value, path: &str, faults: &mut Vec<Fault>) -> T {
    let mut merged = json(base);
    let mut keys = Vec::new();
    merge::<T>(&mut merged, given, &mut keys, path, faults);
    serde_json::from_value(merged).unwrap_or_else(|_| base.clone())
}

/// Puts the values in the table `given` into the table at `keys` in `whole`, each if it makes a `T` of the whole.
fn merge<T: DeserializeOwned>(
    whole: &mut Value,
    given: &Value,
    keys: &mut Vec<String>,
    path: &str,
    faults: &mut Vec<Fault>,
) {
    for (key, value) in given.as_object().into_iter().flatten() {
        let here = at(whole, keys);
        let known: Option<Value> = here.get(key).cloned();
        let key_path = [&[path.to_owned()], &keys[..], std::slice::from_ref(key)].concat().join(".");
        let mut fault = |hint: String| {
            faults.push(Fault { key: key_path.clone(), value: Some(value.to_string()), hint });
        };
        match (known, value) {
            (None, _) => {
                let all: Vec<&str> = here.keys().map(String::as_str).collect();
                fault(format!("unknown key; this table has {}", all.join(", ")));
            }
            (Some(Value::Object(_)), Value::Object(_)) => {
                keys.push(key.clone());
                merge::<T>(whole, value, keys, path, faults);
                keys.pop();
            }
            (Some(Value::Object(_)), _) => fault(format!("is a table; write [{key_path}] and its keys below")),
            (Some(before), value) => {
                here.insert(key.clone(), value.clone());
                if let Err(error) = T::deserialize(&*whole) {
                    fault(format!("{error}; its default is {before}"));
                    at(whole, keys).insert(key.clone(), before);
                }
            }
        }
    }
}

/// Returns the table at `keys`, which is there.
fn at<'v>(whole: &'v mut Value, keys: &[String]) -> &'v mut Map<String, Value> {
    let table = keys.iter().fold(whole, |table, key| &mut table[key]);
    table.as_object_mut().unwrap_or_else(|| unreachable!("options are tables"))
}

//! The prepare program, from arguments to exit code: one process, or one of many that mpirun has started.

mod dry_run_command;
mod explain_command;
mod tokenizer_command;

use std::fmt::Display;
use std::io::Write;
use std::panic;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use common::config::{PrepareConfig, PrepareJobConfig, RawConfig, StorageConfig};
use common::exit_code::ExitCode;
use common::limits::describe_panic;
use common::untrusted::printable_lines;
use common::worker_contract::{PROGRESS_MARK, PrepareProgress};
use common::{single_copy, telemetry};
use dry_run_command::DryRunArgs;
use explain_command::ExplainArgs;
use nix::sys::prctl::{set_name, set_pdeathsig};
use nix::sys::signal::Signal;
use prepare::flags::in_flags;
use prepare::inputs::{LONGEST_DOCUMENT, ReadOptions};
use prepare::progress::{Audience, LogLines};
use prepare::ranks::{self, Ranks};
use prepare::stages::StageOptions;
use prepare::summary::Summary;
use prepare::survey::survey;
use prepare::train_tokenizer::TrainingError;
use prepare::{PrepareError, job, panics, printed};
use serde::{Deserialize, Serialize};
use tokenizer_command::{OnBad, TokenizerArgs};

/// Prepares documents for training.
///
/// Exit codes: 0 done, 2 usage or config, 3 data missing, corrupt or denied, or a disk or store is full, 4 a rank was lost,
/// 6 storage unreachable, 70 a bug.
#[derive(Parser)]
#[command(name = "prepare", version)]
struct Cli {
    #[command(subcommand)]
    job: Job,
}

#[derive(Subcommand)]
enum Job {
    /// Turns documents into token shards for training and validation. Under mpirun, this process is one rank of many.
    ///
    /// Reads the `prepare`, `webtext` and `storage` sections of a TOML file. Running the command again continues a job that was killed,
    /// and does nothing once the data is there.
    ///
    /// Example: mpirun -n 4 prepare shards --config configs/prepare-text.toml
    Shards(ShardsArgs),
    /// Trains a tokenizer on texts and writes its files: vocab.json, merges.txt, tokenizer.json, tokenizer_config.json.
    ///
    /// Example: prepare tokenizer --vocab-size 32000 --output my-tokenizer/ my-text/
    Tokenizer(TokenizerArgs),
    /// Extracts the pages that come on standard input, for a prepare job that has started this process.
    #[command(hide = true)]
    ExtractPages,
    /// Prints what `prepare shards` would do, and what is done already. Writes nothing.
    ///
    /// Example: prepare dry-run --config configs/prepare-webtext.toml
    DryRun(DryRunArgs),
    /// Prints what became of a document, and why.
    ///
    /// Example: prepare explain https://example.com/page --config configs/prepare-webtext.toml
    Explain(ExplainArgs),
    /// Estimates how much text there is, and prints it as JSON; for the launcher's use.
    #[command(hide = true)]
    Survey(SurveyArgs),
}

#[derive(Args)]
struct SurveyArgs {
    /// Texts: files, folders or patterns, by path or URL.
    #[arg(value_name = "TEXT", required = true)]
    texts: Vec<String>,
    /// Tokenizer by which tokens are counted.
    #[arg(long, value_name = "gpt2|PATH|URL", default_value = "gpt2")]
    tokenizer: String,
    /// Field of a JSON line, or column of a Parquet file, that holds the text.
    #[arg(long, value_name = "FIELD", default_value = "text")]
    text_field: String,
    /// Whether a document that cannot be read is an error, or is left out.
    #[arg(long, value_enum, default_value = "fail")]
    on_bad_document: OnBad,
}

#[derive(Args)]
struct ShardsArgs {
    /// Config file. Only rank 0 reads it.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Overrides a value of the config; may be repeated, and the last one wins.
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// Threads of this rank; 0 takes its share of the cores.
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// Prints the summary as JSON.
    #[arg(long)]
    json: bool,
    /// Prints progress for a program, on standard output; for the launcher's use.
    #[arg(long, hide = true)]
    progress_lines: bool,
}

fn main() -> std::process::ExitCode {
    single_copy::forbid_where_refused();
    exit_on_panic();
    let job = Cli::parse().job;
    telemetry::init();
    match job {
        Job::Shards(arguments) => run_shards(&arguments),
        Job::Tokenizer(arguments) => answer(arguments.run(), TrainingError::exit_code, arguments.json).into(),
        Job::DryRun(arguments) => answer(arguments.run(), PrepareError::exit_code, arguments.json).into(),
        Job::Explain(arguments) => answer(arguments.run(), PrepareError::exit_code, arguments.json).into(),
        Job::Survey(arguments) => run_survey(&arguments).into(),
        Job::ExtractPages => extract_pages().into(),
    }
}

/// Extracts pages until the input ends, which it does when the parent ends.
fn extract_pages() -> ExitCode {
    // By this name it is listed, instead of that of the link by which it was started.
    let _ = set_name(c"extract-pages");
    // A page that takes long would outlive a parent that was killed. If this is refused, it does so for some seconds.
    let _ = set_pdeathsig(Signal::SIGKILL);
    match webtext::extract::serve(std::io::stdin(), std::io::stdout()) {
        Ok(()) => ExitCode::Done,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::Config
        }
    }
}

fn run_shards(arguments: &ShardsArgs) -> ! {
    let ranks = Ranks::enter();
    let code = match shards(arguments, &ranks) {
        Ok(summary) => {
            if ranks.rank() == 0 {
                say(&summary, arguments.json);
            }
            ExitCode::Done
        }
        Err(error) => {
            let who = if ranks.count() > 1 { format!("rank {}: ", ranks.rank()) } else { String::new() };
            let _ = writeln!(std::io::stderr(), "error: {who}{}", printable_lines(&error.to_string()));
            error.exit_code()
        }
    };
    ranks.end(code)
}

/// Prints the result of a job for which one process is enough.
fn answer<E: Display>(
    result: Result<impl Serialize + Display, E>,
    exit_code: impl Fn(&E) -> ExitCode,
    json: bool,
) -> ExitCode {
    match result {
        Ok(summary) => {
            say(&summary, json);
            ExitCode::Done
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {}", printable_lines(&error.to_string()));
            exit_code(&error)
        }
    }
}

/// Looks at texts, and prints what is there.
fn run_survey(arguments: &SurveyArgs) -> ExitCode {
    let SurveyArgs { texts, tokenizer, text_field, on_bad_document } = arguments;
    let options = ReadOptions { text_field: text_field.clone(), document_bytes_max: LONGEST_DOCUMENT as usize };
    match survey(texts, tokenizer, (&options, on_bad_document.value()), &StorageConfig::default()) {
        Ok(survey) => {
            let json = serde_json::to_string(&survey).unwrap_or_else(|e| unreachable!("a survey is JSON: {e}"));
            to_stdout(&(json + "\n"));
            ExitCode::Done
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {}", printable_lines(&in_flags(&error)));
            error.exit_code()
        }
    }
}

fn shards(arguments: &ShardsArgs, ranks: &Ranks) -> Result<Summary, PrepareError> {
    let (config, options, storage) = shared_config(arguments, ranks)?;
    let threads = ranks::threads(arguments.threads);
    let mut audience: Box<dyn Audience> = match arguments.progress_lines {
        true => Box::new(ProgressLines),
        false => Box::<LogLines>::default(),
    };
    job::run(&config, &options, &storage, ranks, threads, audience.as_mut())
}

/// Returns rank 0's config on every rank: others may have neither its files nor its working directory.
fn shared_config(
    arguments: &ShardsArgs,
    ranks: &Ranks,
) -> Result<(PrepareConfig, StageOptions, StorageConfig), PrepareError> {
    let mut own = None;
    let (toml, absolute): (String, AbsolutePaths) = ranks.share("a config", || {
        let config = RawConfig::load(&arguments.config, &arguments.set)?.prepare()?;
        let PrepareConfig { inputs, output, tokenizer, overlap_filter, .. } = config.prepare.with_absolute_paths();
        let options = StageOptions::read(&config.prepare, &config.webtext)?;
        let toml = PrepareJobConfig { webtext: config.webtext.with_absolute_paths(), ..config.clone() }.to_toml();
        own = Some((config.prepare, options, config.storage));
        Ok::<_, PrepareError>((toml, AbsolutePaths { inputs, output, tokenizer, overlap_filter }))
    })?;
    if let Some(own) = own {
        return Ok(own);
    }
    let PrepareJobConfig { prepare, webtext, storage, .. } = RawConfig::parse("from rank 0", &toml, &[])?.prepare()?;
    let options = StageOptions::read(&prepare, &webtext)?;
    let AbsolutePaths { inputs, output, tokenizer, overlap_filter } = absolute;
    Ok((PrepareConfig { inputs, output, tokenizer, overlap_filter, ..prepare }, options, storage))
}

/// Paths of a config, made absolute: relative ones mean something else in another folder.
#[derive(Serialize, Deserialize)]
struct AbsolutePaths {
    inputs: Vec<String>,
    output: String,
    tokenizer: String,
    overlap_filter: String,
}

/// Prints progress for the launcher.
struct ProgressLines;

impl Audience for ProgressLines {
    fn hear(&mut self, progress: &PrepareProgress) {
        let json = serde_json::to_string(progress).unwrap_or_else(|e| unreachable!("progress is JSON: {e}"));
        to_stdout(&format!("{PROGRESS_MARK}{json}\n"));
    }
}

/// Prints `text`. A reader that has closed the output is no error: the data is there all the same.
fn to_stdout(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

fn say(summary: &(impl Serialize + Display), json: bool) {
    to_stdout(&if json { printed::json(summary) } else { summary.to_string() });
}

/// Makes a panic on any thread end the process, upon which mpirun ends the others.
fn exit_on_panic() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if panics::is_guarded() {
            return;
        }
        report(info);
        let (message, code) = describe_panic(info);
        tracing::error!("{message}");
        std::process::exit(i32::from(code.number()));
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test runs itself again in a process of its own, which panics on another thread.
    #[test]
    fn a_panic_on_any_thread_exits_70() {
        const CHILD: &str = "PREPARE_TEST_PANICS";
        if std::env::var_os(CHILD).is_some() {
            exit_on_panic();
            let _ = std::thread::spawn(|| panic!("on purpose")).join();
            return;
        }
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tests::a_panic_on_any_thread_exits_70"])
            .env(CHILD, "1")
            .output()
            .unwrap()
            .status;
        assert_eq!(status.code(), Some(70));
    }
}

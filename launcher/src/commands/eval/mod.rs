//! `launcher eval`: runs ranks that score a checkpoint's answers, attempt after attempt, and prints the table.
//!
//! - this file: the command, from its arguments to the table. [`config`]: the config of the ranks. [`cluster`]: what pods run.
//! - [`results`]: what the ranks have put into the store. [`table`]: the table of results. [`overlap`]: that of overlap.
//! - [`tasks`]: the list of all tasks.

mod cluster;
mod config;
mod overlap;
mod results;
mod table;
mod tasks;

use common::checkpoint_layout::EVALUATIONS_FOLDER;
use common::checkpoint_store::run_of;
use common::config::{Backend as BackendKind, RunConfig};
use common::exit_code::ExitCode;
use common::storage::{Folder, absolute_url, absolute_words};
use common::topology::Rank;
use common::worker_contract::{EVALUATED_MARK, Evaluated, EvaluationProgress, OVERLAP_MARK, PROGRESS_MARK, StartLine};
use evaluation::overlap::OverlapSummary;
use evaluation::tasks::{Chosen, choose};

use super::error::CommandError;
use super::following::{Listener, follow, relay};
use super::{launching, overrides};
use crate::backend::kubernetes::Kubernetes;
use crate::backend::{Backend, RankProgram};
use crate::cli::evaluation::EvalArgs;
use crate::error::LaunchError;
use crate::interrupts::Interrupts;
use crate::programs;
use crate::view::evaluation::EvaluationView;
use crate::view::terminal::to_stdout;

/// Evaluates to the end, until somebody stops it, or until another attempt would not help.
pub fn run(mut args: EvalArgs) -> Result<ExitCode, LaunchError> {
    if args.list {
        tasks::list();
        return Ok(ExitCode::Done);
    }
    args.overrides.extend(overrides::of_launch(&args.launch));
    if args.is_overlap_only() && args.samples.is_some() {
        return Err(CommandError::SamplesOfOverlap.into());
    }
    let options = options(&args)?;
    let mut config = config::of(&args)?;
    let script = batch_script(&args, &config, &options.words)?;
    if let Some(script) = script.as_ref().filter(|_| !args.render) {
        return launching::submit(script);
    }
    common::storage::make_urls_absolute(&mut config)?;
    if args.render {
        let rendered = script.map_or_else(|| backend(&args, &config, options)?.render(), Ok)?;
        to_stdout(rendered.trim_end());
        return Ok(ExitCode::Done);
    }
    let start_line = StartLine::without_attempt(&config);
    let backend = backend(&args, &config, options)?;
    if let Some(attempt) = launching::handed()? {
        let mut interrupts = Interrupts::install().map_err(LaunchError::system("handle signals"))?;
        return relay(backend.as_ref(), &config.launch, Some(&start_line), &mut interrupts, attempt.number);
    }
    if let Some(path) = &args.samples {
        results::check_writable(path)?;
    }
    let folder = if args.is_overlap_only() { None } else { Some(evaluations(&args, &config)?) };
    let mut interrupts = Interrupts::install().map_err(LaunchError::system("handle signals"))?;
    let mut shown = Shown::new();
    let code = follow(backend.as_ref(), &config.launch, Some(&start_line), &mut interrupts, &mut shown)?;
    if code == ExitCode::Done {
        let leaving = interrupts.leave_meanwhile("the store of the results");
        match &folder {
            Some(folder) => results::show(folder, &shown.evaluated, &args)?,
            None => overlap::show(&shown.overlaps, &args),
        }
        drop(leaving);
    }
    Ok(code)
}

/// Options that the worker takes as this command does, with places that hold in any folder.
struct Options {
    words: Vec<String>,
    /// Places among the words, each with its option.
    places: Vec<(&'static str, String)>,
}

/// Returns the options that `args` give.
fn options(args: &EvalArgs) -> Result<Options, LaunchError> {
    let (mut words, mut places) = (Vec::new(), Vec::new());
    let url = |url: &Option<String>| url.as_deref().map(absolute_url).transpose();
    for (option, place) in [
        ("--checkpoint", url(&args.checkpoint)?.map(String::from)),
        ("--data", url(&args.data)?.map(String::from)),
        ("--output", url(&args.output)?.map(String::from)),
        ("--overlap", args.overlap.as_deref().map(absolute_words).transpose()?),
        ("--save-filter", url(&args.save_filter)?.map(String::from)),
    ] {
        words.extend(place.as_ref().map(|place| format!("{option}={place}")));
        places.extend(place.map(|place| (option, place)));
    }
    let mut chosen = choose(args.tasks.as_deref().unwrap_or_default()).map_err(CommandError::from)?;
    for file in chosen.iter_mut().filter_map(|chosen| chosen.file.as_mut()) {
        // A comma in a name would end the task in the worker's list.
        *file = absolute_url(file)?.to_string().replace(',', "%2C");
        places.push(("--tasks", file.clone()));
    }
    let tasks: Vec<String> = chosen.iter().map(Chosen::to_string).collect();
    let number = |number: Option<u32>| number.map(|number| number.to_string());
    let others = [
        ("--tasks", Some(tasks.join(","))),
        ("--limit", number(args.limit)),
        ("--shots", Some(args.shots.to_string())),
        ("--window", number(args.window)),
        ("--stride", number(args.stride)),
        ("--on-long", Some(args.on_long.word().to_owned())),
        ("--save-every-s", Some(args.save_every_s.to_string())),
    ];
    words.extend(others.into_iter().filter_map(|(option, value)| Some(format!("{option}={}", value?))));
    words.extend(args.is_overlap_only().then(|| "--overlap-only".to_owned()));
    Ok(Options { words, places })
}

/// Creates the backend that starts the ranks of `config`.
fn backend(args: &EvalArgs, config: &RunConfig, options: Options) -> Result<Box<dyn Backend>, LaunchError> {
    if config.launch.backend == BackendKind::Kubernetes {
        return Ok(Box::new(Kubernetes::new(cluster::work(args, config, options))?));
    }
    let with_samples = args.samples.is_some();
    let arguments = Box::new(move |_| job(&options.words, with_samples));
    let program = RankProgram { executable: programs::worker()?, arguments };
    launching::backend(&config.launch, program, None)
}

/// Returns the arguments of the worker.
fn job(options: &[String], with_samples: bool) -> Vec<std::ffi::OsString> {
    let mut words = vec!["eval".to_owned(), "--from-launcher".to_owned(), "--progress-lines".to_owned()];
    words.extend(with_samples.then(|| "--samples".to_owned()));
    words.extend_from_slice(options);
    words.into_iter().map(Into::into).collect()
}

/// Returns the script that evaluates in a batch job, if the ranks are left to Slurm and this process is not in a job yet.
fn batch_script(args: &EvalArgs, config: &RunConfig, options: &[String]) -> Result<Option<String>, LaunchError> {
    let target = args.target();
    let mut words = match target {
        Some(_) => Vec::new(),
        None => args.overrides.iter().map(|given| format!("--set={given}")).collect(),
    };
    words.extend_from_slice(options);
    words.extend(args.samples.as_ref().map(|path| format!("--samples={}", path.display())));
    words.extend(args.json.then(|| "--json".to_owned()));
    words.extend(args.markdown.then(|| "--markdown".to_owned()));
    launching::batch_script(&config.launch, &config.run.name, "eval", target.as_ref(), &words)
}

/// Returns the folder of evaluations: of `--output`, or else of the checkpoint's run.
fn evaluations(args: &EvalArgs, config: &RunConfig) -> Result<Folder, LaunchError> {
    if let Some(output) = &args.output {
        return Ok(Folder::open(output, &config.storage)?);
    }
    let run = match &args.checkpoint {
        None => Folder::open(&config.run.output, &config.storage)?,
        Some(url) => {
            let shown = || Folder::open(url, &config.storage).map(|folder| folder.url().to_owned());
            match run_of(url, &config.storage)? {
                Some(run) => run,
                None => return Err(CommandError::NoOutput { url: shown()? }.into()),
            }
        }
    };
    Ok(run.folder(EVALUATIONS_FOLDER))
}

/// Shows what the ranks print, and keeps where their results are.
struct Shown {
    view: EvaluationView,
    evaluated: Vec<Evaluated>,
    /// Overlap of each task, if only that was asked for.
    overlaps: Vec<OverlapSummary>,
    pulse: u64,
}

impl Shown {
    fn new() -> Self {
        Shown { view: EvaluationView::new(), evaluated: Vec::new(), overlaps: Vec::new(), pulse: 0 }
    }
}

impl Listener for Shown {
    fn begin(&mut self) {
        self.view.begin();
        self.evaluated.clear();
        self.overlaps.clear();
    }

    fn hear(&mut self, rank: Rank, line: &str) {
        // Partial lines, from ranks that were killed, are ignored.
        if let Some(progress) = line.strip_prefix(PROGRESS_MARK) {
            if let Ok(progress) = serde_json::from_str::<EvaluationProgress>(progress) {
                self.view.hear(rank, progress);
                self.pulse += 1;
            }
        } else if let Some(evaluated) = line.strip_prefix(EVALUATED_MARK) {
            self.evaluated.extend(serde_json::from_str::<Evaluated>(evaluated));
        } else if let Some(overlap) = line.strip_prefix(OVERLAP_MARK) {
            self.overlaps.extend(serde_json::from_str::<OverlapSummary>(overlap));
        } else {
            self.view.end();
            to_stdout(line);
        }
    }

    fn done(&self) -> u64 {
        self.view.done()
    }

    fn pulse(&self) -> u64 {
        self.pulse
    }

    fn say(&self, text: &str) {
        self.view.say(text);
    }

    fn end(&mut self) {
        self.view.end();
    }
}

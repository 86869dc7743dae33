//! The worker: one process per rank. Arguments become a job, a job becomes an exit code.
//!
//! Started by the launcher, or by hand as an ordinary MPI program: `mpirun -n 16 worker train --config run.toml`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode as ProcessExitCode;

use clap::{Args, Parser, Subcommand};
use common::config::{ConfigError, RawConfig, RunConfig};
use common::exit_code::ExitCode;
use common::preflight::FACTS_MARK;
use common::single_copy;
use common::untrusted::printable_lines;
use common::worker_contract::FromRank;
use serde::Serialize;
use worker::bench::checkpoint::bench_checkpoint;
use worker::bench::step::bench_step;
use worker::bench::stream::bench_stream;
use worker::collectives::{Collectives, Label};
use worker::error::JobError;
use worker::evaluate::arguments::OptionArgs;
use worker::evaluate::evaluate;
use worker::generate::draw::Draw;
use worker::generate::{SampleOptions, sample};
use worker::libtorch;
use worker::preflight;
use worker::train::train;
use worker::tunables;
use worker::world::{self, Equipment, Origin, World};

/// One rank of a Convoy job.
#[derive(Parser)]
#[command(name = "worker", version)]
struct Cli {
    #[command(subcommand)]
    job: Job,
}

#[derive(Subcommand)]
enum Job {
    /// Train, resuming from the newest checkpoint. Under mpirun, one rank of many.
    ///
    /// Example: mpirun -n 2 worker train --config configs/tiny-cpu.toml
    Train(TrainArgs),
    /// Print text from a checkpoint.
    ///
    /// Example: worker sample --config configs/tiny-cpu.toml --prompt "Once"
    Sample(SampleArgs),
    /// Evaluate a checkpoint by tasks, and put the results beside it. Under mpirun, one rank of many.
    ///
    /// Example: mpirun -n 2 worker eval --config configs/tiny-cpu.toml --tasks lambada_harness --data eval-data
    Eval(EvalArgs),
    /// Gather facts about the hosts of all ranks, as `launcher check` does, and print them as a line of JSON.
    ///
    /// Example: mpirun -n 2 worker check --config configs/tiny-cpu.toml
    Check(CheckArgs),
    /// Time the training step alone on made-up tokens, and print JSON.
    ///
    /// Example: worker bench-step --model gpt2-124m --batch 4 --sequence 64 --steps 5 --threads 2
    BenchStep(BenchArgs),
    /// Time the token stream alone, with no training, and print JSON.
    ///
    /// Example: mpirun -n 2 worker bench-stream --config configs/tiny-cpu.toml --tokens 100000
    BenchStream(StreamArgs),
    /// Time saving and restoring alone, in the config's run folder, and print JSON.
    ///
    /// Example: mpirun -n 2 worker bench-checkpoint --config run.toml --saves 3
    BenchCheckpoint(CheckpointArgs),
}

#[derive(Args)]
struct ConfigArgs {
    /// The config file; see configs/README.md.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Override one value; repeatable.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    overrides: Vec<String>,
}

/// Where a job has its config from.
#[derive(Args)]
struct SourceArgs {
    /// Read the config from standard input, with all else that the launcher says there; for the launcher's use.
    #[arg(long, conflicts_with_all = ["config", "overrides"], required_unless_present = "config")]
    from_launcher: bool,
    /// The config file; see configs/README.md. Only rank 0 reads it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Override one value; repeatable.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    overrides: Vec<String>,
}

impl SourceArgs {
    /// Returns the origin of the config of a job that claims no run.
    fn for_looking(self) -> Origin {
        match self.config {
            Some(path) => Origin::Look { path, overrides: self.overrides },
            None => Origin::Launcher,
        }
    }
}

#[derive(Args)]
struct TrainArgs {
    /// A key that may differ from the config that the run was saved with; repeatable.
    #[arg(long = "accept-change", value_name = "SECTION.KEY", conflicts_with = "from_launcher")]
    accept_changes: Vec<String>,
    #[command(flatten)]
    source: SourceArgs,
}

#[derive(Args)]
struct CheckArgs {
    #[command(flatten)]
    source: SourceArgs,
}

#[derive(Args)]
struct SampleArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// Beginning of the text; empty for the start of a document.
    #[arg(long, default_value = "")]
    prompt: String,
    /// Number of tokens to draw at most; the text may end before.
    #[arg(long, default_value_t = 100)]
    tokens: u64,
    /// Temperature, which divides the logits; 0 takes the likeliest token.
    #[arg(long, default_value_t = 1.0)]
    temperature: f64,
    /// Draw only from this many of the likeliest tokens; 0 for all.
    #[arg(long, default_value_t = 0)]
    top_k: u64,
    /// Draw only from the likeliest tokens that together have this probability.
    #[arg(long, default_value_t = 1.0)]
    top_p: f64,
    /// Seed of the draws.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder name of a checkpoint, as `launcher checkpoints list` shows it; by default the newest.
    #[arg(long, value_name = "NAME")]
    checkpoint: Option<String>,
}

#[derive(Args)]
struct EvalArgs {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    options: OptionArgs,
}

#[derive(Args)]
struct BenchArgs {
    /// Preset of the model, such as gpt2-124m.
    #[arg(long)]
    model: String,
    /// Sequences per step over all ranks.
    #[arg(long)]
    batch: u64,
    /// Limit of the sequences per forward pass; by default a rank's whole share.
    #[arg(long)]
    micro: Option<u64>,
    /// Tokens per sequence.
    #[arg(long)]
    sequence: u64,
    /// Steps to time.
    #[arg(long, default_value_t = 5)]
    steps: u64,
    /// Compute threads of this rank.
    #[arg(long, default_value_t = 0)]
    threads: u32,
    /// Override one value of the config; repeatable.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    overrides: Vec<String>,
}

#[derive(Args)]
struct StreamArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Number of tokens that each rank takes, rounded up to whole steps.
    #[arg(long)]
    tokens: u64,
}

#[derive(Args)]
struct CheckpointArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Number of times to save, and to restore.
    #[arg(long, default_value_t = 3)]
    saves: u64,
}

fn main() -> ProcessExitCode {
    tunables::set();
    libtorch::prepare_process();
    single_copy::forbid_where_refused();
    common::telemetry::init();
    world::abort_on_panic();
    match run(Cli::parse().job) {
        Ok(code) => {
            world::leave();
            code.into()
        }
        Err(error) => {
            // Does not return if there are other ranks to end.
            world::fail(&error.to_string(), error.exit_code());
            error.exit_code().into()
        }
    }
}

fn run(job: Job) -> Result<ExitCode, JobError> {
    match job {
        Job::Train(args) => run_train(args),
        // One process, on a person's terminal: its error is no line of a rank's log.
        Job::Sample(args) => Ok(run_sample(args).map_or_else(|error| report(&error), |()| ExitCode::Done)),
        Job::Eval(args) => run_eval(args),
        Job::Check(args) => run_check(args),
        Job::BenchStep(args) => run_bench_step(&args),
        Job::BenchStream(args) => run_bench_stream(&args),
        Job::BenchCheckpoint(args) => run_bench_checkpoint(&args),
    }
}

fn run_sample(args: SampleArgs) -> Result<(), JobError> {
    let mut config = sample_config(&args.source)?;
    common::storage::make_urls_absolute(&mut config)?;
    world::set_threads(config.launch.threads_per_rank);
    let SampleArgs { prompt, tokens, temperature, top_k, top_p, seed, checkpoint, .. } = args;
    let draw = Draw { temperature, top_k, top_p };
    sample(&config, &SampleOptions { prompt, tokens, draw, seed, checkpoint })
}

/// Prints an error as the launcher prints its own, and returns its exit code.
fn report(error: &JobError) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "error: {}", printable_lines(&error.to_string()));
    error.exit_code()
}

/// Reads the config of a sample: a file, or what the launcher writes to standard input.
fn sample_config(source: &SourceArgs) -> Result<RunConfig, ConfigError> {
    if let Some(path) = &source.config {
        return RawConfig::load(path, &source.overrides)?.run();
    }
    let unreadable = |source| ConfigError::Unreadable { path: "on standard input".into(), source };
    let text = std::io::read_to_string(std::io::stdin()).map_err(unreadable)?;
    RawConfig::parse("on standard input", &text, &[])?.run()
}

fn run_train(args: TrainArgs) -> Result<ExitCode, JobError> {
    let SourceArgs { config, overrides, .. } = args.source;
    let origin = match config {
        Some(path) => Origin::File { path, overrides, accepted_changes: args.accept_changes },
        None => Origin::Launcher,
    };
    let world = World::enter(&origin)?;
    world::set_threads(world.config.launch.threads_per_rank);
    let code = train(&world)?;
    world.collectives.barrier(Label::new("the end of the run")).wait()?;
    world.control.send(&FromRank::Exit { code, message: code.meaning().into() });
    Ok(code)
}

fn run_check(args: CheckArgs) -> Result<ExitCode, JobError> {
    let world = World::enter(&args.source.for_looking())?;
    world::set_threads(world.config.launch.threads_per_rank);
    let facts = preflight::check(&world)?;
    if world.collectives.rank().is_zero() {
        #[allow(clippy::print_stdout, reason = "the result of the command")]
        {
            println!("{FACTS_MARK}{}", to_json(&facts));
        }
    }
    world.collectives.barrier(Label::new("the end of the check")).wait()?;
    Ok(ExitCode::Done)
}

fn run_eval(args: EvalArgs) -> Result<ExitCode, JobError> {
    let world = World::enter(&args.source.for_looking())?;
    world::set_threads(world.config.launch.threads_per_rank);
    evaluate(&world, &args.options.into())?;
    world.collectives.barrier(Label::new("the end of the evaluation")).wait()?;
    Ok(ExitCode::Done)
}

fn run_bench_step(args: &BenchArgs) -> Result<ExitCode, JobError> {
    let ranks = world::start_collectives()?;
    world::set_threads(args.threads);
    let micro = args.micro.unwrap_or_else(|| args.batch.div_ceil(u64::from(ranks.world_size().get())));
    let config = bench_config(args, micro)?;
    let Equipment { device, collectives: ranks, .. } = Equipment::choose(&config, ranks)?;
    print_on_one(ranks.as_ref(), &bench_step(&config, device, ranks.as_ref(), args.steps)?);
    Ok(ExitCode::Done)
}

fn run_bench_stream(args: &StreamArgs) -> Result<ExitCode, JobError> {
    let ranks = world::start_collectives()?;
    let mut config = RawConfig::load(&args.config.config, &args.config.overrides)?.run()?;
    common::storage::make_urls_absolute(&mut config)?;
    print_on_one(ranks.as_ref(), &bench_stream(&config, ranks.as_ref(), args.tokens)?);
    Ok(ExitCode::Done)
}

fn run_bench_checkpoint(args: &CheckpointArgs) -> Result<ExitCode, JobError> {
    let ranks = world::start_collectives()?;
    let mut config = RawConfig::load(&args.config.config, &args.config.overrides)?.run()?;
    common::storage::make_urls_absolute(&mut config)?;
    world::set_threads(config.launch.threads_per_rank);
    let Equipment { device, collectives: ranks, .. } = Equipment::choose(&config, ranks)?;
    print_on_one(ranks.as_ref(), &bench_checkpoint(&config, device, ranks.as_ref(), args.saves)?);
    Ok(ExitCode::Done)
}

/// Prints the result of a benchmark as a JSON line, on rank 0.
fn print_on_one(ranks: &dyn Collectives, result: &impl Serialize) {
    if ranks.rank().is_zero() {
        #[allow(clippy::print_stdout, reason = "the result of the command")]
        {
            println!("{}", to_json(result));
        }
    }
}

fn to_json(result: &impl Serialize) -> String {
    serde_json::to_string(result).unwrap_or_else(|e| unreachable!("a result is JSON: {e}"))
}

/// A run of the bench's size that reads and writes nothing.
fn bench_config(args: &BenchArgs, micro: u64) -> Result<RunConfig, JobError> {
    let toml = format!(
        "[run]\noutput = \"memory://bench\"\n[model]\npreset = {:?}\n[data]\ntrain = [{{ url = \"memory://bench\" }}]\n\
         [batch]\nglobal_sequences = {}\nmicro_sequences = {micro}\nsequence_tokens = {}\n\
         [optimizer]\npeak_learning_rate = 1e-4\nwarmup_steps = 0\n[train]\nmax_steps = 1000000\n",
        args.model, args.batch, args.sequence
    );
    Ok(RawConfig::parse("of bench-step's arguments", &toml, &args.overrides)?.run()?)
}

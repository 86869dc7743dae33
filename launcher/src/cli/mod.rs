//! The command line, as clap derives it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// The longest wait, in seconds: a year.
const YEAR_S: u64 = 366 * 24 * 60 * 60;

/// Convoy trains GPT-2 on many ranks: prepares data, starts and restarts training, samples from the result.
///
/// Exit codes: 0 done; 2 usage or config; 3 data missing, corrupt or denied, or a disk is full; 4 communication failed, a rank was
/// lost, or ranks differ; 5 loss or gradients not finite, or outliers; 6 storage unreachable past its deadline; 70 a bug; 75 stopped on request,
/// the same command goes on.
#[derive(Debug, Parser)]
#[command(name = "launcher", version, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands; each has a module of its own in [`crate::commands`].
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Turns documents into shuffled, tokenized shards and their index.
    ///
    /// The shards are the same bytes for any number of ranks. The same command again goes on where a killed or stopped one
    /// was, and does nothing once the data is there. Ctrl-C or SIGTERM stops it, with exit code 75. A job that lost a
    /// rank or its storage is started again, launch.max_restarts times in a row without progress.
    #[command(after_help = "Examples:\n  launcher prepare --config configs/prepare-text.toml --ranks 4\n  \
                      launcher prepare --config configs/prepare-text.toml --set 'prepare.inputs=[\"s3://bucket/web/*.jsonl.zst\"]'")]
    Prepare(PrepareArgs),
    /// Starts the run that the config names, or resumes it: the same command again goes on.
    ///
    /// Ctrl-C, SIGTERM or a closed terminal (but not under nohup) saves a checkpoint and exits 75; a second Ctrl-C ends at
    /// once and exits 4. A run that lost a rank, its storage, or stands still is restarted from its newest checkpoint,
    /// launch.max_restarts times in a row without progress. Progress goes to standard error; the last line on standard
    /// output is `validation loss X.XX`.
    #[command(
        after_help = "Examples:\n  launcher train --config configs/tiny-cpu.toml --ranks 2 --set train.max_steps=500\n  \
                      launcher train --config run.toml --from 2000 --accept-change optimizer.peak_learning_rate"
    )]
    Train(TrainArgs),
    /// Prints exactly what `launcher train` would start the ranks with, and starts nothing.
    ///
    /// What it prints holds no secret. For Kubernetes it is an MPIJob that claims its attempts itself, with what belongs to it;
    /// of a config of a prepare job, a Job.
    #[command(after_help = "Examples:\n  launcher render --config configs/tiny-cpu.toml --ranks 2\n  \
                      launcher render --config k8s/overlays/cpu/run.toml | kubectl apply -f -")]
    Render(RenderArgs),
    /// Prints text that a checkpoint continues a prompt with.
    #[command(
        after_help = "Example:\n  launcher sample --config configs/tiny-cpu.toml --prompt \"A hacker is\" --tokens 100"
    )]
    Sample(SampleArgs),
    /// Looks at everything that a run needs, before it is paid for: config, storage, data, hosts, GPUs, network.
    ///
    /// Prints a line for each thing: ok, warning, or failed with what to do. Nothing is claimed, and what is written to the
    /// run folder is removed. Exit code 3 if something failed.
    #[command(after_help = "Example:\n  launcher check --config run.toml --ranks 16")]
    Check(CheckArgs),
    /// Shows the state of a run, from its folder: who holds it, how far it is, how it last ended.
    #[command(after_help = "Examples:\n  launcher status s3://bucket/runs/first\n  \
                      launcher status --config configs/tiny-cpu.toml --json")]
    Status(StatusArgs),
    /// Asks a run that goes on, here or elsewhere, to save a checkpoint and end, and waits until it has.
    #[command(after_help = "Example:\n  launcher stop s3://bucket/runs/first")]
    Stop(StopArgs),
    /// Shows, verifies, prunes and copies the checkpoints of a run, and asks for one.
    #[command(subcommand)]
    Checkpoints(CheckpointsCommand),
    /// Text to token ids and back; trains tokenizers.
    #[command(subcommand)]
    Tokenizer(TokenizerCommand),
    /// Shows and verifies token shards.
    #[command(subcommand)]
    Shards(ShardsCommand),
}

/// Which config, shared by every command that reads one.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// The config, a TOML file.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Overrides a value of the config, as often as needed; the last one wins.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub overrides: Vec<String>,
}

/// `launcher prepare`.
#[derive(Debug, Args)]
pub struct PrepareArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    #[command(flatten)]
    pub launch: LaunchArgs,
    /// Prints the result as JSON.
    #[arg(long)]
    pub json: bool,
}

/// `launcher train`.
#[derive(Debug, Args)]
pub struct TrainArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    #[command(flatten)]
    pub launch: LaunchArgs,
    /// The run folder, a storage URL or a path (run.output).
    #[arg(long, value_name = "URL")]
    pub output: Option<String>,
    /// A key that may differ from the config that the run was saved with, such as optimizer.peak_learning_rate; as often as
    /// needed. The change is recorded. configs/README.md says which keys need this, and which may change anyway.
    #[arg(long = "accept-change", value_name = "SECTION.KEY")]
    pub accept_changes: Vec<String>,
    /// Goes back to the checkpoint of this step, or of this name, before it starts. Later ones do not count from then on:
    /// nothing resumes from them, and they are deleted as the run passes them. The same command without this goes on from there.
    #[arg(long, value_name = "STEP|NAME", conflicts_with = "from_scratch")]
    pub from: Option<String>,
    /// Begins anew in a run folder that is not new. What checkpoints are left do not count from then on, as with --from.
    #[arg(long)]
    pub from_scratch: bool,
    /// Steps of which every rank writes a trace into the run folder, for ui.perfetto.dev (metrics.profile).
    #[arg(long, value_name = "FIRST..LAST")]
    pub profile: Option<String>,
    /// With --backend kubernetes: has a Job in the cluster do what this command would do here, and returns.
    #[arg(long)]
    pub detach: bool,
}

/// `launcher render`.
#[derive(Debug, Args)]
pub struct RenderArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    #[command(flatten)]
    pub launch: LaunchArgs,
    /// With --backend kubernetes: what `launcher train --detach` would apply.
    #[arg(long)]
    pub detach: bool,
}

/// How many ranks and where, shared by every command that starts some.
#[derive(Debug, Clone, Default, Args)]
pub struct LaunchArgs {
    /// What starts the ranks (launch.backend).
    #[arg(long, value_enum)]
    pub backend: Option<BackendName>,
    /// Number of ranks (launch.ranks).
    #[arg(long, value_name = "N")]
    pub ranks: Option<u32>,
    /// Hosts for the ranks, each with how many it has room for: a:8,b:8 (launch.hosts).
    #[arg(long, value_name = "HOST:N,...", conflicts_with = "hostfile")]
    pub hosts: Option<String>,
    /// A file with the hosts, a line each: node-1 slots=8 (launch.hostfile).
    #[arg(long, value_name = "FILE")]
    pub hostfile: Option<PathBuf>,
    /// Ranks on each host where the host does not say (launch.ranks_per_node).
    #[arg(long, value_name = "N")]
    pub ranks_per_node: Option<u32>,
    /// Compute threads of each rank, 0 to share the cores evenly (launch.threads_per_rank).
    #[arg(long, value_name = "N")]
    pub threads_per_rank: Option<u32>,
}

/// `--backend`.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum BackendName {
    /// This machine: mpirun where there are several ranks.
    Local,
    /// Many hosts: mpirun over ssh.
    Mpirun,
    /// A Kubernetes cluster with the MPI operator: an MPIJob for each attempt.
    Kubernetes,
    /// Slurm: outside an allocation, submits a batch job of the same command; inside, its nodes are the hosts.
    Slurm,
}

/// `launcher sample`. What is not given here, the worker chooses.
#[derive(Debug, Args)]
pub struct SampleArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The text to continue.
    #[arg(long)]
    pub prompt: Option<String>,
    /// How many tokens to add at most: text may end before.
    #[arg(long, value_name = "N")]
    pub tokens: Option<u64>,
    /// Divides the logits; 0 always takes the likeliest token.
    #[arg(long, value_name = "F")]
    pub temperature: Option<f64>,
    /// Chooses among so many of the likeliest tokens; 0 for all.
    #[arg(long, value_name = "N")]
    pub top_k: Option<u64>,
    /// Chooses among the likeliest tokens that together have this probability.
    #[arg(long, value_name = "F")]
    pub top_p: Option<f64>,
    /// Seed of the choice: the same seed gives the same text.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// The checkpoint, by its folder's name; the newest where it is not given.
    #[arg(long, value_name = "NAME")]
    pub checkpoint: Option<String>,
}

/// `launcher checkpoints`.
#[derive(Debug, Subcommand)]
pub enum CheckpointsCommand {
    /// Lists the committed checkpoints of a run, oldest first.
    #[command(after_help = "Examples:\n  launcher checkpoints list --config configs/tiny-cpu.toml\n  \
                      launcher checkpoints list s3://bucket/runs/first --json")]
    List(ListArgs),
    /// Reads every byte of committed checkpoints and compares it with the hashes in their manifests.
    ///
    /// Prints a line for each checkpoint. Exit code 3 if one is damaged.
    #[command(after_help = "Examples:\n  launcher checkpoints verify s3://bucket/runs/first\n  \
                      launcher checkpoints verify --config run.toml --checkpoint step-00001000-a0003-5c0e9d7b21f3a864")]
    Verify(VerifyArgs),
    /// Deletes old checkpoints, and what saves that were cut off more than an hour ago have left behind.
    ///
    /// What stays is as the config says that the run was last started with, where it is not given here. The newest one
    /// always stays. A run may go on meanwhile. Nothing behind a symbolic link is deleted: a link is removed itself.
    #[command(after_help = "Example:\n  launcher checkpoints prune s3://bucket/runs/first --keep-last 2 --dry-run")]
    Prune(PruneArgs),
    /// Copies a checkpoint to another run folder, in the same store or another one, verified on the way.
    ///
    /// It appears there when it is whole. A run there goes on from it; several may begin with it.
    #[command(after_help = "Examples:\n  launcher checkpoints copy s3://bucket/runs/first --to /data/runs/first\n  \
                      launcher checkpoints copy runs/first --checkpoint step-00001000-a0003-5c0e9d7b21f3a864 --to s3://b/x")]
    Copy(CopyArgs),
    /// Asks a run that goes on, here or elsewhere, for a checkpoint, and waits until it is committed.
    #[command(after_help = "Example:\n  launcher checkpoints save s3://bucket/runs/first")]
    Save(SaveArgs),
}

/// Which run, for commands that only look at its folder.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The run folder, a storage URL or a path, where no config is given.
    #[arg(value_name = "RUN_URL", required_unless_present = "config", conflicts_with = "config")]
    pub run: Option<String>,
    /// The config of the run.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Overrides a value of the config, as often as needed; the last one wins.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE", requires = "config")]
    pub overrides: Vec<String>,
}

/// `launcher checkpoints list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    pub run: RunArgs,
    /// Shows at the end what does not count, too: never committed, or left behind by a later attempt.
    #[arg(long)]
    pub all: bool,
    /// Prints a JSON array.
    #[arg(long)]
    pub json: bool,
}

/// `launcher checkpoints verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    pub run: RunArgs,
    /// Only this one, by its folder's name; every committed one where it is not given.
    #[arg(long, value_name = "NAME")]
    pub checkpoint: Option<String>,
    /// Prints a JSON array.
    #[arg(long)]
    pub json: bool,
}

/// `launcher checkpoints prune`.
#[derive(Debug, Args)]
pub struct PruneArgs {
    #[command(flatten)]
    pub run: RunArgs,
    /// Keeps so many of the newest; 0 keeps all (checkpoint.keep_last).
    #[arg(long, value_name = "N")]
    pub keep_last: Option<u64>,
    /// Keeps those of every so many steps, too; 0 for none (checkpoint.keep_every_steps).
    #[arg(long, value_name = "N")]
    pub keep_every_steps: Option<u64>,
    /// Only says what would go.
    #[arg(long)]
    pub dry_run: bool,
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
}

/// `launcher checkpoints copy`.
#[derive(Debug, Args)]
pub struct CopyArgs {
    #[command(flatten)]
    pub run: RunArgs,
    /// The run folder to copy to, a storage URL or a path.
    #[arg(long, value_name = "RUN_URL")]
    pub to: String,
    /// Which one, by its folder's name; the newest where it is not given.
    #[arg(long, value_name = "NAME")]
    pub checkpoint: Option<String>,
}

/// `launcher checkpoints save`.
#[derive(Debug, Args)]
pub struct SaveArgs {
    #[command(flatten)]
    pub run: RunArgs,
    /// How long to wait for the checkpoint; 0 only asks.
    #[arg(long, value_name = "N", default_value_t = 600, value_parser = clap::value_parser!(u64).range(..=YEAR_S))]
    pub wait_s: u64,
}

/// `launcher check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    #[command(flatten)]
    pub launch: LaunchArgs,
    /// Prints a JSON array.
    #[arg(long)]
    pub json: bool,
}

/// `launcher status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    pub run: RunArgs,
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
}

/// `launcher stop`.
#[derive(Debug, Args)]
pub struct StopArgs {
    #[command(flatten)]
    pub run: RunArgs,
    /// How long to wait for the end; 0 only asks.
    #[arg(long, value_name = "N", default_value_t = 600, value_parser = clap::value_parser!(u64).range(..=YEAR_S))]
    pub wait_s: u64,
}

/// `launcher tokenizer`.
#[derive(Debug, Subcommand)]
pub enum TokenizerCommand {
    /// Writes the token ids of the text on standard input, as a JSON array.
    ///
    /// Bytes that are not UTF-8 become U+FFFD. Exit code 3, with the line, for input that is not as it should be.
    #[command(after_help = "Examples:\n  echo -n \"Hello, world\" | launcher tokenizer encode\n  \
                      launcher tokenizer encode --jsonl --tokenizer my-tokenizer/ < texts.jsonl > ids.jsonl")]
    Encode(EncodeArgs),
    /// Writes the text of the JSON array of token ids on standard input: the bytes of the tokens, and nothing else.
    ///
    /// With --jsonl, bytes that are not UTF-8 become U+FFFD. Exit code 3, with the line, for input that is not as it
    /// should be.
    #[command(after_help = "Examples:\n  echo \"[15496, 11, 995]\" | launcher tokenizer decode\n  \
                      launcher tokenizer decode --jsonl < ids.jsonl > texts.jsonl")]
    Decode(DecodeArgs),
    /// Learns a tokenizer from texts and writes its files: vocab.json, merges.txt, tokenizer.json, tokenizer_config.json.
    ///
    /// The same inputs in the same order give the same tokenizer, and, with the same special tokens, one with the merges
    /// that Hugging Face's tokenizers learn. Special tokens have the first ids.
    #[command(after_help = "Example:\n  launcher tokenizer train --vocab-size 32000 --output my-tokenizer/ \
                      s3://bucket/web/*.jsonl.zst books/")]
    Train(TrainTokenizerArgs),
}

/// What encoding and decoding have in common.
#[derive(Debug, Clone, Args)]
pub struct TranscodeArgs {
    /// `gpt2`, or the path or URL of a tokenizer.json, or of a folder with one or with vocab.json and merges.txt.
    #[arg(long, value_name = "gpt2|PATH|URL", default_value = "gpt2")]
    pub tokenizer: String,
    /// Every line of input is a document: a JSON string to encode, or a JSON array of ids to decode. Every line of
    /// output is its result, in the same order.
    #[arg(long)]
    pub jsonl: bool,
}

/// `launcher tokenizer encode`.
#[derive(Debug, Args)]
pub struct EncodeArgs {
    #[command(flatten)]
    pub transcode: TranscodeArgs,
    /// Makes the text of a special token, such as `<|endoftext|>`, that token; it is ordinary text otherwise.
    #[arg(long)]
    pub special: bool,
}

/// `launcher tokenizer decode`.
#[derive(Debug, Args)]
pub struct DecodeArgs {
    #[command(flatten)]
    pub transcode: TranscodeArgs,
}

/// `launcher shards`.
#[derive(Debug, Subcommand)]
pub enum ShardsCommand {
    /// Shows what a data set holds: totals, tokenizer, and an excerpt as text with the bounds of its documents.
    ///
    /// Of the shards only the blocks of the excerpt are read, each verified by its hash. Control characters of the text,
    /// but for line breaks and tabs, are written out; with --json it is as it is.
    #[command(after_help = "Examples:\n  launcher shards show demo/data\n  \
                      launcher shards show s3://bucket/data/train --at 1000000 --tokens 200\n  \
                      launcher shards show s3://bucket/data --tokens 0 --json")]
    Show(ShowShardsArgs),
    /// Reads every shard of a data set and names every fault: hashes of files and blocks, headers, sizes, ids, documents.
    ///
    /// Exit code 3 if there is a fault. Each is a line on standard output, with the object and the byte.
    #[command(after_help = "Examples:\n  launcher shards verify demo/data\n  \
                      launcher shards verify s3://bucket/data/train --json")]
    Verify(VerifyShardsArgs),
}

/// `launcher shards show`.
#[derive(Debug, Args)]
pub struct ShowShardsArgs {
    /// A folder with an index.json, or one with the folders train and validation, as prepare writes them.
    #[arg(value_name = "URL")]
    pub url: String,
    /// Position of the first token of the excerpt, counted over all shards; for training, where there are both.
    #[arg(long, value_name = "TOKEN_POSITION", default_value_t = 0)]
    pub at: u64,
    /// Tokens of the excerpt; 0 for none.
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub tokens: u64,
    /// The tokenizer that made the shards; the one that their index names where it is not given.
    #[arg(long, value_name = "gpt2|PATH|URL")]
    pub tokenizer: Option<String>,
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
}

/// `launcher shards verify`.
#[derive(Debug, Args)]
pub struct VerifyShardsArgs {
    /// A folder with an index.json, or one with the folders train and validation, as prepare writes them.
    #[arg(value_name = "URL")]
    pub url: String,
    /// The tokenizer that made the shards; the one that their index names where it is not given.
    #[arg(long, value_name = "gpt2|PATH|URL")]
    pub tokenizer: Option<String>,
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
}

/// `launcher tokenizer train`. What is not given here, the prepare program chooses.
#[derive(Debug, Args)]
pub struct TrainTokenizerArgs {
    /// Texts: files, folders or patterns, by path or URL, as prepare.inputs has them.
    #[arg(value_name = "INPUT", required = true)]
    pub inputs: Vec<String>,
    /// Tokens of the vocabulary: the 256 bytes, the special tokens, and what is learnt; at most 65,536.
    #[arg(long, value_name = "N")]
    pub vocab_size: u64,
    /// The folder for the tokenizer's files, a storage URL or a path.
    #[arg(long, value_name = "FOLDER_OR_URL")]
    pub output: String,
    /// A special token after `<|endoftext|>`, which is always the first; as often as needed.
    #[arg(long, value_name = "TOKEN")]
    pub special: Vec<String>,
    /// The field of a JSON line, or the column of a Parquet file, that holds the text.
    #[arg(long, value_name = "FIELD")]
    pub text_field: Option<String>,
    /// Whether a document that cannot be read ends the job, or is left out and counted.
    #[arg(long, value_name = "fail|skip")]
    pub on_bad_document: Option<String>,
    /// A longer document counts as one that cannot be read, since memory is bounded.
    #[arg(long, value_name = "N")]
    pub max_document_bytes: Option<u64>,
    /// Distinct words that are held at most, of about 100 bytes each; the rarest of more are dropped, and counted.
    #[arg(long, value_name = "N")]
    pub most_words: Option<u64>,
    /// Threads; all cores where it is not given.
    #[arg(long, value_name = "N")]
    pub threads: Option<u64>,
    /// Prints the result as JSON.
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_that_no_clock_can_count_is_refused() {
        for command in [&["stop"][..], &["checkpoints", "save"]] {
            let parse =
                |seconds| Cli::try_parse_from([&["launcher"][..], command, &["x", "--wait-s", seconds]].concat());
            assert!(parse("31622400").is_ok());
            assert!(parse("18446744073709551615").unwrap_err().to_string().contains("--wait-s"));
        }
    }
}

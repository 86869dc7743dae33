//! Tests that the config, and not the data, bounds what a rank keeps of the data, in memory and on disk.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use common::exit_code::ExitCode;
use common::token_shard::encode;
use tests::process::{Running, mpirun};
use tests::s3::Server;
use tests::scratch::Scratch;
use tests::training::{DEADLINE, by_mpirun, ended, turn};

const MIB: u64 = 1 << 20;
/// The smallest value that a config allows.
const PREFETCH_BYTES: u64 = 8 * MIB;
const CACHE_BYTES: u64 = 32 * MIB;
/// Twenty times what a rank may keep in memory, and ten times what a node may keep on disk.
const LARGE_SHARDS: u64 = 20;
const SHARD_BYTES: u64 = 16 * MIB;
const SHARDS_OF_SET: u64 = 4;
const _: () = assert!(LARGE_SHARDS * SHARD_BYTES >= 20 * (PREFETCH_BYTES + 8 * MIB));

/// Memory that a rank may take beyond what it takes with one block of data: what it reads ahead, requests in flight, in parts
/// and whole, and what the allocator of each thread keeps of freed blocks.
const ABOVE_BYTES: u64 = PREFETCH_BYTES + 56 * MIB;

#[test]
fn memory_and_disk_do_not_grow_with_the_data() {
    let _turn = turn();
    let scratch = Scratch::new();
    scratch.write_data_set("small", std::iter::once(shard(0, MIB)));
    // The sets are small enough to be shuffled as a whole: every sequence is in another block.
    let large: Vec<_> = (0..LARGE_SHARDS / SHARDS_OF_SET).map(|set| format!("large-{set}")).collect();
    for (name, first) in large.iter().zip((0..).step_by(SHARDS_OF_SET as usize)) {
        scratch.write_data_set(name, (first..first + SHARDS_OF_SET).map(|number| shard(number, SHARD_BYTES)));
    }
    let small = ["small".to_owned()];
    let server = Server::start(scratch.path(), &[]);
    let [small_from_files, from_files] = [("small", &small[..]), ("large", &large)].map(|(run, sets)| {
        let urls: Vec<_> = sets.iter().map(|set| scratch.url(set)).collect();
        train(&scratch, &server, run, &urls)
    });
    assert_eq!(server.faults().requests().len(), 0);
    let [small_from_s3, from_s3] = [("small-s3", &small[..]), ("large-s3", &large)].map(|(run, sets)| {
        let urls: Vec<_> = sets.iter().map(|set| format!("s3://{set}")).collect();
        train(&scratch, &server, run, &urls)
    });

    let read: BTreeSet<_> =
        server.faults().requests().into_iter().filter(|r| r.contains("GET /large-") && r.contains("/shard-")).collect();
    let blocks = LARGE_SHARDS * SHARD_BYTES / MIB;
    println!(
        "peak memory of a rank: {} MiB with 1 MiB of data in a file, {} MiB with {blocks} MiB in files; {} MiB and {} MiB \
         with the same on S3, of which {} blocks were read; the cache held {} of {} MiB at most",
        small_from_files.memory_bytes / MIB,
        from_files.memory_bytes / MIB,
        small_from_s3.memory_bytes / MIB,
        from_s3.memory_bytes / MIB,
        read.len(),
        from_s3.cache_bytes / MIB,
        CACHE_BYTES / MIB,
    );
    assert!(read.len() as u64 > blocks / 2, "{} of {blocks} blocks are too few to show anything", read.len());
    assert!(from_files.memory_bytes < small_from_files.memory_bytes + ABOVE_BYTES);
    assert!(from_s3.memory_bytes < small_from_s3.memory_bytes + ABOVE_BYTES);
    assert_eq!(from_files.cache_bytes, 0);
    assert!((CACHE_BYTES / 2..=CACHE_BYTES).contains(&from_s3.cache_bytes), "{}", from_s3.cache_bytes);
}

/// All of an equally large set, streamed without training: most windows of its order are full-grown.
#[test]
fn memory_does_not_grow_with_one_large_set() {
    let _turn = turn();
    let scratch = Scratch::new();
    scratch.write_data_set("small", std::iter::once(shard(0, MIB)));
    scratch.write_data_set("large", (0..LARGE_SHARDS).map(|number| shard(number, SHARD_BYTES)));
    let [small, large] = ["small", "large"].map(|set| stream(&scratch, set));
    let (bytes, read) = (LARGE_SHARDS * SHARD_BYTES, large.bytes_read);
    println!(
        "peak memory of a rank: {} MiB with 1 MiB of data, {} MiB with {} MiB, all of which two ranks read",
        small.memory_bytes / MIB,
        large.memory_bytes / MIB,
        bytes / MIB
    );
    assert!((bytes * 9 / 10..bytes * 12 / 10).contains(&read), "{read} of {bytes} bytes were read");
    assert!(large.memory_bytes < small.memory_bytes + ABOVE_BYTES);
}

/// Resources that a stream has taken.
struct Streamed {
    memory_bytes: u64,
    bytes_read: u64,
}

/// Streams as many tokens of a data set as the large one has, on 2 ranks, in sequences of 1,024 tokens.
fn stream(scratch: &Scratch, set: &str) -> Streamed {
    let config = scratch.config(
        &format!("stream-{set}"),
        &[
            &format!("data.train=[{{ url = \"{}\" }}]", scratch.url(set)),
            &format!("data.prefetch_bytes={PREFETCH_BYTES}"),
            "model.context_tokens=1024",
            "batch.sequence_tokens=1024",
            "batch.global_sequences=64",
            "batch.micro_sequences=8",
        ],
    );
    // This is an epoch of the large set, and several of the small one, so that both take about as long.
    let tokens_per_rank = LARGE_SHARDS * SHARD_BYTES / 2 / 2;
    let mut command = mpirun(2, ["bench-stream", "--config"]);
    command.arg(config).args(["--tokens", &tokens_per_rank.to_string()]);
    let mut running = Running::start(command);
    let mut memory_bytes = 0;
    running.watch(DEADLINE, Duration::from_millis(5), |running| {
        memory_bytes = memory_bytes.max(running.peak_memory_bytes("worker"));
    });
    let text = ended(running, ExitCode::Done, &["\"bytes_read\":"]);
    let (_, rest) = text.split_once("\"bytes_read\":").unwrap();
    let bytes_read = rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap();
    Streamed { memory_bytes, bytes_read }
}

/// Returns a shard of tokens that differ from block to block.
fn shard(number: u64, bytes: u64) -> Bytes {
    let tokens = bytes / 2 - 512;
    encode(&(0..tokens).map(|i| ((number * tokens + i) % 50_257) as u16).collect::<Vec<_>>())
}

/// Largest amounts that a run has held at any moment.
struct Peak {
    /// Memory of a rank.
    memory_bytes: u64,
    /// Size of the node cache.
    cache_bytes: u64,
}

/// Trains on 2 ranks for 6 steps, each of 64 sequences.
fn train(scratch: &Scratch, server: &Server, run: &str, urls: &[String]) -> Peak {
    let sets: Vec<_> = urls.iter().map(|url| format!("{{ url = \"{url}\" }}")).collect();
    let cache = scratch.path().join(format!("cache-{run}"));
    let config = scratch.config(
        run,
        &[
            &format!("data.train=[{}]", sets.join(", ")),
            &format!("data.prefetch_bytes={PREFETCH_BYTES}"),
            &format!("data.cache_bytes={CACHE_BYTES}"),
            &format!("data.cache_dir=\"{}\"", cache.display()),
            "model.context_tokens=8",
            "batch.sequence_tokens=8",
            "batch.global_sequences=64",
            "batch.micro_sequences=8",
            "train.max_steps=6",
            "checkpoint.every_steps=0",
            "evaluation.every_steps=0",
        ],
    );
    let mut command = by_mpirun(2, &config);
    command.envs(server.environment());
    let mut running = Running::start(command);
    let mut peak = Peak { memory_bytes: 0, cache_bytes: 0 };
    running.watch(DEADLINE, Duration::from_millis(20), |running| {
        peak.memory_bytes = peak.memory_bytes.max(running.peak_memory_bytes("worker"));
        peak.cache_bytes = peak.cache_bytes.max(held(&cache));
    });
    ended(running, ExitCode::Done, &["step 6/6"]);
    peak
}

/// Returns the bytes of all blocks in a node cache, finished or not, while no process can enter another one.
fn held(cache: &Path) -> u64 {
    let Ok(account) = File::open(cache.join("bytes")) else { return 0 };
    account.lock().unwrap();
    let folders = fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let files = folders.flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten());
    // A file that gets its name at this moment may be listed under both.
    let sizes: HashMap<_, u64> =
        files.filter_map(|file| Some((file.path().file_stem()?.to_owned(), file.metadata().ok()?.len()))).collect();
    sizes.values().sum()
}

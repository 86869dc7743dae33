//! Bounds of every number in a config. [`Section`](super::section::Section) enforces them as it reads.
//!
//! The bounds lie beyond what any machine can do, and are tight enough that no arithmetic on config values overflows.
//! [`MICRO_BATCH_TOKENS`] and [`RUN_SEQUENCES`] bound products.

use toml::Value;

/// Tokens of the largest micro batch. With the widest and deepest model its activations take about 2^60 bytes.
pub(super) const MICRO_BATCH_TOKENS: u64 = 1 << 26;
/// Largest number of sequences that a run can consume: 2^62 tokens with the longest sequences.
pub const RUN_SEQUENCES: u64 = 1 << 42;
/// Largest number of steps of a run. People also write it to mean "never".
pub(super) const STEPS: u64 = u32::MAX as u64;

const COUNT: i64 = u32::MAX as i64;
const PROCESSES: i64 = 1 << 16;
const TOKENS: i64 = 1 << 20;
const SEQUENCES: i64 = 1 << 20;
const YEAR_S: i64 = 366 * 24 * 60 * 60;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const MIB: i64 = 1 << 20;
const PIB: i64 = 1 << 50;

/// Keys of whole numbers, each with its least and greatest value.
const WHOLE: [(&str, i64, i64); 59] = [
    ("run.seed", 0, i64::MAX),
    ("model.layers", 1, 4096),
    ("model.width", 1, 1 << 16),
    ("model.heads", 1, 1 << 16),
    ("model.context_tokens", 1, TOKENS),
    // Token shards hold 16-bit ids.
    ("model.vocabulary", 1, 1 << 16),
    ("data.prefetch_bytes", 8 * MIB, PIB),
    ("data.cache_bytes", 0, PIB),
    ("batch.global_sequences", 1, SEQUENCES),
    ("batch.micro_sequences", 1, SEQUENCES),
    ("batch.sequence_tokens", 1, TOKENS),
    ("optimizer.warmup_steps", 0, STEPS as i64),
    ("optimizer.decay_steps", 0, STEPS as i64),
    ("train.max_steps", 1, STEPS as i64),
    ("parallel.zero", 0, 1),
    // 2^28 elements of bfloat16: MPI can count that many even where one rank's part is the whole bucket.
    ("parallel.bucket_bytes", 4096, 512 * MIB),
    ("parallel.timeout_s", 1, YEAR_S),
    ("parallel.verify_every_steps", 0, STEPS as i64),
    ("checkpoint.every_steps", 0, STEPS as i64),
    ("checkpoint.first_after_s", 0, YEAR_S),
    ("checkpoint.max_failures", 1, COUNT),
    ("checkpoint.keep_last", 0, COUNT),
    ("checkpoint.keep_every_steps", 0, STEPS as i64),
    ("checkpoint.max_upload_bytes_per_s", 0, PIB),
    ("checkpoint.local_every_steps", 0, STEPS as i64),
    ("checkpoint.local_keep_last", 1, COUNT),
    ("evaluation.every_steps", 0, STEPS as i64),
    ("evaluation.validation_sequences", 1, COUNT),
    ("evaluation.tasks_every_steps", 0, STEPS as i64),
    ("evaluation.tasks_items", 1, COUNT),
    ("launch.ranks", 0, PROCESSES),
    ("launch.min_ranks", 0, PROCESSES),
    ("launch.ranks_per_node", 0, PROCESSES),
    ("launch.threads_per_rank", 0, PROCESSES),
    ("launch.host_poll_s", 0, YEAR_S),
    ("launch.max_restarts", 0, COUNT),
    ("launch.start_timeout_s", 1, YEAR_S),
    ("launch.stall_timeout_s", 1, YEAR_S),
    ("launch.grace_s", 0, YEAR_S),
    // Without a launcher, ranks wait for each other at most 300 s while rank 0 waits for a claim to expire.
    ("launch.claim_expiry_s", 1, 240),
    ("kubernetes.cpus", 1, PROCESSES),
    ("kubernetes.memory_bytes", 64 * MIB, PIB),
    ("kubernetes.shm_bytes", 64 * MIB, PIB),
    ("kubernetes.disk_bytes", 64 * MIB, PIB),
    ("kubernetes.gpus", 0, PROCESSES),
    ("kubernetes.max_unavailable", 0, PROCESSES),
    ("kubernetes.pending_timeout_s", 0, YEAR_S),
    ("storage.deadline_s", 1, YEAR_S),
    ("storage.request_timeout_s", 1, YEAR_S),
    ("storage.stall_timeout_s", 1, YEAR_S),
    ("storage.hedge_after_ms", 0, DAY_MS),
    ("storage.connect_timeout_s", 1, YEAR_S),
    ("storage.backoff_min_ms", 1, DAY_MS),
    ("storage.backoff_max_ms", 1, DAY_MS),
    // Each concurrent request is read by a thread.
    ("storage.concurrency", 1, 1024),
    ("prepare.tokens_per_shard", 1024, 1 << 30),
    ("prepare.seed", 0, i64::MAX),
    ("prepare.max_document_bytes", 1, 1 << 30),
    ("prepare.memory_bytes", MIB, PIB),
];

/// Keys of other numbers, each with its least and greatest value. All bounds are finite as float32, too.
const REAL: [(&str, f64, f64); 13] = [
    ("run.peak_flops", 0.0, 1e24),
    ("optimizer.peak_learning_rate", 0.0, 1e30),
    ("optimizer.final_fraction", 0.0, 1.0),
    ("optimizer.beta1", 0.0, 1.0),
    ("optimizer.beta2", 0.0, 1.0),
    ("optimizer.epsilon", 0.0, 1e6),
    ("optimizer.weight_decay", 0.0, 1e6),
    ("optimizer.clip_norm", 0.0, 1e30),
    ("optimizer.skip_z_score", 0.0, 1e30),
    // Two years.
    ("checkpoint.every_minutes", 0.0, 1e6),
    ("checkpoint.local_every_minutes", 0.0, 1e6),
    ("prepare.validation_fraction", 0.0, 1.0),
    ("prepare.overlap_share", 0.0, 1.0),
];

/// Returns a whole number that `key` may have.
pub(super) fn example(key: &str) -> i64 {
    let bounds = WHOLE.iter().find(|(of, ..)| *of == key);
    bounds.map_or(100, |(_, least, most)| 100.clamp(*least, *most))
}

/// Returns which bound the number `value` of `key` violates, if any.
pub(super) fn fault(key: &str, value: &Value) -> Option<String> {
    if let (Some((_, least, most)), Value::Integer(value)) = (WHOLE.iter().find(|(of, ..)| *of == key), value) {
        return match value {
            _ if value < least => Some(format!("must be at least {least}")),
            _ if value > most => Some(format!("must be at most {most}")),
            _ => None,
        };
    }
    let (_, least, most) = REAL.iter().find(|(of, ..)| *of == key)?;
    let value = match value {
        Value::Integer(value) => *value as f64,
        Value::Float(value) => *value,
        _ => return None,
    };
    (!(*least..=*most).contains(&value)).then(|| format!("must be a number from {least} to {most}"))
}

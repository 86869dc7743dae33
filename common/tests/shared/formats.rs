//! Reads each kind of file as Convoy does, and checks that accepted files satisfy what their readers rely on: no name leads
//! out of its folder, hashes are hashes, sums do not overflow, and ids are below the vocabulary.
//!
//! Each function returns whether it accepts the file, and panics if Convoy would panic or should have refused it. The
//! functions are the oracle of `common/tests/hostile_files.rs` and of the fuzz targets in `tests/fuzz`.

use std::collections::HashMap;
use std::path::{Component, Path};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::attempt::{self, Claim, History};
use common::checkpoint_layout::tensor_file::{Header, LENGTH_BYTES};
use common::checkpoint_layout::{CheckpointName, Manifest, hugging_face};
use common::checkpoint_store::{Found, Garbage};
use common::config::Retention;
use common::config::change::{differences, order_since};
use common::config::{RawConfig, RunConfig, StorageConfig};
use common::cost::StepCost;
use common::metrics::{LatestMetrics, RunMetrics};
use common::sha256::{Sha256Sum, hex_sha256};
use common::storage::{Folder, ObjectInfo};
use common::token_shard::verify::{Ids, ShardCheck, faults_of_index, read_index};
use common::token_shard::{BLOCK_BYTES, HEADER_BYTES, Index, ShardEntry, TOKEN_BYTES, header};
use common::tokenizer::Tokenizer;
use common::topology::{Rank, WorldSize};
use evaluation::overlap::{Filter, grams};
use evaluation::part::Part;
use evaluation::{Key, Scores, Sequence};

/// A kind of file: its name, which its fuzz target and its folder of seeds have, too; its reader; and the memory, in bytes,
/// that the reader may take besides a multiple of the file's size.
pub type Format = (&'static str, fn(&[u8]) -> bool, usize);

/// All kinds of files.
pub const FORMATS: [Format; 12] = [
    ("token_index", token_index, 64 << 10),
    ("token_shard", token_shard, 64 << 10),
    ("manifest", manifest, 256 << 10),
    ("tensor_file", tensor_file, 64 << 10),
    ("tokenizer_json", tokenizer_json, 24 << 20),
    ("tokenizer_pair", tokenizer_pair, 24 << 20),
    ("names", names, 64 << 10),
    ("claim", claim, 64 << 10),
    ("metrics", metrics, 64 << 10),
    ("config", config, 256 << 10),
    ("overlap_filter", overlap_filter, 256 << 10),
    ("score_part", score_part, 64 << 10),
];

/// Reads the `index.json` of a folder of token shards.
pub fn token_index(content: &[u8]) -> bool {
    if let Ok(index) = read_index(content) {
        faults_of_index(&index).iter().for_each(|fault| drop(fault.to_string()));
        for shard in &index.shards {
            let ids = Ids { vocabulary: index.vocabulary, end_of_text: Some(0) };
            let mut check = ShardCheck::new(shard, ids, true);
            check.push(&header(3));
            check.finish().iter().for_each(|fault| drop(fault.to_string()));
        }
    }
    let Ok(index) = Index::parse("x", content) else { return false };
    let mut sequences = 0;
    for shard in &index.shards {
        assert_inside(&shard.name);
        shard.block_sha256.iter().chain([&shard.sha256]).for_each(|hash| assert_sha256(&hash.to_string()));
        assert_eq!(HEADER_BYTES + TOKEN_BYTES * shard.tokens, shard.bytes);
        sequences += shard.sequences(1);
        for block in 0..shard.bytes.div_ceil(BLOCK_BYTES) {
            let _ = shard.verify_block("x", block, b"");
        }
        let _ = shard.verify_header("x", b"");
    }
    assert!(sequences <= index.tokens);
    true
}

/// Checks a token shard that has three tokens according to its index.
pub fn token_shard(content: &[u8]) -> bool {
    let mut expected = header(3);
    expected.extend([9, 0, 1, 0, 2, 0]);
    let entry = ShardEntry::describe("shard", &expected, 9);
    let mut check = ShardCheck::new(&entry, Ids { vocabulary: 10, end_of_text: Some(9) }, true);
    content.chunks(BLOCK_BYTES as usize).for_each(|block| check.push(block));
    let faults = check.finish();
    let is_sound = content == expected;
    assert_eq!(faults.is_empty(), is_sound, "{faults:?}");
    let is_header = entry.verify_header("x", content).is_ok();
    let is_block = entry.verify_block("x", 0, content).is_ok();
    assert!(is_block == is_sound && (is_header || !is_sound));
    is_sound
}

/// Reads a manifest, given up to its own hash, which is appended as docs/checkpoint-format.md specifies.
pub fn manifest(head: &[u8]) -> bool {
    let hash = hex_sha256(head);
    let sealed = [head, b",\n  \"manifest_sha256\": \"", hash.as_bytes(), b"\"\n}\n"].concat();
    let Ok(manifest) = Manifest::parse("x", &sealed) else { return false };
    assert_eq!(Manifest::parse("x", &manifest.to_json()).unwrap(), manifest);
    assert_eq!(CheckpointName::parse(&manifest.name.to_string()).as_ref(), Some(&manifest.name));
    for object in &manifest.objects {
        assert_inside(&object.name);
        object.block_sha256.iter().chain([&object.sha256]).for_each(|hash| assert_sha256(&hash.to_string()));
        assert_eq!(object.block_sha256.len() as u64, object.bytes.div_ceil(BLOCK_BYTES));
    }
    let bytes_of = |name: &str| manifest.objects.iter().find(|object| object.name == name).unwrap().bytes;
    for tensor in &manifest.tensors {
        assert!(tensor.bytes().unwrap() <= bytes_of(&tensor.object));
    }
    for slice in &manifest.optimizer {
        assert!(slice.start < slice.end && 8 * (slice.end - slice.start) <= bytes_of(&slice.object));
    }
    hugging_face::index_json(&manifest.tensors);
    let now = RawConfig::parse("now", RUN, &[]).unwrap().run().unwrap();
    // A run that resumes continues from there.
    let consumed = manifest.sequences_consumed - order_since(&manifest.changes);
    let plan = now.batch_plan();
    plan.micro_batches(consumed, Rank::ZERO, WorldSize::ONE).for_each(drop);
    let _ = ((manifest.sequences_consumed + plan.global_sequences) * (1 << 20), manifest.name.step + 1);
    let _ = (manifest.updates + 1, manifest.skipped_in_a_row + 1);
    if let Ok(saved) = RawConfig::parse("saved", &manifest.config, &[]).and_then(RawConfig::run) {
        differences(&saved, &now);
    }
    true
}

const RUN: &str = "run.output = \"x\"\nmodel.preset = \"tiny-cpu\"\ndata.train = [{ url = \"a\" }]\n\
                   batch = { global_sequences = 8, micro_sequences = 4, sequence_tokens = 64 }\n\
                   optimizer = { peak_learning_rate = 1e-3, warmup_steps = 1 }\ntrain.max_steps = 10\n";

/// Reads a safetensors file without its data, of the size that its header says.
pub fn tensor_file(content: &[u8]) -> bool {
    let start = &content[..content.len().min(LENGTH_BYTES)];
    let _ = (Header::end(start, content.len() as u64), Header::end(start, u64::MAX));
    let json = &content[start.len()..];
    let _ = Header::parse(json, content.len() as u64);
    let described: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(json).unwrap_or_default();
    let ends = described.values().filter_map(|tensor| tensor["data_offsets"][1].as_u64());
    let bytes = ends.max().unwrap_or(0).saturating_add(content.len() as u64);
    let Ok(header) = Header::parse(json, bytes) else { return false };
    for (key, tensor) in &described {
        let sizes = tensor["shape"].as_array().into_iter().flatten().filter_map(serde_json::Value::as_u64);
        let elements = sizes.fold(1, u64::saturating_mul);
        if let Ok((range, shape)) = header.tensor(key, elements) {
            assert!(range.start >= content.len() && range.end as u64 <= bytes, "{range:?} of {bytes}");
            assert_eq!(((range.end - range.start) / 4) as u64, shape.iter().product::<u64>());
        }
    }
    true
}

/// Reads `tokenizer.json`.
pub fn tokenizer_json(content: &[u8]) -> bool {
    tokenizer(&[("tokenizer.json", content)])
}

/// Reads `vocab.json`, a byte 0, and `merges.txt`.
pub fn tokenizer_pair(content: &[u8]) -> bool {
    let (vocabulary, merges) = at_zero(content);
    tokenizer(&[("vocab.json", vocabulary), ("merges.txt", merges)])
}

fn tokenizer(files: &[(&str, &[u8])]) -> bool {
    let folder = folder(&format!("tokenizer-{}", files.len()));
    files.iter().for_each(|(name, content)| put(&folder, name, content));
    let Ok(tokenizer) = Tokenizer::open(folder.url(), &StorageConfig::default()) else { return false };
    let special: Vec<u16> = tokenizer.vocabulary().special().collect();
    assert!(special.contains(&tokenizer.end_of_text()));
    for text in ["", "It's  a test\n\n 12 naïve 漢字 🦀", "aaaaaaaaaaaaaaaaabababab<|endoftext|>ab", "\0\u{1b}\u{fffd}"]
    {
        let ids = tokenizer.encode(text);
        assert!(ids.iter().all(|id| u32::from(*id) < tokenizer.size() && !special.contains(id)), "{ids:?}");
        assert_eq!(tokenizer.decode(&ids).unwrap(), text.as_bytes());
        let ids = tokenizer.encode_with_special(text);
        assert_eq!(tokenizer.decode(&ids).unwrap(), text.as_bytes());
    }
    true
}

/// Reads the names of objects in a run's folders, one per line.
pub fn names(content: &[u8]) -> bool {
    let text = String::from_utf8_lossy(content);
    let object =
        |name: &str| ObjectInfo { name: name.into(), bytes: u64::MAX, version: String::new(), changed_unix_s: 0 };
    let objects: Vec<_> = text.lines().map(object).collect();
    let run = folder("names");
    run.delete_all().unwrap();
    objects.iter().take(100).for_each(|object| put(&run, &format!("attempts/{}", object.name), b"{}"));
    let Ok(history) = History::read(&run) else { return false };
    let found = Found::among(&objects, &history);
    let retention = Retention { keep_last: 1, keep_every_steps: 2 };
    let holder = Claim { number: 1, id: "00".repeat(8) };
    let garbage = Garbage::among(&found, &retention, Some(&holder), u64::MAX);
    let on_host = Garbage::on_host(&found, 1, u32::MAX);
    for name in [garbage.expired, garbage.orphans, on_host.expired, on_host.orphans].concat() {
        assert_inside(&name.to_string());
        assert!(!name.to_string().contains('/'));
    }
    history.newest() > 0 || !found.is_empty()
}

/// Reads a claim of a run, a byte 0, its sign of life, a byte 0, and what it continues.
pub fn claim(content: &[u8]) -> bool {
    let run = folder("claim");
    run.delete_all().unwrap();
    let (claim, rest) = at_zero(content);
    let (alive, beginning) = at_zero(rest);
    put(&run, "attempts/0001.json", claim);
    put(&run, "attempts/0001.alive", alive);
    if let Ok(id) = attempt::run_id(&run) {
        assert!(id.len() >= 16 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
        put(&run, &format!("attempts/0001.{}.from", &id[..8]), beginning);
        let history = History::read(&run).unwrap();
        assert_eq!(history.newest(), 1);
        let any = CheckpointName::parse("step-00000002-a0001-ae5a68b832fcbe1d").unwrap();
        let _ = history.is_void(&any);
    }
    let Ok(Some(holding)) = attempt::current(&run) else { return false };
    drop(holding.attempt.claimant());
    holding.attempt.host != "unknown"
}

/// Reads a part of a run's metrics.
pub fn metrics(content: &[u8]) -> bool {
    let run = folder("metrics");
    put(&run, "metrics/attempt-0001/part-000000.jsonl", content);
    let all = RunMetrics::read(&run).unwrap();
    let latest = LatestMetrics::read(&run).unwrap();
    assert_eq!(
        (latest.step.is_some(), latest.validation.is_some()),
        (!all.steps.is_empty(), !all.validations.is_empty())
    );
    !all.steps.is_empty()
}

/// Reads the config of a run, or of a prepare job.
pub fn config(content: &[u8]) -> bool {
    let Ok(raw) = RawConfig::parse_bytes("x", content, &[]) else { return false };
    let prepare = raw.clone().prepare();
    if let Ok(prepare) = &prepare {
        drop((prepare.to_toml(), prepare.prepare.with_absolute_paths()));
    }
    let run = raw.run();
    for error in [prepare.as_ref().err(), run.as_ref().err()].into_iter().flatten() {
        let _ = error.to_string();
    }
    let Ok(run) = run else { return prepare.is_ok() };
    hold_config(&run);
    true
}

/// Checks what is computed from a config.
fn hold_config(config: &RunConfig) {
    assert_eq!(&RawConfig::parse("again", &config.to_toml(), &[]).unwrap().run().unwrap(), config);
    differences(config, config);
    let (plan, last) = (config.batch_plan(), config.train.max_steps - 1);
    let consumed = last * plan.global_sequences;
    let _ = ((consumed + plan.global_sequences) * plan.sequence_tokens, plan.tokens_per_step());
    for ranks in [1, config.launch.ranks.max(1), 1 << 16] {
        let world = WorldSize::new(ranks).unwrap();
        for rank in [0, ranks - 1].map(Rank) {
            plan.micro_batches(consumed, rank, world).take(3).for_each(drop);
        }
        let cost = StepCost::of(config, world, 1 << 16, 8);
        let _ = (cost.memory().total(), cost.exchanged_bytes(), cost.flops(plan.global_sequences));
    }
    assert!([0, last].map(|step| config.lr_schedule().at(step)).iter().all(|rate| (*rate as f32).is_finite()));
    let (storage, launch) = (&config.storage, &config.launch);
    let seconds = [storage.deadline_s, storage.request_timeout_s, storage.stall_timeout_s, storage.connect_timeout_s]
        .into_iter()
        .chain([launch.host_poll_s, launch.start_timeout_s, launch.stall_timeout_s, launch.grace_s])
        .chain([launch.claim_expiry_s, config.parallel.timeout_s, config.kubernetes.pending_timeout_s]);
    let mut end = Instant::now();
    seconds.for_each(|seconds| end += Duration::from_secs(seconds));
    for duration in [config.checkpoint.interval(), config.checkpoint.local_interval(), config.checkpoint.first_after()]
    {
        end += duration.unwrap_or_default();
    }
}

/// Reads the file of an overlap filter, given up to its own hash, which is appended as docs/evaluation.md specifies.
pub fn overlap_filter(head: &[u8]) -> bool {
    let _ = Filter::read_from(head, head.len() as u64);
    let sealed = [head, &Sha256Sum::of(head).0[..]].concat();
    let length = sealed.len() as u64;
    for wrong in [0, length - 1, length + 8, u64::MAX] {
        assert!(Filter::read_from(&sealed[..], wrong).is_err(), "{length} bytes as {wrong}");
    }
    let Ok(filter) = Filter::read_from(&sealed[..], length) else { return false };
    let mut again = Vec::new();
    filter.write_to(&mut again).unwrap();
    assert_eq!(again, sealed);
    assert_sha256(&filter.identity());
    assert!((0.0..=1.0).contains(&filter.false_positives()));
    let text = "one two three four five six seven eight nine";
    let mut found = 0;
    grams(text, filter.seed(), |gram| found += u32::from(filter.contains(gram)));
    assert!(found <= 2);
    let mut more = filter.clone();
    more.insert_text(text);
    grams(text, filter.seed(), |gram| assert!(more.contains(gram)));
    assert!(more.merge(&filter).is_ok() && more.inserted() >= filter.inserted());
    true
}

/// Reads saved scores of items 0 to 2, without the hash on their first line, which is put in front.
pub fn score_part(rest: &[u8]) -> bool {
    let _ = Part::from_bytes(rest);
    let sealed = [hex_sha256(rest).as_bytes(), b"\n", rest].concat();
    let Ok(part) = Part::from_bytes(&sealed) else { return false };
    assert_eq!(Part::from_bytes(&part.to_bytes()).as_ref(), Ok(&part));
    let sequence = |item| {
        let key = Key { item, request: 0, window: 0 };
        Sequence { key, ids: vec![1, 2, 3], first_scored: 1, barred: Arc::from([]) }
    };
    let sequences = [0, 1, 2].map(sequence);
    let expected: HashMap<Key, &Sequence> = sequences.iter().map(|sequence| (sequence.key, sequence)).collect();
    let mut scores = Scores::default();
    let is_taken = part.add_to(&mut scores, "settings", &expected).is_ok();
    assert!(is_taken || scores.is_empty(), "all or none");
    for (key, score) in scores.iter() {
        assert!(expected.contains_key(&key) && score.tokens == 2 && score.log_likelihood.is_finite(), "{score:?}");
    }
    is_taken
}

/// Returns a folder of this thread's own, since tests run in parallel.
fn folder(name: &str) -> Folder {
    let url = format!("memory://formats/{name}-{:?}", std::thread::current().id());
    Folder::open(&url, &StorageConfig::default()).unwrap()
}

fn put(folder: &Folder, name: &str, content: &[u8]) {
    folder.put(name, Bytes::copy_from_slice(content)).unwrap();
}

fn at_zero(content: &[u8]) -> (&[u8], &[u8]) {
    match content.iter().position(|byte| *byte == 0) {
        Some(at) => (&content[..at], &content[at + 1..]),
        None => (content, b""),
    }
}

fn assert_inside(name: &str) {
    let mut components = Path::new(name).components();
    let is_inside = components.clone().next().is_some() && components.all(|part| matches!(part, Component::Normal(_)));
    let is_plain = !name.contains(char::is_control) && !name.split('/').any(|part| part.is_empty() || part == ".");
    assert!(is_inside && is_plain, "{name:?} is not in its folder");
}

fn assert_sha256(text: &str) {
    let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    assert!(text.len() == 64 && is_hex, "{text:?} is no SHA-256");
}

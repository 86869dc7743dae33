//! Checks data sets: opens them as training does, and compares the sizes of their shards. `launcher shards verify` also reads
//! every byte.

use std::collections::BTreeMap;
use std::fmt::Display;

use common::config::change::DataIdentity;
use common::config::{Backend, DataSource, RunConfig};
use common::preflight::{DataSize, Finding, outlook};
use common::storage::StorageError;
use common::threads;
use common::token_shard::{DataSetError, DataSetIndex, check_rows};
use common::tokenizer::Tokenizer;

use super::vocabulary;
use crate::error::LaunchError;
use crate::view::figures::counted;

/// Checks every data set of `config`, and what the run is going to do with them.
pub fn check(config: &RunConfig) -> Vec<Finding> {
    let (mut findings, sizes) = match Tokenizer::open(&config.data.tokenizer, &config.storage) {
        Ok(tokenizer) => check_sets(config, &tokenizer),
        Err(error) => (vec![Finding::failed("tokenizer", error.to_string())], Vec::new()),
    };
    let are_all_known = sizes.len() == config.data.train.len();
    findings.extend(outlook(config, if are_all_known { &sizes[..] } else { &[] }));
    findings
}

/// Checks every data set of `config`. Also returns the sizes of those of `data.train` that can be trained on.
fn check_sets(config: &RunConfig, tokenizer: &Tokenizer) -> (Vec<Finding>, Vec<DataSize>) {
    let (mut findings, mut sizes) = (vec![vocabulary::check(config, tokenizer)], Vec::new());
    for source in &config.data.train {
        match check_one("training data", source, config, tokenizer) {
            Ok((finding, size)) => {
                findings.push(finding);
                sizes.push(size);
            }
            Err(failed) => findings.push(failed),
        }
    }
    for source in &config.data.validation {
        let checked = check_one("validation data", source, config, tokenizer);
        findings.push(checked.map_or_else(|failed| failed, |(finding, _)| finding));
    }
    (findings, sizes)
}

/// Returns the properties of a run's data that determine the order of its sequences, for a launcher whose own machine trains
/// on it; `None` where only ranks can tell, or a store does not answer. Refuses data that cannot be trained on with this
/// config.
pub fn identity(config: &RunConfig) -> Result<Option<DataIdentity>, LaunchError> {
    if config.launch.backend != Backend::Local {
        return Ok(None);
    }
    let Ok(tokenizer) = Tokenizer::open(&config.data.tokenizer, &config.storage) else { return Ok(None) };
    let (name, sequence_tokens) = (&config.data.tokenizer, config.batch.sequence_tokens);
    let mut sequences = 0_u64;
    for source in &config.data.train {
        let set = match DataSetIndex::open(&source.url, (name, &tokenizer), &config.storage, sequence_tokens) {
            Err(DataSetError::Storage(_)) => return Ok(None),
            set => set?,
        };
        check_rows(config.model.vocabulary, set.index.vocabulary, set.folder.url())?;
        sequences = sequences.saturating_add(set.sequences(sequence_tokens));
    }
    Ok(Some(DataIdentity { tokenizer_hash: tokenizer.hash().to_owned(), sequences }))
}

fn check_one(
    subject: &str,
    source: &DataSource,
    config: &RunConfig,
    tokenizer: &Tokenizer,
) -> Result<(Finding, DataSize), Finding> {
    let failed = |error: &dyn Display| Finding::failed(subject, error.to_string());
    let (name, sequence_tokens) = (&config.data.tokenizer, config.batch.sequence_tokens);
    let set = DataSetIndex::open(&source.url, (name, tokenizer), &config.storage, sequence_tokens);
    let set = set.map_err(|error| failed(&error))?;
    check_sizes(&set).map_err(|error| failed(&error))?;
    let size = DataSize {
        url: set.folder.url().to_owned(),
        tokens: set.index.tokens,
        sequences: set.sequences(sequence_tokens),
        weight: source.weight,
    };
    let shards = counted(set.index.shards.len() as u64, "shard");
    let (tokens, sequences) = (counted(size.tokens, "token"), counted(size.sequences, "sequence"));
    let text = format!("{}: {shards}, {tokens}, {sequences}", size.url);
    let finding = match set.is_foreign() {
        true => {
            let advice = "nothing says with which tokenizer these were made, and damage cannot be seen: data.tokenizer is believed";
            Finding::warning(subject, format!("{text}; {advice}"))
        }
        false => Finding::ok(subject, text),
    };
    Ok((finding.with("tokens", size.tokens).with("sequences", size.sequences), size))
}

/// Checks that every shard has the length that the index says, which training would notice when it first reads one. A shard
/// for which the listing shows no such length is asked for by name.
fn check_sizes(set: &DataSetIndex) -> Result<(), String> {
    let (folder, shards) = (&set.folder, &set.index.shards);
    let listed = folder.list_in(&|_| false).unwrap_or_default();
    let sizes: BTreeMap<&str, u64> = listed.iter().map(|object| (&*object.name, object.bytes)).collect();
    let left: Vec<_> = shards.iter().filter(|shard| sizes.get(&*shard.name) != Some(&shard.bytes)).collect();
    let asked = threads::map(&left, folder.concurrency(), |shard| folder.size(&shard.name));
    for (shard, size) in left.iter().zip(asked) {
        match size {
            Ok(bytes) if bytes == shard.bytes => {}
            Ok(bytes) => {
                let (url, expected) = (folder.url_of(&shard.name), shard.bytes);
                return Err(format!("{url} has {bytes} bytes, expected {expected}; copy or prepare it again"));
            }
            Err(StorageError::NotFound { url }) => {
                return Err(format!("{url} does not exist; copy or prepare it again"));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::tests::base_config::base_config;
    use bytes::Bytes;
    use common::preflight::Verdict;
    use common::storage::Folder;
    use common::token_shard::{INDEX_NAME, Index, ShardEntry, encode};

    fn config(data: &str) -> RunConfig {
        let data = format!("data.train=[{{ url = {data:?} }}]");
        base_config(&[
            "run.output=memory://run",
            "model.preset=gpt2-124m",
            "batch.sequence_tokens=16",
            "train.max_steps=10",
            &data,
        ])
    }

    fn findings_after(name: &str, change: impl FnOnce(&Folder, &mut Index)) -> Vec<(Verdict, String)> {
        let url = format!("memory://preflight-{name}");
        let folder = Folder::open(&url, &config(&url).storage).unwrap();
        let tokens = encode(&[7; 100]);
        let entry = ShardEntry::describe("train-000000.bin", &tokens, 50256);
        let mut index = Index {
            version: 1,
            tokenizer: "gpt2".into(),
            tokenizer_hash: Tokenizer::gpt2().unwrap().hash().to_owned(),
            vocabulary: 50257,
            tokens: 100,
            documents: entry.documents,
            block_bytes: common::token_shard::BLOCK_BYTES,
            shards: vec![entry],
        };
        folder.put("train-000000.bin", tokens).unwrap();
        change(&folder, &mut index);
        folder.put(INDEX_NAME, index.to_json()).unwrap();
        check(&config(&url)).into_iter().map(|finding| (finding.verdict, finding.text)).collect()
    }

    #[test]
    fn a_whole_data_set_is_counted() {
        let found = findings_after("whole", |_, _| {});
        let verdicts: Vec<_> = found.iter().map(|found| found.0).collect();
        // Tokenizer, data, model, run, and no validation data.
        assert_eq!(verdicts, [Verdict::Ok, Verdict::Ok, Verdict::Ok, Verdict::Ok, Verdict::Warning], "{found:?}");
        assert!(found[1].1.contains("1 shard, 100 tokens, 6 sequences"), "{found:?}");
        assert!(
            found[3].1.contains("10 steps of 128 tokens: 1,280 tokens, 13.3 epochs of the data's 100"),
            "{found:?}"
        );
    }

    #[test]
    fn what_is_missing_cut_or_of_another_tokenizer_is_named() {
        for (name, expected, change) in [
            (
                "gone",
                "train-000000.bin does not exist",
                (|f, _| f.delete("train-000000.bin").unwrap()) as fn(&Folder, &mut Index),
            ),
            ("cut", "has 3 bytes, expected 1224", |f, _| {
                f.put("train-000000.bin", Bytes::from_static(b"abc")).unwrap()
            }),
            ("other", "made with the tokenizer", |_, index| index.tokenizer_hash = "00".into()),
        ] {
            let found = findings_after(name, change);
            assert!(found[1].0 == Verdict::Failed && found[1].1.contains(expected), "{found:?}");
            assert!(found[3].1.ends_with("10 steps of 128 tokens: 1,280 tokens"), "{found:?}");
        }
        let found = check(&config("memory://preflight-nothing"));
        assert!(
            found[1].verdict == Verdict::Failed && found[1].text.contains("no index.json and no token files"),
            "{found:?}"
        );
        let folder = Folder::open("memory://preflight-foreign", &config("memory://x").storage).unwrap();
        let checked = |name: &str, content: &[u8]| {
            folder.put(name, content.to_vec().into()).unwrap();
            check(&config("memory://preflight-foreign")).swap_remove(1)
        };
        let found = checked("train.bin", &[0; 68]);
        assert!(found.verdict == Verdict::Warning && found.text.contains("34 tokens, 2 sequences"), "{found:?}");
        let found = checked("val.bin", &[0; 68]);
        assert!(
            found.verdict == Verdict::Failed && found.text.contains("val.bin: it lies beside train.bin"),
            "{found:?}"
        );
        folder.delete("val.bin").unwrap();
        let found = checked("train.bin", &[0; 67]);
        assert!(found.verdict == Verdict::Failed && found.text.contains("not that of whole tokens"), "{found:?}");
    }
}

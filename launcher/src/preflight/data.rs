//! Data sets: the index says what must be there, a listing what is. `launcher shards verify` also reads every byte.

use std::collections::BTreeMap;

use common::config::{DataSource, RunConfig};
use common::host_facts::Finding;
use common::storage::Folder;
use common::token_shard::{INDEX_NAME, Index};
use common::tokenizer::Tokenizer;

use crate::progress::with_thousands;

/// Looks at every data set of `config`.
pub fn check(config: &RunConfig) -> Vec<Finding> {
    let tokenizer = match Tokenizer::open(&config.data.tokenizer, &config.storage) {
        Ok(tokenizer) => tokenizer,
        Err(error) => return vec![Finding::failed("tokenizer", error.to_string())],
    };
    let mut findings = vec![vocabulary(config, &tokenizer)];
    let sets = [("training data", &config.data.train), ("validation data", &config.data.validation)];
    for (subject, sources) in sets {
        let of_set = |source| check_one(subject, source, config, &tokenizer);
        findings.extend(sources.iter().map(of_set).map(|checked| checked.unwrap_or_else(|failed| failed)));
    }
    findings
}

/// Every token must have a row in the embedding.
fn vocabulary(config: &RunConfig, tokenizer: &Tokenizer) -> Finding {
    let (name, tokens, rows) = (&config.data.tokenizer, tokenizer.size(), config.model.vocabulary);
    if u64::from(tokens) > rows {
        let text = format!("{name:?} has {tokens} tokens, model.vocabulary is {rows}; give at least {tokens}");
        return Finding::failed("tokenizer", text);
    }
    Finding::ok("tokenizer", format!("{name:?}, {tokens} tokens"))
}

fn check_one(
    subject: &str,
    source: &DataSource,
    config: &RunConfig,
    tokenizer: &Tokenizer,
) -> Result<Finding, Finding> {
    let failed = |text: String| Finding::failed(subject, text);
    let folder = Folder::open(&source.url, &config.storage).map_err(|error| failed(error.to_string()))?;
    let url = folder.url().to_owned();
    let Some(content) = folder.get_if_exists(INDEX_NAME).map_err(|error| failed(error.to_string()))? else {
        let has_files = folder.list().is_ok_and(|listed| !listed.is_empty());
        let is_file = || folder.parent().is_some_and(|(parent, name)| parent.info(&name).is_ok());
        if !has_files && !is_file() {
            return Err(failed(format!("{url}: there is nothing; `launcher prepare` makes a data set")));
        }
        let advice =
            "token files of other programs are looked at when training starts; otherwise run `launcher prepare`";
        return Ok(Finding::warning(subject, format!("{url} has no {INDEX_NAME}; {advice}")));
    };
    let index = Index::parse(&folder.url_of(INDEX_NAME), &content).map_err(|error| failed(error.to_string()))?;
    if index.tokenizer_hash != tokenizer.hash() {
        return Err(failed(format!(
            "{url} was made with the tokenizer {:?} of hash {}, data.tokenizer = {:?} has {}; name the one that made it",
            index.tokenizer,
            index.tokenizer_hash,
            config.data.tokenizer,
            tokenizer.hash()
        )));
    }
    let listed = folder.list().map_err(|error| failed(error.to_string()))?;
    let sizes: BTreeMap<&str, u64> = listed.iter().map(|object| (&*object.name, object.bytes)).collect();
    for shard in &index.shards {
        let shard_url = folder.url_of(&shard.name);
        match sizes.get(&*shard.name) {
            None => return Err(failed(format!("{shard_url} does not exist; copy or prepare it again"))),
            Some(bytes) if *bytes != shard.bytes => {
                let expected = shard.bytes;
                let text = format!("{shard_url} has {bytes} bytes, expected {expected}; copy or prepare it again");
                return Err(failed(text));
            }
            Some(_) => {}
        }
    }
    let sequences: u64 = index.shards.iter().map(|shard| shard.sequences(config.batch.sequence_tokens)).sum();
    if sequences == 0 {
        return Err(failed(format!("{url} has no whole sequence of {} tokens", config.batch.sequence_tokens)));
    }
    let (shards, tokens) = (with_thousands(index.shards.len() as u64), with_thousands(index.tokens));
    Ok(Finding::ok(
        subject,
        format!("{url}: {shards} shards, {tokens} tokens, {} sequences", with_thousands(sequences)),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use common::config::RawConfig;
    use common::host_facts::Verdict;
    use common::token_shard::{ShardEntry, encode};

    fn config(data: &str) -> RunConfig {
        let text = format!(
            "[run]\noutput = \"memory://run\"\n[model]\npreset = \"gpt2-124m\"\n[data]\ntrain = [{{ url = {data:?} }}]\n\
             [batch]\nglobal_sequences = 8\nmicro_sequences = 4\nsequence_tokens = 16\n\
             [optimizer]\npeak_learning_rate = 1e-4\nwarmup_steps = 0\n[train]\nmax_steps = 10\n"
        );
        RawConfig::parse("test", &text, &[]).unwrap().run().unwrap()
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
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].0, Verdict::Ok);
        assert!(found[1].1.contains("1 shards, 100 tokens, 6 sequences"), "{found:?}");
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
            ("other", "was made with the tokenizer", |_, index| index.tokenizer_hash = "00".into()),
        ] {
            let found = findings_after(name, change);
            assert!(found[1].0 == Verdict::Failed && found[1].1.contains(expected), "{found:?}");
        }
        let found = check(&config("memory://preflight-nothing"));
        assert!(found[1].verdict == Verdict::Failed && found[1].text.contains("there is nothing"), "{found:?}");
        let folder = Folder::open("memory://preflight-foreign", &config("memory://x").storage).unwrap();
        folder.put("train.bin", Bytes::from_static(b"abcd")).unwrap();
        let found = check(&config("memory://preflight-foreign"));
        assert!(found[1].verdict == Verdict::Warning && found[1].text.contains("has no index.json"), "{found:?}");
    }
}

//! What may differ between the config of a checkpoint and the config of the run that resumes from it. Pure.
//!
//! A change that only concerns how a run is carried out is free. A change that makes it another experiment needs consent,
//! and is recorded. A change that would give the state, or the position in the data, another meaning is refused.

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::run_config::RunConfig;

/// A change of a key's value in the middle of a run, accepted by the user and recorded in manifests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigChange {
    /// `section.key`, or [`WEIGHTS`].
    pub key: String,
    /// Value before the change, as TOML.
    pub from: String,
    /// Value after the change, as TOML.
    pub to: String,
    /// Last step before the change.
    pub step: u64,
    /// Number of sequences consumed before the change.
    pub sequences_consumed: u64,
    /// Attempt that accepted the change.
    pub attempt: u32,
}

/// Key that stands for the weights of `data.train`, each relative to the first.
pub const WEIGHTS: &str = "data.weights";
/// Key of the global batch size.
const GLOBAL_BATCH: &str = "batch.global_sequences";

/// What a change of a key requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Requires nothing.
    Free,
    /// Requires `--accept-change`.
    Consent,
    /// Is never possible.
    Refused,
}

/// Rules by key. A pattern that ends with a dot stands for all keys of a section. The first pattern that fits counts.
const RULES: [(&str, Rule); 20] = [
    ("run.seed", Rule::Refused),
    ("run.", Rule::Free),
    ("model.", Rule::Refused),
    // The location of the data may change. The tokenizer's hash and the number of sequences show that its content has not.
    (WEIGHTS, Rule::Consent),
    ("data.", Rule::Free),
    (GLOBAL_BATCH, Rule::Consent),
    ("batch.micro_sequences", Rule::Free),
    ("batch.sequence_tokens", Rule::Refused),
    ("optimizer.", Rule::Consent),
    ("train.precision", Rule::Consent),
    ("train.gradients", Rule::Consent),
    ("train.stochastic_rounding", Rule::Consent),
    ("train.", Rule::Free),
    ("parallel.", Rule::Free),
    ("checkpoint.", Rule::Free),
    ("evaluation.", Rule::Free),
    ("launch.", Rule::Free),
    ("kubernetes.", Rule::Free),
    ("metrics.", Rule::Free),
    ("storage.", Rule::Free),
];

/// Returns what a change of `key` requires, or `None` if no config has that key.
pub fn rule_of(key: &str) -> Option<Rule> {
    let fits = |pattern: &str| key == pattern || (pattern.ends_with('.') && key.starts_with(pattern));
    RULES.iter().find(|(pattern, _)| fits(pattern)).map(|(_, rule)| *rule)
}

/// Refuses keys that `config` does not have, and keys that need no consent or cannot get it.
pub fn check_accepted(keys: &[String], config: &RunConfig) -> Result<(), String> {
    let known = values(config);
    let rule = |key: &String| known.iter().find(|(known, _)| known == key).and_then(|(key, _)| rule_of(key));
    let Some(key) = keys.iter().find(|key| rule(key) != Some(Rule::Consent)) else { return Ok(()) };
    Err(match rule(key) {
        Some(Rule::Free) => format!("--accept-change {key}: it may change without that"),
        Some(_) => format!("--accept-change {key}: it cannot change in the middle of a run"),
        None => format!("--accept-change {key}: there is no such key; configs/README.md lists those that need this"),
    })
}

/// A difference between two configs that is not free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// `section.key`.
    pub key: String,
    /// Value in the first config, as TOML.
    pub from: String,
    /// Value in the second config, as TOML.
    pub to: String,
    /// Rule of the key; never [`Rule::Free`].
    pub rule: Rule,
}

/// Returns all differences that are not free between the config of a checkpoint and the config that continues from it.
pub fn differences(saved: &RunConfig, now: &RunConfig) -> Vec<Difference> {
    let (saved, now) = (values(saved), values(now));
    let differences = now.into_iter().zip(saved).filter_map(|((key, to), (_, from))| {
        let rule = rule_of(&key).unwrap_or(Rule::Refused);
        (rule != Rule::Free && from != to).then_some(Difference { key, from, to, rule })
    });
    differences.collect()
}

/// Returns the differences in `found`, if each of them needs consent and is among the `accepted` keys. Fails with a
/// description of the others, in which `name` is what cannot be resumed.
pub fn consent(name: &str, found: Vec<Difference>, accepted: &[String]) -> Result<Vec<Difference>, String> {
    let is_accepted = |d: &Difference| d.rule == Rule::Consent && accepted.contains(&d.key);
    let (accepted, refused): (Vec<_>, Vec<_>) = found.into_iter().partition(is_accepted);
    if refused.is_empty() {
        return Ok(accepted);
    }
    let lines: Vec<_> = refused.iter().map(Difference::in_words).collect();
    Err(format!(
        "{name} cannot be resumed with this config:\n  {}\nTo begin the run again with this config instead, from its first step, give the \
         same command --from-scratch",
        lines.join("\n  ")
    ))
}

impl Difference {
    /// Describes the difference, and what to do about it.
    fn in_words(&self) -> String {
        let Difference { key, from, to, rule } = self;
        let advice = match rule {
            Rule::Consent => format!("give --accept-change {key} if that is meant, or {key} = {from}"),
            _ => "this cannot change in the middle of a run; give what it began with, or another run.output".to_owned(),
        };
        format!("{key} was {from} and is now {to}: {advice}")
    }
}

/// What the order of training sequences depends on besides the config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataIdentity {
    /// Hash of the tokenizer that made the token shards.
    pub tokenizer_hash: String,
    /// Number of sequences in all data sets.
    pub sequences: u64,
}

impl DataIdentity {
    /// Returns how `now` differs from `self`.
    pub fn differences(&self, now: &DataIdentity) -> Vec<Difference> {
        let of = |key: &str, from: String, to: String| {
            (from != to).then(|| Difference { key: key.into(), from, to, rule: Rule::Refused })
        };
        let hash = of("data.train's tokenizer hash", self.tokenizer_hash.clone(), now.tokenizer_hash.clone());
        let sequences = of("data.train's sequences", self.sequences.to_string(), now.sequences.to_string());
        hash.into_iter().chain(sequences).collect()
    }
}

/// Returns the number of consumed sequences at which the present order of the data began: the last change of the global
/// batch or of the weights, or 0.
pub fn order_since(changes: &[ConfigChange]) -> u64 {
    let of_order = |change: &&ConfigChange| change.key == GLOBAL_BATCH || change.key == WEIGHTS;
    changes.iter().filter(of_order).map(|change| change.sequences_consumed).max().unwrap_or(0)
}

/// Returns every key of `config` with its value, in the order of the sections. Any two configs have equal keys, since every
/// default is filled in.
fn values(config: &RunConfig) -> Vec<(String, String)> {
    let table = Table::try_from(config).unwrap_or_else(|e| unreachable!("a config is TOML: {e}"));
    let mut values = Vec::new();
    for (section, keys) in &table {
        for (key, value) in keys.as_table().into_iter().flatten() {
            values.push((format!("{section}.{key}"), value.to_string()));
        }
    }
    let train = &config.data.train;
    let relative: Vec<_> = train.iter().map(|source| Value::Float(source.weight / train[0].weight)).collect();
    values.push((WEIGHTS.to_owned(), Value::Array(relative).to_string()));
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RawConfig;

    fn config(overrides: &[&str]) -> RunConfig {
        let text = "[run]\noutput = \"x\"\n[model]\npreset = \"tiny-cpu\"\n[data]\ntrain = [{ url = \"a\" }, { url = \"b\" }]\n\
                    [batch]\nglobal_sequences = 8\nmicro_sequences = 4\nsequence_tokens = 64\n\
                    [optimizer]\npeak_learning_rate = 1e-3\nwarmup_steps = 1\n[train]\nmax_steps = 10\n";
        let overrides: Vec<_> = overrides.iter().map(|given| (*given).to_owned()).collect();
        RawConfig::parse("of the test", text, &overrides).unwrap().run().unwrap()
    }

    #[test]
    fn every_key_has_a_rule() {
        for (key, _) in values(&config(&[])) {
            assert!(rule_of(&key).is_some(), "what does a change of {key} need?");
        }
        for key in ["runs.seed", "seed", "batch.size", ""] {
            assert_eq!(rule_of(key), None, "{key}");
        }
    }

    #[test]
    fn changes_are_free_or_need_consent_or_are_refused() {
        let saved = config(&[]);
        let differing = |overrides: &[&str]| {
            let found = differences(&saved, &config(overrides)).into_iter();
            found.map(|d| (d.key, d.from, d.to, d.rule)).collect::<Vec<_>>()
        };
        let free = [
            "run.name=y",
            "run.output=z",
            "run.device=cpu",
            "data.train=[{ url = \"elsewhere/a\", weight = 2 }, { url = \"elsewhere/b\", weight = 2 }]",
            "data.cache_bytes=0",
            "batch.micro_sequences=2",
            "train.max_steps=20",
            "optimizer.decay_steps=10",
            "train.recompute=block",
            "parallel.zero=1",
            "checkpoint.every_steps=7",
            "evaluation.every_steps=7",
            "launch.ranks=2",
            "metrics.profile=1..2",
            "storage.concurrency=3",
        ];
        assert_eq!(differing(&free), []);
        let one = |given, key: &str, from: &str, to: &str, rule| {
            assert_eq!(differing(&[given]), [(key.to_owned(), from.to_owned(), to.to_owned(), rule)]);
        };
        one("optimizer.beta1=0.8", "optimizer.beta1", "0.9", "0.8", Rule::Consent);
        // The schedule ends with the run unless the config says otherwise.
        one("train.max_steps=20", "optimizer.decay_steps", "10", "20", Rule::Consent);
        one("batch.global_sequences=16", GLOBAL_BATCH, "8", "16", Rule::Consent);
        one("train.precision=bfloat16", "train.precision", "\"float32\"", "\"bfloat16\"", Rule::Consent);
        let weights = "data.train=[{ url = \"a\" }, { url = \"b\", weight = 3 }]";
        one(weights, WEIGHTS, "[1.0, 1.0]", "[1.0, 3.0]", Rule::Consent);
        one("run.seed=2", "run.seed", "1337", "2", Rule::Refused);
        one("batch.sequence_tokens=32", "batch.sequence_tokens", "64", "32", Rule::Refused);
        let model = differing(&["model.preset=gpt2-124m"]);
        assert!(model.iter().all(|(key, _, _, rule)| key.starts_with("model.") && *rule == Rule::Refused));
        assert!(!model.is_empty());
    }

    #[test]
    fn a_warm_up_that_another_version_chose_is_not_changed_in_silence() {
        let without = config(&[]).to_toml().replace("warmup_steps = 1\n", "");
        let with_default = |steps: u64| {
            let overrides = [format!("train.max_steps={steps}"), format!("optimizer.decay_steps={steps}")];
            RawConfig::parse("of the test", &without, &overrides).unwrap().run().unwrap()
        };
        let saved_by_0_2 = |steps: u64| {
            let mut saved = with_default(steps);
            saved.optimizer.warmup_steps = Some(700);
            saved
        };
        assert_eq!(differences(&saved_by_0_2(18_865), &with_default(18_865)), []);
        let found = differences(&saved_by_0_2(2000), &with_default(2000));
        let refused = consent("x", found, &[]).unwrap_err();
        assert!(refused.contains("optimizer.warmup_steps was 700 and is now 200"), "{refused}");
        assert!(refused.contains("or optimizer.warmup_steps = 700"), "{refused}");
    }

    #[test]
    fn only_what_needs_consent_can_be_accepted() {
        let config = config(&[]);
        let check = |key: &str| check_accepted(&["optimizer.beta1".to_owned(), key.to_owned()], &config);
        check(WEIGHTS).unwrap();
        assert!(check("launch.ranks").unwrap_err().contains("without that"));
        assert!(check("run.seed").unwrap_err().contains("cannot change"));
        assert!(check("optimizer.beta3").unwrap_err().contains("no such key"));
    }

    #[test]
    fn a_new_order_begins_where_the_batch_or_the_weights_change() {
        let change = |key: &str, sequences_consumed| ConfigChange {
            key: key.into(),
            from: String::new(),
            to: String::new(),
            step: 1,
            sequences_consumed,
            attempt: 1,
        };
        assert_eq!(order_since(&[]), 0);
        let changes = [change(GLOBAL_BATCH, 10), change(WEIGHTS, 20), change("optimizer.beta1", 30)];
        assert_eq!(order_since(&changes), 20);
    }
}

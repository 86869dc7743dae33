//! The configs that come with Convoy can be read, and their README agrees with the code.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::config::RawConfig;
use toml::{Table, Value};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Returns the `.toml` files of `folder` that are configs.
fn configs_in(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(repository().join(folder)).unwrap();
    entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "toml")).collect()
}

#[test]
fn every_config_is_accepted() {
    let (mut runs, mut prepares) = (0, 0);
    for path in configs_in("configs") {
        let raw = RawConfig::load(&path, &[]).unwrap();
        if path.file_name().unwrap().to_str().unwrap().starts_with("prepare-") {
            raw.prepare().unwrap_or_else(|e| panic!("{e}"));
            prepares += 1;
        } else {
            raw.run().unwrap_or_else(|e| panic!("{e}"));
            runs += 1;
        }
    }
    assert!(runs >= 5 && prepares >= 1, "found only {runs} runs and {prepares} prepare jobs");
    for overlay in ["cpu", "gpu", "spot"] {
        let path = repository().join(format!("k8s/overlays/{overlay}/run.toml"));
        RawConfig::load(&path, &[]).unwrap().run().unwrap_or_else(|e| panic!("{e}"));
    }
    let path = repository().join("k8s/overlays/prepare/prepare.toml");
    RawConfig::load(&path, &[]).unwrap().prepare().unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn recipes_multiply_to_their_sums() {
    // Tokens per step, and steps, from the recipes of llm.c.
    let recipes = [
        ("gpt2-124m", 524_288, 18_865),
        ("gpt2-355m", 524_288, 60_000),
        ("gpt2-774m", 524_288, 286_102),
        ("gpt2-1558m", 1_048_576, 32_000),
    ];
    for (name, step_tokens, steps) in recipes {
        let path = repository().join(format!("configs/{name}.toml"));
        let config = RawConfig::load(&path, &[]).unwrap().run().unwrap();
        assert_eq!(config.batch.global_sequences * config.batch.sequence_tokens, step_tokens, "{name}");
        assert_eq!(config.train.max_steps, steps, "{name}");
        assert_eq!(Some(config.model), common::config::ModelConfig::preset(name), "{name}");
    }
}

/// Default of each `section.key` that the README's tables name; `None` if the key is required or depends on another.
type Documented = BTreeMap<String, Option<Value>>;

fn documented_keys() -> Documented {
    let text = std::fs::read_to_string(repository().join("configs/README.md")).unwrap();
    let (mut keys, mut section, mut in_keys) = (Documented::new(), String::new(), false);
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## `[") {
            section = heading.trim_end_matches("]`").to_owned();
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        match cells.get(1) {
            // Other tables have other headings.
            Some(&"key") => in_keys = true,
            Some(key) if in_keys && key.starts_with('`') => {
                let key = format!("{section}.{}", key.trim_matches('`'));
                assert!(keys.insert(key.clone(), default_of(cells[3])).is_none(), "{key} is there twice");
            }
            Some(_) => {}
            None => in_keys = false,
        }
    }
    keys
}

fn default_of(cell: &str) -> Option<Value> {
    let literal = cell.strip_prefix('`')?.strip_suffix('`')?;
    toml::from_str::<Table>(&format!("value = {literal}")).unwrap().remove("value")
}

/// Configs that give only what is required.
const RUN: &str = r#"
    run.output = "runs/test"
    model = { layers = 3, width = 64, heads = 2, context_tokens = 128, vocabulary = 50257 }
    data.train = [{ url = "data/train" }]
    batch = { global_sequences = 8, micro_sequences = 4, sequence_tokens = 64 }
    optimizer.peak_learning_rate = 1e-3
    train.max_steps = 1000
"#;
const PREPARE: &str = "prepare = { inputs = [\"text.txt\"], output = \"data\" }";

/// Returns every `section.key` of these configs, with its value.
fn resolved_keys() -> BTreeMap<String, Value> {
    let mut table: Table =
        toml::from_str(&RawConfig::parse("run", RUN, &[]).unwrap().run().unwrap().to_toml()).unwrap();
    let job = RawConfig::parse("prepare", PREPARE, &[]).unwrap().prepare().unwrap();
    table.insert("prepare".into(), Value::try_from(job.prepare).unwrap());
    table.insert("webtext".into(), Value::try_from(job.webtext).unwrap());
    let keys_of = |(section, keys): (String, Value)| match keys {
        Value::Table(keys) => keys.into_iter().map(|(key, value)| (format!("{section}.{key}"), value)).collect(),
        other => vec![(section, other)],
    };
    table.into_iter().flat_map(keys_of).collect()
}

/// Returns what is wrong with the config in which `key` is `value`, if anything.
fn refusal(key: &str, value: &str) -> Option<String> {
    let overrides = [format!("{key}={value}")];
    match key.starts_with("prepare.") {
        true => RawConfig::parse("prepare", PREPARE, &overrides).unwrap().prepare().err().map(|e| e.to_string()),
        false => RawConfig::parse("run", RUN, &overrides).unwrap().run().err().map(|e| e.to_string()),
    }
}

#[test]
fn every_number_has_a_bound_and_what_lies_beyond_is_refused_by_its_key() {
    let mut numbers = 0;
    for (key, value) in resolved_keys() {
        let beyond: &[&str] = match value {
            // Any seed is valid.
            Value::Integer(_) if key.ends_with(".seed") => &["-1", "-9223372036854775808"],
            Value::Integer(_) => &["-1", "9223372036854775807"],
            Value::Float(_) => &["-1e-9", "1e308", "inf", "-inf", "nan"],
            _ => continue,
        };
        numbers += 1;
        for value in beyond {
            let refusal = refusal(&key, value).unwrap_or_else(|| panic!("{key} = {value} is accepted"));
            let of_key = refusal.lines().find(|line| line.trim_start().starts_with(&format!("{key} = ")));
            let of_key = of_key.unwrap_or_else(|| panic!("{key} = {value}: {refusal}"));
            assert!(of_key.contains("must be "), "{of_key}");
        }
    }
    assert!(numbers > 60, "only {numbers} numbers were tried");
}

fn faults(overrides: &[&str]) -> String {
    let overrides: Vec<_> = overrides.iter().map(|given| (*given).to_owned()).collect();
    RawConfig::parse("run", RUN, &overrides).unwrap().run().unwrap_err().to_string()
}

#[test]
fn products_have_bounds_too() {
    let wide = ["model.context_tokens=1048576", "batch.sequence_tokens=1048576", "batch.global_sequences=65"];
    let text = faults(&[&wide[..], &["batch.micro_sequences=65"]].concat());
    assert!(text.contains("batch.micro_sequences = 65: makes micro batches of more than 67108864 tokens"), "{text}");
    let text = faults(&["batch.global_sequences=1048576", "train.max_steps=5000000"]);
    assert!(text.contains("train.max_steps = 5000000: consumes more than 4398046511104 sequences"), "{text}");
}

#[test]
fn a_fault_of_a_config_shows_no_password() {
    let text = faults(&["data.train=[{ url = \"https://me:hunter2@host/x\", weigh = 1 }]"]);
    assert!(text.contains("https://host/x") && !text.contains("hunter2"), "{text}");
    for (content, overrides) in
        [("[data]\nurl = https://me:hunter2@host", vec![]), ("", vec!["https://me:hunter2@host".into()])]
    {
        let error = RawConfig::parse("run.toml", content, &overrides).unwrap_err().to_string();
        assert!(error.contains("://host") && !error.contains("hunter2"), "{error}");
    }
}

#[test]
fn a_config_that_is_not_utf8_is_refused_by_its_line() {
    let error = RawConfig::parse_bytes("run.toml", b"# one\n[run]\nname = \"caf\xe9\"\n", &[]).unwrap_err().to_string();
    assert!(error.contains("run.toml") && error.contains("line 3 is not UTF-8"), "{error}");
}

#[test]
fn the_readme_names_every_key_with_its_default_and_no_other() {
    let (documented, resolved) = (documented_keys(), resolved_keys());
    let names = |map: Vec<&String>| map.into_iter().cloned().collect::<Vec<_>>();
    assert_eq!(names(documented.keys().collect()), names(resolved.keys().collect()));
    for (key, default) in &documented {
        if let Some(default) = default {
            assert_eq!(default, &resolved[key], "configs/README.md gives another default of {key}");
        }
    }
}

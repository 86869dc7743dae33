//! The configs that come with Convoy can be read, and their README says what the code does.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::config::RawConfig;
use toml::{Table, Value};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The `.toml` files of `folder` that are configs.
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
    // Tokens a step and steps, from the recipes of llm.c.
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

/// Default of each `section.key` that the README's tables name; `None` where it is required or depends on another key.
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

/// Every `section.key` of configs that give only what is required, with its value.
fn resolved_keys() -> BTreeMap<String, Value> {
    let run = r#"
        run.output = "runs/test"
        model.preset = "tiny-cpu"
        data.train = [{ url = "data/train" }]
        batch = { global_sequences = 8, micro_sequences = 4, sequence_tokens = 64 }
        optimizer.peak_learning_rate = 1e-3
        train.max_steps = 1000
    "#;
    let prepare = "prepare = { inputs = [\"text.txt\"], output = \"data\" }";
    let mut table: Table =
        toml::from_str(&RawConfig::parse("run", run, &[]).unwrap().run().unwrap().to_toml()).unwrap();
    let prepare = RawConfig::parse("prepare", prepare, &[]).unwrap().prepare().unwrap().prepare;
    table.insert("prepare".into(), Value::try_from(prepare).unwrap());
    let keys_of = |(section, keys): (String, Value)| match keys {
        Value::Table(keys) => keys.into_iter().map(|(key, value)| (format!("{section}.{key}"), value)).collect(),
        other => vec![(section, other)],
    };
    table.into_iter().flat_map(keys_of).collect()
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

//! The base config of tests: a test states only the keys that it is about.
//!
//! Absent here: the config of a model that trains in seconds, which comes with data ([`crate::scratch::Scratch::config`]).

use common::config::{RawConfig, RunConfig};

/// Content of `tests/base.toml`: 6 steps of the preset tiny-cpu, with the run folder `run` and the data set `data/train`.
pub const BASE: &str = include_str!("../base.toml");

/// Parses [`BASE`] with `overrides`, each `section.key=value`; later ones win.
///
/// # Panics
/// Panics if the config has faults.
pub fn base_config(overrides: &[&str]) -> RunConfig {
    let overrides: Vec<String> = overrides.iter().map(|given| (*given).to_owned()).collect();
    let config = RawConfig::parse("of the test", BASE, &overrides).and_then(RawConfig::run);
    config.unwrap_or_else(|e| panic!("{e}"))
}

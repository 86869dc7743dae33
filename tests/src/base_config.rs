//! The config that tests begin with: a test says only what it is about.
//!
//! Not here: the config of a model that trains in seconds, whose data is there as well ([`crate::scratch::Scratch::config`]).

use common::config::{RawConfig, RunConfig};

/// `tests/base.toml`: 6 steps of the preset tiny-cpu, with the run folder `run` and the data set `data/train`.
pub const BASE: &str = include_str!("../base.toml");

/// The same with `overrides`, each `section.key=value`, later ones winning.
///
/// # Panics
/// Where it has faults.
pub fn base_config(overrides: &[&str]) -> RunConfig {
    let overrides: Vec<String> = overrides.iter().map(|given| (*given).to_owned()).collect();
    let config = RawConfig::parse("of the test", BASE, &overrides).and_then(RawConfig::run);
    config.unwrap_or_else(|e| panic!("{e}"))
}

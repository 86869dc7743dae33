//! `launcher init`: a first config for a text and a machine.
//!
//! - [`machine`]: looks at this machine.
//! - [`plan`]: sizes that fit a text and a machine; pure. [`sizes`]: the models that it chooses from.
//! - [`config_text`]: the config as text, with comments; pure.
//! - [`places`]: names of the folders that the config names.
//! - [`error`]: why there is no config.
//!
//! Absent on purpose: how much text there is, which the prepare program finds out with the readers that it prepares with.

pub mod config_text;
pub mod error;
pub mod machine;
pub mod places;
pub mod plan;
pub mod sizes;

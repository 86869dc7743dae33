//! Tests of the launcher from the outside: the built program, with a fake worker in the place of the real one.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and says why it skips")]

mod backends;
mod commands;
mod harness;
mod shards;
mod tokenizer;
mod train;

//! Duplicates are those that others find: datatrove's signatures, all pairs by brute force, and the probability that theory gives.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]

mod chains;
mod clusters;
mod corpora;
mod curve;
mod files;
mod golden;
mod support;

//! Tests of data before and during a run: prepared from all kinds of files and names, stored, and read within bounds of
//! memory.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it leaves out"
)]

mod corpora;
mod duplicates;
mod hard_on_memory;
mod memory;
mod odd_names;
mod prepare;
mod stages;
mod stages_on_real_pages;
mod stages_on_s3;
mod storage;

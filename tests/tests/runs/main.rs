//! Tests of runs on this machine, as a user starts them, under all kinds of trouble.
//!
//! They are one executable, since most of each would be the harness, linked again. A few tests train at once
//! ([`tests::training::turn`]).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it leaves out"
)]

mod changed_config;
mod check;
mod crash_points_of_a_run;
mod equivalence;
mod evaluation;
mod evaluation_overlap;
mod evaluation_real_files;
mod evaluation_scores;
mod failure;
mod going_back;
mod hangs;
mod init;
mod kills;
mod limits;
mod local_tier;
mod nccl;
mod one_writer;
mod open_mpi_5;
mod overlap;
mod resume;
mod sample;
mod save_trouble;
mod signals;
mod stop;
mod tasks;
mod training_storage;
mod world_sizes;

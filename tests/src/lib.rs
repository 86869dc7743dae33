//! The harness of the end-to-end tests: what several tests need, and nothing that Convoy itself contains.
//!
//! - [`base_config`]: the base config of tests.
//! - [`scratch`]: a folder for one test, with generated token shards and the config of a model that trains in seconds.
//! - [`documents`]: documents to prepare, and what comes of them. [`killed`]: jobs that are killed while they prepare.
//! - [`pages`]: web pages. [`staged`]: jobs with stages, which make documents of them, and what comes of these jobs.
//! - [`process`]: Convoy's programs and mpirun, run so that nothing hangs or outlives a test.
//! - [`training`]: training as a user starts it, and how it must end.
//! - [`remote_shell`]: several names for this machine as hosts. [`cluster`]: a cluster with processes for pods.
//! - [`hosts`]: several hosts on this machine, each with a network and an sshd of its own.
//! - [`random`]: random choices that can be repeated.
//! - [`s3`], [`large_reads`]: a real S3 server on 127.0.0.1, in the test's process; `s3-server` is a program with this
//!   server.
//! - [`credentials`]: a service that hands out keys for it.
//! - [`servers`]: other stores as processes: moto, Azurite, fake-gcs-server, a web server.
//! - [`faults`]: faults of the S3 server on purpose, of each [`fault_kind`]. [`listings`]: its wrong listings. [`link`]: its
//!   slowness.
//! - [`odd_store`]: a store with keys that nobody would choose, and a web server that requires a signature.
//! - [`store`]: an S3 server as the store of one test, which may be away for a while.
//! - [`storage_conformance`]: what every store must do.
//!
//! Functions here panic when they cannot do their part, with a message that says what to do: the test then fails, as it
//! should. Golden files are in `tests/golden`, made by `scripts/golden`; the tests themselves are in `tests/tests`.

#![allow(clippy::print_stdout, reason = "a test's output is shown where it fails")]
#![allow(clippy::expect_used, reason = "a harness that cannot do its part fails the test, with these words")]

pub mod base_config;
pub mod cluster;
pub mod credentials;
pub mod documents;
pub mod fault_kind;
pub mod faults;
pub mod hosts;
pub mod killed;
pub mod large_reads;
pub mod link;
pub mod listings;
pub mod odd_store;
pub mod pages;
pub mod process;
pub mod random;
pub mod remote_shell;
pub mod s3;
pub mod scratch;
pub mod servers;
pub mod staged;
pub mod storage_conformance;
pub mod store;
pub mod training;

//! The end-to-end tests' harness: what several tests need, and nothing that Convoy itself contains.
//!
//! - [`base_config`]: the config that tests begin with.
//! - [`scratch`]: a place for one test, with generated token shards and a config of a model that trains in seconds.
//! - [`process`]: Convoy's programs, mpirun, and running them so that nothing hangs or outlives a test.
//! - [`training`]: training as a user starts it, and how it must end.
//! - [`remote_shell`]: several names for this machine as hosts; [`cluster`]: a cluster whose pods are processes.
//! - [`hosts`]: several hosts on this machine, each with a network and an sshd of its own.
//! - [`random`]: random choices that can be made again.
//! - [`s3`], [`large_reads`]: a real S3 server on 127.0.0.1, in the test's process; `s3-server` is the same as a program.
//! - [`credentials`]: a service that gives keys for it.
//! - [`servers`]: other people's stores as processes: moto, Azurite, fake-gcs-server, a web server.
//! - [`faults`]: what that server does wrong on purpose, of each [`fault_kind`]; [`listings`]: what it lists then; [`link`]: how slowly.
//! - [`odd_store`]: a store whose keys nobody would choose, and a web server that wants a signature.
//! - [`store`]: such a server as the store of one test, which may be away for a while.
//! - [`storage_conformance`]: what every store must do.
//!
//! Functions here panic where they cannot do their part, with what to do about it: that fails the test, as it should.
//! Golden files lie in `tests/golden`, made by `scripts/golden`; the tests themselves are in `tests/tests`.

#![allow(clippy::print_stdout, reason = "a test's output is shown where it fails")]
#![allow(clippy::expect_used, reason = "a harness that cannot do its part fails the test, with these words")]

pub mod base_config;
pub mod cluster;
pub mod credentials;
pub mod fault_kind;
pub mod faults;
pub mod hosts;
pub mod large_reads;
pub mod link;
pub mod listings;
pub mod odd_store;
pub mod process;
pub mod random;
pub mod remote_shell;
pub mod s3;
pub mod scratch;
pub mod servers;
pub mod storage_conformance;
pub mod store;
pub mod training;

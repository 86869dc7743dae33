//! Tests on several hosts: namespaces of this machine with sshd, a real Slurm on two of them, and manifests for Kubernetes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it leaves out"
)]

mod hosts;
mod kubernetes;
mod slurm;

//! `[parallel]`: how ranks exchange gradients.

use serde::{Deserialize, Serialize};

use super::section::Section;

/// `[parallel]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ParallelConfig {
    /// What carries the collectives. Default `auto`.
    pub collectives: CollectivesKind,
    /// 0: every rank holds and updates everything. 1: every rank holds the moments and master weights of a part, updates
    /// that, and gets the others' weights (ZeRO stage 1, Rajbhandari et al., 2020). Default 0.
    pub zero: u8,
    /// Gradients are reduced in buckets of about this size, each as soon as it is complete. Default 25 MiB.
    pub bucket_bytes: u64,
    /// A collective that takes longer has lost a rank: the run ends with exit code 4. Default 600.
    pub timeout_s: u64,
    /// Ranks compare digests of their weights every N steps and before every save; 0 disables it.
    /// One that differs ends the run with exit code 4. Default 100.
    pub verify_every_steps: u64,
}

/// `parallel.collectives`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CollectivesKind {
    /// When there is more than one rank, NCCL between GPUs and MPI otherwise; nothing when there is one.
    Auto,
    /// A world of one rank.
    Single,
    /// MPI through host memory.
    Mpi,
    /// NCCL for what is on GPUs, MPI for what is on the host.
    Nccl,
}

impl ParallelConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        ParallelConfig {
            collectives: section.or("collectives", CollectivesKind::Auto),
            zero: section.or("zero", 0),
            bucket_bytes: section.or("bucket_bytes", 25 << 20),
            timeout_s: section.or("timeout_s", 600),
            verify_every_steps: section.or("verify_every_steps", 100),
        }
    }
}

//! `[parallel]`: how ranks share the work and exchange gradients.

use serde::{Deserialize, Serialize};

use super::section::Section;

/// Section `[parallel]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ParallelConfig {
    /// Transport of the collectives. Default `auto`.
    pub collectives: CollectivesKind,
    /// ZeRO stage. 0: every rank holds and updates everything. 1: every rank holds the moments and master weights of its
    /// part, updates that part, and receives the weights of the others (Rajbhandari et al., 2020). Default 0.
    pub zero: u8,
    /// Approximate size of a bucket, in bytes. Each bucket is reduced as soon as it is complete. Default 25 MiB.
    pub bucket_bytes: u64,
    /// Seconds after which a collective has lost a rank, and the run ends with exit code 4. Default 600.
    pub timeout_s: u64,
    /// Ranks compare digests of their weights every N steps and before every save; 0 disables. A difference ends the run
    /// with exit code 4. Default 100.
    pub verify_every_steps: u64,
}

/// Values of `parallel.collectives`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CollectivesKind {
    /// NCCL between GPUs and MPI otherwise, if there is more than one rank; `single` if there is one.
    Auto,
    /// A world of one rank, without communication.
    Single,
    /// MPI through host memory.
    Mpi,
    /// NCCL for tensors on GPUs, MPI for those on the host.
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

//! Why a job does without Convoy's kernels.

/// Why there are no kernels of Convoy's own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoKernels(pub String);

//! The error that Convoy's kernels are not available.

/// Reason why Convoy's own kernels are not available.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoKernels(pub String);

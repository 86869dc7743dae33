//! Sources in CUDA, and the kernels in them.

use std::ffi::CStr;

/// A file of `worker/kernels`.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// Text of the file.
    pub text: &'static str,
    /// Names of its kernels.
    pub kernels: &'static [&'static CStr],
}

/// Code that all kernels share, which comes before them.
pub const COMMON: Source = Source { text: include_str!("../../../kernels/common.cuh"), kernels: &[] };

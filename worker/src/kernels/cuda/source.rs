//! CUDA's sources: what is compiled, and the kernels that come out of it.

use std::ffi::CStr;

/// A file of `worker/kernels`.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// What is in it.
    pub text: &'static str,
    /// Its kernels, by the names that they have there.
    pub kernels: &'static [&'static CStr],
}

/// What all kernels share; it comes before them.
pub const COMMON: Source = Source { text: include_str!("../../../kernels/common.cuh"), kernels: &[] };

//! Launches of kernels: the device that runs a kernel, and its numbers of blocks and threads.

use std::ffi::{CStr, c_void};

use tch::TchError;

/// Threads in a block, a power of two.
pub const THREADS: u32 = 512;
/// Threads in a warp.
pub const WARP: i64 = 32;
/// Number of blocks that keeps any GPU busy, if each takes several pieces of work in turn.
const BLOCKS_MAX: i64 = 132 * 8;

/// Numbers of blocks and threads that run a kernel.
#[derive(Debug, Clone, Copy)]
pub struct Grid {
    /// Number of blocks.
    pub blocks: u32,
    /// Number of threads in each block: whole warps.
    pub threads: u32,
}

/// A device that runs kernels.
pub trait Launch {
    /// Returns how many blocks of `threads` threads run `kernel` at once.
    fn resident_blocks(&self, kernel: &CStr, threads: u32) -> Result<u32, TchError>;

    /// Starts `kernel`, one of a [`Source`](super::source::Source), with pointers to its arguments, after the work
    /// already queued.
    ///
    /// # Safety
    /// The arguments match the kernel's in number and type, and their pointers lead to memory as it expects.
    unsafe fn launch(&self, kernel: &CStr, grid: Grid, arguments: &mut [*mut c_void]) -> Result<(), TchError>;
}

/// Returns the number of blocks for `n` elements, if each takes `of_each` at once.
pub fn blocks(n: i64, of_each: i64) -> u32 {
    (n + of_each - 1).div_euclid(of_each).clamp(1, BLOCKS_MAX) as u32
}

/// Returns the grid for `n` elements, one per thread.
pub fn threads(n: i64) -> Grid {
    Grid { blocks: blocks(n, THREADS.into()), threads: THREADS }
}

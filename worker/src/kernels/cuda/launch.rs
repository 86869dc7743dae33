//! Launches: where a kernel runs, and how many blocks and threads run it.

use std::ffi::{CStr, c_void};

use tch::TchError;

/// Threads of a block: a power of two.
pub const THREADS: u32 = 512;
/// Threads of a warp.
pub const WARP: i64 = 32;
/// Blocks that keep any GPU busy, where each takes what is there in turns.
const BLOCKS_MAX: i64 = 132 * 8;

/// How many run a kernel.
#[derive(Debug, Clone, Copy)]
pub struct Grid {
    /// Blocks.
    pub blocks: u32,
    /// Threads of each: whole warps.
    pub threads: u32,
}

/// Where kernels run.
pub trait Launch {
    /// How many blocks of so many threads run `kernel` at once.
    fn resident_blocks(&self, kernel: &CStr, threads: u32) -> Result<u32, TchError>;

    /// Starts `kernel`, one of those of a [`Source`](super::source::Source), with pointers to its arguments, after what is under way
    /// already.
    ///
    /// # Safety
    /// The arguments are as many as the kernel's and of their types, and what they point to is as it expects.
    unsafe fn launch(&self, kernel: &CStr, grid: Grid, arguments: &mut [*mut c_void]) -> Result<(), TchError>;
}

/// Blocks for `n` elements, of which each takes `of_each` at once.
pub fn blocks(n: i64, of_each: i64) -> u32 {
    (n + of_each - 1).div_euclid(of_each).clamp(1, BLOCKS_MAX) as u32
}

/// Threads for `n` elements, one by one.
pub fn threads(n: i64) -> Grid {
    Grid { blocks: blocks(n, THREADS.into()), threads: THREADS }
}

//! Bounds on a page, and on what its extraction may cost.

use serde::{Deserialize, Serialize};

/// Bounds on a page, and on what its extraction may cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Longest page that is parsed. Default 10 MiB.
    pub page_bytes: u64,
    /// Depth beyond which tags are dropped and their text kept, as browsers do. Default 512.
    pub depth: usize,
    /// Depth beyond which a page is refused. Default 8,192.
    pub refused_depth: usize,
    /// Longest value of an attribute; a longer one is dropped with its name. Default 64 KiB.
    pub attribute_bytes: usize,
    /// Address space of the child, its own 64 MiB of stack included. Default 1 GiB. Below
    /// [`MEMORY_BYTES_MIN`](Limits::MEMORY_BYTES_MIN) a child may not start.
    pub memory_bytes: u64,
    /// Processor time for a page, in ms. Default 10,000.
    pub cpu_ms: u64,
    /// Time for a page by the clock, in ms, after which a child is taken to hang. Default 120,000.
    pub wall_ms: u64,
}

impl Limits {
    /// Smallest address space that leaves room for an ordinary page beside the child's program, its stack, and what the system's
    /// allocator reserves for each thread.
    pub const MEMORY_BYTES_MIN: u64 = 256 << 20;
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            page_bytes: 10 << 20,
            depth: 512,
            refused_depth: 8192,
            attribute_bytes: 64 << 10,
            memory_bytes: 1 << 30,
            cpu_ms: 10_000,
            wall_ms: 120_000,
        }
    }
}

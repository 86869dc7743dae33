//! How a rank divides what it may hold in memory.

/// The parts of `prepare.memory_bytes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// A run is written when it has so much: little enough that writing goes on beside encoding. Another one may be on its way to
    /// the store meanwhile.
    pub run_bytes: usize,
    /// Raw content between reading and encoding; one document may have more.
    pub content_bytes: usize,
    /// What is sorted at once by each thread that writes shards.
    pub partition_bytes: u64,
}

impl Memory {
    /// Divides `bytes`. The rest is for what threads encode, requests under way, and bookkeeping.
    pub fn of(bytes: u64) -> Self {
        let part = |parts: u64| usize::try_from(bytes / parts).unwrap_or(usize::MAX);
        Memory { run_bytes: part(10), content_bytes: part(10), partition_bytes: bytes / 16 }
    }
}

//! Divides the memory that a rank may use.

/// The parts of `prepare.memory_bytes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Bytes at which a run is written: few enough that writing goes on beside encoding. Another run may be on its way to the
    /// store meanwhile.
    pub run_bytes: usize,
    /// Bytes of raw content between reading and encoding; a single document may have more.
    pub content_bytes: usize,
    /// Bytes that each thread which writes shards sorts at once.
    pub partition_bytes: u64,
}

impl Memory {
    /// Divides `bytes`. The rest is for what threads encode, requests in flight, and bookkeeping.
    pub fn of(bytes: u64) -> Self {
        let part = |parts: u64| usize::try_from(bytes / parts).unwrap_or(usize::MAX);
        Memory { run_bytes: part(10), content_bytes: part(10), partition_bytes: bytes / 16 }
    }
}

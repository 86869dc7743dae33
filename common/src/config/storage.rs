//! `[storage]`: deadlines, retries and concurrency of requests to object stores.

use serde::Serialize;

use super::section::Section;

/// Section `[storage]`; may change on resume.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StorageConfig {
    /// Seconds that an operation may take with all its retries, before the store counts as unreachable (exit code 6). Each
    /// part of an object written in parts, and each 10,000 objects of a listing, are an operation. Default 180.
    pub deadline_s: u64,
    /// Seconds to wait for the answer to a request that is not a read, before it is made again. Default 60.
    pub request_timeout_s: u64,
    /// Seconds that a read may deliver nothing, before the rest is requested again. Default 10.
    pub stall_timeout_s: u64,
    /// Milliseconds that a read may wait for its first byte, before a second request runs beside it; 0 disables. Default 2000.
    pub hedge_after_ms: u64,
    /// Seconds to wait for a connection. Default 5.
    pub connect_timeout_s: u64,
    /// Shortest pause before a retry, in milliseconds. Default 100.
    pub backoff_min_ms: u64,
    /// Longest pause before a retry, in milliseconds. Pauses are random and grow up to this. Default 5000.
    pub backoff_max_ms: u64,
    /// Largest number of requests in flight at once, per process. Default 16.
    pub concurrency: u64,
}

impl Default for StorageConfig {
    fn default() -> Self {
        StorageConfig {
            deadline_s: 180,
            request_timeout_s: 60,
            stall_timeout_s: 10,
            hedge_after_ms: 2_000,
            connect_timeout_s: 5,
            backoff_min_ms: 100,
            backoff_max_ms: 5_000,
            concurrency: 16,
        }
    }
}

impl StorageConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let default = StorageConfig::default();
        let storage = StorageConfig {
            deadline_s: section.or("deadline_s", default.deadline_s),
            request_timeout_s: section.or("request_timeout_s", default.request_timeout_s),
            stall_timeout_s: section.or("stall_timeout_s", default.stall_timeout_s),
            hedge_after_ms: section.or("hedge_after_ms", default.hedge_after_ms),
            connect_timeout_s: section.or("connect_timeout_s", default.connect_timeout_s),
            backoff_min_ms: section.or("backoff_min_ms", default.backoff_min_ms),
            backoff_max_ms: section.or("backoff_max_ms", default.backoff_max_ms),
            concurrency: section.or("concurrency", default.concurrency),
        };
        section.require(
            storage.backoff_max_ms >= storage.backoff_min_ms || !section.is_sound("backoff_min_ms"),
            "backoff_max_ms",
            storage.backoff_max_ms,
            "must not be below backoff_min_ms",
        );
        storage
    }
}

//! `[storage]`: patience with object stores.

use serde::Serialize;

use super::section::Section;

/// `[storage]`; free to change on resume.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StorageConfig {
    /// How long an operation may take with all that is tried again, before the store counts as unreachable (exit
    /// code 6). Each part of an object that is written in parts, and each 10,000 objects of a
    /// listing, are an operation. Default 180.
    pub deadline_s: u64,
    /// How long to wait for the answer to a request that is no read; then it is made again. Default 60.
    pub request_timeout_s: u64,
    /// How long a read may deliver nothing; then the rest is asked for again. Default 10.
    pub stall_timeout_s: u64,
    /// How long a read may be without its first byte before a second request runs beside it. Default 2000; 0: never.
    pub hedge_after_ms: u64,
    /// How long to wait for a connection. Default 5.
    pub connect_timeout_s: u64,
    /// The shortest pause before something is tried again. Default 100.
    pub backoff_min_ms: u64,
    /// The longest pause: pauses are random, and grow up to this. Default 5000.
    pub backoff_max_ms: u64,
    /// Requests in flight at once, per process. Default 16.
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

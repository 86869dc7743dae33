//! `[storage]`: patience with object stores.

use serde::Serialize;

use super::section::Section;

/// `[storage]`; free to change on resume.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StorageConfig {
    /// How long one request may take. Default 60.
    pub request_timeout_s: u64,
    /// How long to retry an operation before the store counts as unreachable (exit code 6). Default 180.
    pub deadline_s: u64,
    /// Requests in flight at once, per process. Default 16.
    pub concurrency: u64,
}

impl Default for StorageConfig {
    fn default() -> Self {
        StorageConfig { request_timeout_s: 60, deadline_s: 180, concurrency: 16 }
    }
}

impl StorageConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let default = StorageConfig::default();
        let storage = StorageConfig {
            request_timeout_s: section.or("request_timeout_s", default.request_timeout_s),
            deadline_s: section.or("deadline_s", default.deadline_s),
            concurrency: section.or("concurrency", default.concurrency),
        };
        section.require(storage.request_timeout_s > 0, "request_timeout_s", 0, "must be at least 1");
        section.require(storage.deadline_s > 0, "deadline_s", 0, "must be at least 1");
        section.require(storage.concurrency > 0, "concurrency", 0, "must be at least 1");
        storage
    }
}

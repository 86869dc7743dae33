//! What was in an object, by numbers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::damage::Fault;

/// Numbers of what an object had, as far as it has been read. Every record is in exactly one of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Pages.
    pub pages: u64,
    /// Damaged records and stretches, by fault.
    pub damaged: BTreeMap<Fault, u64>,
    /// Records in order that are no pages, by kind.
    pub skipped: BTreeMap<Skipped, u64>,
}

impl Counts {
    /// Returns the number of damaged records and stretches.
    pub fn all_damaged(&self) -> u64 {
        self.damaged.values().sum()
    }

    /// Returns the number of records in order that are no pages.
    pub fn all_skipped(&self) -> u64 {
        self.skipped.values().sum()
    }
}

/// Kinds of records that are no pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Skipped {
    /// Description of the file.
    WarcInfo,
    /// HTTP request.
    Request,
    /// Notes about another record. WAT files have nothing else.
    Metadata,
    /// Content that is in another record.
    Revisit,
    /// Later part of a record in several parts. The first part is a page, and truncated.
    Continuation,
    /// Response to something other than an HTTP request, such as a name lookup.
    NotHttp,
    /// Any other type, or none.
    Other,
}

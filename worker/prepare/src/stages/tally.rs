//! Sums of a stage's decisions, for a unit of work or a whole stage. [`domains`]: counts of domains in bounded memory.

mod domains;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use webtext::authority::{split, user_and_host, without_port, without_www};

use super::bounded::{URL_BYTES_MAX, beginning, cut};
use super::lineage::Line;
use super::lineage::line::id_in_words;

pub use domains::{COUNTED_MAX, Domains};

/// Number of examples that are kept for each rule: those with the smallest ids, which are as good as random.
pub const EXAMPLES_MAX: usize = 10;
/// Number of domains that a stage's sums name, the most frequent.
pub const DOMAINS_MAX: usize = 1000;
/// Longest beginning of a text in an example, in bytes.
pub const START_BYTES_MAX: usize = 200;
/// Longest name of a host in DNS; what is longer is none.
const HOST_BYTES_MAX: usize = 253;

/// Sums of some decisions. The sum of tallies does not depend on their order, apart from rounding of the time and from the counts
/// of more than [`COUNTED_MAX`] domains.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// Number of documents and damaged records that the stage has seen.
    pub seen: u64,
    /// Number of documents that it has kept.
    pub kept: u64,
    /// Bytes of the documents that it has seen.
    pub bytes_in: u64,
    /// Bytes of text of the documents that it has kept.
    pub bytes_out: u64,
    /// Processor time, in seconds. The only field that differs from run to run.
    pub cpu_seconds: f64,
    /// What was dropped, by the rule that dropped it. Damaged records are dropped by the name of their fault.
    pub dropped: BTreeMap<String, Dropped>,
    /// Number of kept documents by domain, see [`domain_of`].
    #[serde(flatten)]
    pub domains: Domains,
}

/// What a rule has dropped.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Dropped {
    /// Number of documents.
    pub count: u64,
    /// Bytes of these documents when they came to the stage.
    pub bytes: u64,
    /// Some of them, in the order of their ids.
    pub examples: Vec<Example>,
}

/// A document that a rule has dropped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// Id of the document as 32 hex digits.
    pub id: String,
    /// Address of the document.
    pub url: Option<String>,
    /// Measure of the rule.
    pub measure: Option<f64>,
    /// Beginning of its text; empty where it had none.
    pub start: String,
}

impl Tally {
    /// Counts a decision. `text` is that of a document which the stage dropped, or as much as there is of it.
    pub fn count(&mut self, line: &Line, text: &str) {
        self.seen += 1;
        self.bytes_in += line.bytes_in;
        if line.verdict == super::lineage::Verdict::Kept {
            self.kept += 1;
            self.bytes_out += line.bytes_out;
            if let Some(domain) = line.url.as_deref().and_then(domain_of) {
                self.domains.count(domain);
            }
            return;
        }
        let dropped = match self.dropped.get_mut(&line.rule) {
            Some(dropped) => dropped,
            None => self.dropped.entry(line.rule.clone()).or_default(),
        };
        dropped.count += 1;
        dropped.bytes += line.bytes_in;
        if dropped.wants(line.id) {
            dropped.give(Example::of(line, text));
        }
    }

    /// Adds the sums of `other`, of which no rare domains were left out.
    pub fn add(&mut self, other: Tally) {
        self.seen += other.seen;
        self.kept += other.kept;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.cpu_seconds += other.cpu_seconds;
        for (rule, dropped) in other.dropped {
            let sum = self.dropped.entry(rule).or_default();
            sum.count += dropped.count;
            sum.bytes += dropped.bytes;
            dropped.examples.into_iter().for_each(|example| sum.give(example));
        }
        self.domains.add(other.domains);
    }

    /// Leaves out all but the [`DOMAINS_MAX`] most frequent domains. For the end of a stage: this is added to nothing any more.
    pub fn forget_rare_domains(&mut self) {
        self.domains.keep_most_frequent(DOMAINS_MAX);
    }

    /// Returns the number of documents and records that were not kept.
    pub fn dropped_documents(&self) -> u64 {
        self.dropped.values().map(|dropped| dropped.count).sum()
    }
}

impl Dropped {
    /// Returns whether a document with this id would be an example.
    fn wants(&self, id: u128) -> bool {
        let is_smaller = |last: &Example| id_in_words(id) <= last.id;
        self.examples.len() < EXAMPLES_MAX || self.examples.last().is_some_and(is_smaller)
    }

    /// Adds an example, if its id is one of the smallest. Records that have one id are told apart by the rest.
    fn give(&mut self, example: Example) {
        let at = self.examples.partition_point(|other| other.key() <= example.key());
        self.examples.insert(at, example);
        self.examples.truncate(EXAMPLES_MAX);
    }
}

impl Example {
    fn of(line: &Line, text: &str) -> Self {
        let mut url = line.url.clone();
        url.iter_mut().for_each(|url| cut(url, URL_BYTES_MAX));
        let start = beginning(text, START_BYTES_MAX).to_owned();
        Example { id: id_in_words(line.id), url, measure: line.measure, start }
    }

    /// Returns that by which examples are in order.
    fn key(&self) -> (&str, Option<&str>, &str, Option<u64>) {
        (&self.id, self.url.as_deref(), &self.start, self.measure.map(f64::to_bits))
    }
}

/// Returns the domain of `url`: its host in lower case, without `www.` and port. `None` where it has no host.
pub fn domain_of(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let (authority, _) = split(rest);
    let (_, host) = user_and_host(authority);
    let host = without_port(host).trim_end_matches('.').to_ascii_lowercase();
    let host = without_www(&host);
    let is_host =
        (1..=HOST_BYTES_MAX).contains(&host.len()) && !host.contains(|c: char| c.is_whitespace() || c.is_control());
    is_host.then(|| host.to_owned())
}

#[cfg(test)]
mod tests;

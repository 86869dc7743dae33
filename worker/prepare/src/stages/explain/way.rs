//! The way of a document through the stages, as it is printed.

use std::fmt;

use common::untrusted::printable;
use serde::Serialize;

use super::words::in_words;
use crate::stages::lineage::line::id_in_words;
use crate::stages::lineage::{Line, Verdict};

/// Answer of `prepare explain`: every document that was meant. A URL may be that of several.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explained {
    /// Document as it was asked for, in words.
    pub wanted: String,
    /// What to know about the lineage that was searched: that it is of another config or other inputs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The documents, in the order of their sources.
    pub documents: Vec<Way>,
    /// Number of documents that were found; more than `documents` has where they are many.
    pub found: u64,
}

/// The way of a document through the stages.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Way {
    /// Id, 32 hex digits.
    pub id: String,
    /// URL of the object that the document comes from.
    pub source: String,
    /// Place in it, as [`Line::at`] has it; the highest number for an object as a whole.
    pub at: u64,
    /// Place in it, as [`Line::within`] has it.
    pub within: u64,
    /// Address.
    pub url: Option<String>,
    /// Date, as its source has it.
    pub date: Option<String>,
    /// Title; only known of documents that a stage has kept.
    pub title: Option<String>,
    /// What each stage has decided, in order.
    pub steps: Vec<Step>,
    /// Where the way ends.
    pub ending: Ending,
}

/// Decision of a stage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// Name of the stage.
    pub stage: String,
    /// What was decided.
    pub verdict: Verdict,
    /// Rule that decided; empty where the document was kept.
    pub rule: String,
    /// Measure of that rule.
    pub measure: Option<f64>,
    /// Limit of that rule.
    pub limit: Option<f64>,
    /// Bytes of the document when it came to the stage.
    pub bytes_in: u64,
    /// Bytes of its text when it left the stage.
    pub bytes_out: u64,
    /// What else is to say.
    pub note: String,
    /// The decision in words.
    pub in_words: String,
}

/// Where the way of a document ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// A stage has not kept it.
    NotKept,
    /// A stage that comes next has not seen it yet.
    NotSeenYet,
    /// Kept by all stages, but the text is empty, and so left out of the token shards.
    Empty,
    /// Kept by all stages, but longer than `prepare.max_document_bytes`, and so left out of the token shards, or the end of the job.
    TooLong,
    /// Kept by all stages, and the token shards are not made yet.
    KeptByAll,
    /// Kept by all stages, and so in the token shards.
    InShards,
    /// Kept by all stages, and so in the token shards, unless it overlaps with `prepare.overlap_filter`.
    InShardsUnlessOverlapping,
}

impl Step {
    pub(super) fn of(stage: &str, line: &Line) -> Self {
        Step {
            stage: stage.to_owned(),
            verdict: line.verdict,
            rule: line.rule.clone(),
            measure: line.measure,
            limit: line.limit,
            bytes_in: line.bytes_in,
            bytes_out: line.bytes_out,
            note: line.note.clone(),
            in_words: in_words(line),
        }
    }
}

impl Way {
    /// Begins the way of a document with what the first stage that has seen it says.
    pub(super) fn begin(line: &Line) -> Self {
        Way {
            id: id_in_words(line.id),
            source: line.source.clone(),
            at: line.at,
            within: line.within,
            url: line.url.clone(),
            date: line.date.clone(),
            title: None,
            steps: Vec::new(),
            ending: Ending::NotSeenYet,
        }
    }
}

impl Ending {
    fn in_words(self) -> &'static str {
        match self {
            Ending::NotKept => "it is not in the token shards",
            Ending::NotSeenYet => "not seen by the next stage yet; run launcher prepare",
            Ending::Empty => "kept by all stages, but its text is empty; it is not in the token shards",
            Ending::TooLong => {
                "kept by all stages, but longer than prepare.max_document_bytes; it is not in the token shards, and ends \
                 launcher prepare unless prepare.on_bad_document is \"skip\""
            }
            Ending::KeptByAll => "kept by all stages; the token shards are not made yet, run launcher prepare",
            Ending::InShards => "kept by all stages; it is in the token shards",
            Ending::InShardsUnlessOverlapping => {
                "kept by all stages; it is in the token shards, unless it overlaps with prepare.overlap_filter"
            }
        }
    }
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let documents = if self.found == 1 { "document" } else { "documents" };
        writeln!(f, "asked for   {}: {} {documents}", printable(&self.wanted), self.found)?;
        if let Some(note) = &self.note {
            writeln!(f, "note        {note}")?;
        }
        for way in &self.documents {
            write!(f, "\n{way}")?;
        }
        let more = self.found.saturating_sub(self.documents.len() as u64);
        if more > 0 {
            writeln!(f, "\nand {more} more; give an id to see one of them")?;
        }
        Ok(())
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "id          {}", self.id)?;
        write!(f, "source      {}, ", printable(&self.source))?;
        match self.within {
            _ if self.at == u64::MAX => writeln!(f, "as a whole")?,
            0 => writeln!(f, "at {}", self.at)?,
            within => writeln!(f, "byte {within} of what {} unpacks to", self.at)?,
        }
        for (name, value) in [("url", &self.url), ("date", &self.date), ("title", &self.title)] {
            if let Some(value) = value {
                writeln!(f, "{name:<11} {}", printable(value))?;
            }
        }
        for step in &self.steps {
            write!(f, "{:<11} {}", step.stage, printable(&step.in_words))?;
            match step.verdict {
                Verdict::Kept => write!(f, ", {} bytes of {}", step.bytes_out, step.bytes_in)?,
                // The length of a damaged record is not known.
                Verdict::Damaged => {}
                Verdict::Dropped => write!(f, "; {} bytes", step.bytes_in)?,
            }
            let note = if step.note.is_empty() { String::new() } else { format!(" [{}]", printable(&step.note)) };
            writeln!(f, "{note}")?;
        }
        writeln!(f, "end         {}", self.ending.in_words())
    }
}

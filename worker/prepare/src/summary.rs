//! The summary that a job prints at its end.

use std::fmt;
use std::time::Duration;

use common::figures::counted;
use common::storage::Folder;
use serde::Serialize;

use crate::record::{SideTotals, Totals};
use crate::{TRAIN_FOLDER, VALIDATION_FOLDER};

/// The summary of a job; its fields are also those of the JSON form.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Whether the data was there already, and nothing was written.
    pub already_done: bool,
    /// Totals of the data.
    #[serde(flatten)]
    pub totals: Totals,
    /// Number of tokens on both sides.
    pub tokens: u64,
    /// Bytes of text per token.
    pub bytes_per_token: f64,
    /// URL of the folder of the training shards.
    pub train_url: String,
    /// URL of the folder of the validation shards; `None` where there are none.
    pub validation_url: Option<String>,
    /// Reason why there are no validation shards although some were asked for, and what to do.
    pub validation_missing: Option<&'static str>,
    /// Duration of the job; 0 where there was nothing to do.
    pub seconds: f64,
    /// Text per second, in 10^6 bytes. After a restart this is more than the speed of the work.
    pub mb_per_second: f64,
}

impl Summary {
    /// Summarises a job that did its work in `duration`. `fraction` of its documents were to be for validation.
    pub fn done(totals: Totals, fraction: f64, output: &Folder, duration: Duration) -> Self {
        let seconds = duration.as_secs_f64();
        let mb_per_second = totals.text_bytes as f64 / 1e6 / seconds.max(1e-9);
        Summary { already_done: false, seconds, mb_per_second, ..Self::already_done(totals, fraction, output) }
    }

    /// Summarises a job that found its work done. `fraction` of its documents were to be for validation.
    pub fn already_done(totals: Totals, fraction: f64, output: &Folder) -> Self {
        let tokens = totals.tokens();
        let is_missing = totals.validation.is_none() && fraction > 0.0;
        Summary {
            already_done: true,
            tokens,
            bytes_per_token: totals.text_bytes as f64 / tokens as f64,
            train_url: output.url_of(TRAIN_FOLDER),
            validation_url: totals.validation.as_ref().map(|_| output.url_of(VALIDATION_FOLDER)),
            validation_missing: is_missing.then_some(match totals.documents {
                1 => {
                    "the only document was not divided: it is too short, or was prepared by Convoy 0.2 or older; add text, or \
                     prepare it into another folder"
                }
                _ => "all documents have the same text, and equal texts stay on one side; add others",
            }),
            totals,
            seconds: 0.0,
            mb_per_second: 0.0,
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let totals = &self.totals;
        if self.already_done {
            writeln!(f, "prepared already, from the same config and inputs; nothing was written")?;
        }
        writeln!(
            f,
            "{}, {}, {:.2} bytes per token",
            counted(totals.documents, "document"),
            counted(self.tokens, "token"),
            self.bytes_per_token
        )?;
        if totals.empty_documents > 0 {
            writeln!(f, "left out    {}", counted(totals.empty_documents, "empty document"))?;
        }
        if let Some(count) = totals.overlapping_documents {
            writeln!(f, "left out    {}: overlapping with prepare.overlap_filter", counted(count, "document"))?;
        }
        for (fault, count) in &totals.skipped {
            writeln!(f, "left out    {}: {}", counted(*count, "document"), fault.in_words())?;
        }
        let mut side = |name: &str, side: &SideTotals, url: &str| {
            let (documents, tokens) = (counted(side.documents, "document"), counted(side.tokens, "token"));
            writeln!(f, "{name:<11} {documents}, {tokens} in {}: {url}", counted(side.shards, "token shard"))
        };
        side("train", &totals.train, &self.train_url)?;
        if let (Some(validation), Some(url)) = (&totals.validation, &self.validation_url) {
            side("validation", validation, url)?;
        }
        if let Some(reason) = self.validation_missing {
            writeln!(f, "validation  none: {reason}, and leave data.validation out until then")?;
        }
        if !self.already_done {
            writeln!(f, "{:.1} s, {:.1} MB/s", self.seconds, self.mb_per_second)?;
        }
        Ok(())
    }
}

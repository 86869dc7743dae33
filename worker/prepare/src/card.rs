//! The data card for people: `README.md` beside the shards, made from the record in `prepare.json`.

use std::fmt::Write;

use webtext::pages::format::KINDS as KINDS_OF_PAGES;

use crate::inputs::KINDS;
use crate::record::{Record, SideTotals};
use crate::stages::card::write_stages;

/// Name of the card in `prepare.output`.
pub const CARD_NAME: &str = "README.md";
/// Number of bad documents that the card names; `prepare.json` names more.
const NAMED_IN_CARD: usize = 10;
/// Name of the stage that reads pages.
const EXTRACT: &str = "extract";

/// Formats `record` as a card in Markdown.
pub fn markdown(record: &Record) -> String {
    let mut card = String::new();
    // Writing to a string never fails.
    let _ = write(record, &mut card);
    card
}

fn write(record: &Record, card: &mut String) -> std::fmt::Result {
    let totals = &record.totals;
    let tokenizer = record.config["tokenizer"].as_str().unwrap_or_default();
    writeln!(card, "# Token shards\n")?;
    writeln!(
        card,
        "{} documents, {} tokens, {:.3} bytes of text per token. Made by Convoy {} (`launcher prepare`); \
         `prepare.json` says the same for programs.\n",
        totals.documents,
        totals.tokens(),
        totals.text_bytes as f64 / totals.tokens() as f64,
        record.convoy
    )?;
    writeln!(card, "| side | documents | tokens | token shards |\n|---|---|---|---|")?;
    let sides = [("train", Some(&totals.train)), ("validation", totals.validation.as_ref())];
    for (name, side) in sides {
        let SideTotals { documents, tokens, shards } =
            side.unwrap_or(&SideTotals { documents: 0, tokens: 0, shards: 0 });
        writeln!(card, "| {name} | {documents} | {tokens} | {shards} |")?;
    }
    writeln!(card, "\nTokenizer: {tokenizer}, hash {}\n", record.tokenizer_hash)?;
    let kinds = match record.stages.first() {
        Some(first) if first.stage == EXTRACT => KINDS_OF_PAGES,
        _ => KINDS,
    };
    writeln!(card, "## Sources\n\nObjects that end in {kinds}.\n\n| input | objects | bytes |\n|---|---|---|")?;
    for input in &record.inputs {
        writeln!(card, "| `{}` | {} | {} |", input.input.replace('|', "\\|"), input.objects, input.bytes)?;
    }
    let left_out = totals.empty_documents + totals.skipped_documents + totals.overlapping_documents.unwrap_or(0);
    let documents_in = totals.documents + left_out;
    writeln!(card, "\n## What became of the documents\n\n| documents | bytes of text | |\n|---|---|---|")?;
    match record.stages.last() {
        None => writeln!(card, "| {documents_in} | {} (as objects) | read |", totals.object_bytes)?,
        Some(last) => writeln!(card, "| {documents_in} | {} | kept by the stages below |", last.tally.bytes_out)?,
    }
    writeln!(card, "| {} | {} | kept |", totals.documents, totals.text_bytes)?;
    writeln!(card, "| {} | 0 | left out: empty |", totals.empty_documents)?;
    if let Some(count) = totals.overlapping_documents {
        writeln!(card, "| {count} | | left out: overlapping with a filter, see below |")?;
    }
    for (fault, count) in &totals.skipped {
        writeln!(card, "| {count} | | left out: {} |", fault.in_words())?;
    }
    if !record.bad_documents.is_empty() {
        let more = record.bad_documents.len().saturating_sub(NAMED_IN_CARD);
        writeln!(
            card,
            "\nThe first that were left out because they could not be read (`prepare.json` names up to {}):\n",
            crate::tally::NAMED_MAX
        )?;
        for bad in record.bad_documents.iter().take(NAMED_IN_CARD) {
            writeln!(card, "- {}", bad.replace('\n', " "))?;
        }
        if more > 0 {
            writeln!(card, "- and {} more", totals.skipped_documents - NAMED_IN_CARD as u64)?;
        }
    }
    write_overlap(record, card)?;
    write_stages(&record.stages, card)?;
    let config = serde_json::to_string_pretty(&record.config).unwrap_or_default();
    writeln!(card, "\n## Config\n\n```json\n{config}\n```")
}

/// Says with which filter documents must not overlap, if there is one.
fn write_overlap(record: &Record, card: &mut String) -> std::fmt::Result {
    let (Some(hash), Some(count)) = (&record.identity.overlap_filter_sha256, record.totals.overlapping_documents)
    else {
        return Ok(());
    };
    let filter = record.config["overlap_filter"].as_str().unwrap_or_default();
    let share = &record.config["overlap_share"];
    writeln!(
        card,
        "\n## Overlap\n\n{count} documents of whose 8-grams at least a share of {share} are in the filter `{filter}` were left out. \
         The filter's hash: {hash}"
    )
}

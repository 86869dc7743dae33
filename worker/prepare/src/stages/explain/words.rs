//! Decisions in words.

use webtext::clean::Rule;

use crate::stages::lineage::{Line, Verdict};

/// Rule whose measure is a similarity.
const NEAR: &str = "duplicate.near";
/// Reasons that are no rules of cleaning, each in words.
const OTHERS: &[(&str, &str)] = &[
    ("status", "the response was no success"),
    ("type", "the page is no HTML"),
    ("no_text", "the page has no main text"),
    ("too_large", "the page is longer than webtext.extract.page_bytes"),
    ("too_deep", "tags are nested deeper than webtext.extract.refused_depth"),
    ("timed_out", "extraction took longer than webtext.extract.cpu_ms or wall_ms"),
    ("out_of_memory", "extraction took more memory than webtext.extract.memory_bytes"),
    ("crashed", "the process that extracts ended on this page"),
    ("packing", "the gzip member or zstd frame is damaged or cut"),
    ("cut", "the object or its header ends inside the record"),
    ("not_a_record", "bytes between records are no record"),
    ("header", "the record's header has no end"),
    ("too_long", "the record is longer than its limit"),
    ("encoding", "the page cannot be unpacked"),
    ("not_json", "the line is not a JSON object"),
    ("no_html", "the line has no string in the field html"),
    ("unreadable_object", "the object cannot be read, or not from here on"),
    ("not_utf8", "the text is not UTF-8"),
    ("empty", "there is no text"),
    ("duplicate.text", "the text is equal to that of the document that stays"),
    ("duplicate.url", "the URL is equal to that of the document that stays"),
    ("duplicate.paragraphs", "all of its paragraphs are there before"),
    ("overlap.document", "share of its 8-grams that evaluation sets have"),
    ("overlap.window", "nothing remains of it without what evaluation sets have"),
    (NEAR, "it is in one cluster with the document that stays"),
];

/// Returns what a rule or a reason is, in words; `None` for one that is not known.
pub fn rule_in_words(name: &str) -> Option<&'static str> {
    let rule = Rule::ALL.iter().find(|rule| rule.name() == name).map(|rule| rule.what());
    rule.or_else(|| OTHERS.iter().find(|(other, _)| *other == name).map(|(_, words)| *words))
}

/// Returns a decision in words: what was decided, by which rule, with which measure and limit.
pub(super) fn in_words(line: &Line) -> String {
    let decided = match line.verdict {
        Verdict::Kept => return "kept".to_owned(),
        verdict => format!("{verdict} by {}", line.rule),
    };
    let what = rule_in_words(&line.rule).map(|what| format!(" ({what})")).unwrap_or_default();
    let measured = match (line.measure, line.limit) {
        (None, None) => String::new(),
        (Some(similarity), None) if line.rule == NEAR => format!(": similarity {similarity:.2}"),
        (Some(measure), None) => format!(": {}", number(measure)),
        (None, Some(limit)) => format!(", whose limit is {}", number(limit)),
        (Some(measure), Some(limit)) if line.rule == "status" => {
            format!(": {}, expected {}", number(measure), number(limit))
        }
        (Some(measure), Some(limit)) => {
            let side = if measure > limit { "above" } else { "below" };
            let side = if measure == limit { "at" } else { side };
            format!(": {}, {side} the limit of {}", number(measure), number(limit))
        }
    };
    format!("{decided}{what}{measured}")
}

/// Formats a measure: at most four digits after the point, unless it is so small that these would be zeros.
pub fn number(value: f64) -> String {
    let short = format!("{value:.4}");
    let short = if short.contains('.') { short.trim_end_matches('0').trim_end_matches('.') } else { &short };
    match value != 0.0 && matches!(short, "0" | "-0") {
        true => format!("{value:e}"),
        false => short.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::lineage::tests::line;

    #[test]
    fn a_decision_says_the_rule_the_measure_and_on_which_side_of_the_limit_it_is() {
        let dropped = |rule: &str, measure, limit| {
            in_words(&Line { verdict: Verdict::Dropped, rule: rule.into(), measure, limit, ..line(1) })
        };
        assert_eq!(in_words(&line(0)), "kept");
        assert_eq!(
            dropped("length.words", Some(12.0), Some(96.0)),
            "dropped by length.words (Words): 12, below the limit of 96"
        );
        assert_eq!(
            dropped("repetition.duplicate_lines", Some(0.412_345), Some(0.3)),
            "dropped by repetition.duplicate_lines (Share of lines that came before): 0.4123, above the limit of 0.3"
        );
        assert_eq!(
            dropped("status", Some(404.0), Some(200.0)),
            "dropped by status (the response was no success): 404, expected 200"
        );
        assert_eq!(dropped("new_rule", None, None), "dropped by new_rule");
        let damaged = Line { verdict: Verdict::Damaged, rule: "cut".into(), measure: None, limit: None, ..line(1) };
        assert_eq!(in_words(&damaged), "damaged by cut (the object or its header ends inside the record)");
    }

    #[test]
    fn a_duplicate_is_told_by_what_it_shares_with_the_document_that_stays() {
        let dropped = |rule: &str, measure| {
            in_words(&Line { verdict: Verdict::Dropped, rule: rule.into(), measure, limit: None, ..line(1) })
        };
        for (rule, measure, expected) in [
            ("duplicate.text", None, "(the text is equal to that of the document that stays)"),
            ("duplicate.url", None, "(the URL is equal to that of the document that stays)"),
            (NEAR, Some(0.928_57), "(it is in one cluster with the document that stays): similarity 0.93"),
            (NEAR, Some(1.0), "(it is in one cluster with the document that stays): similarity 1.00"),
            (NEAR, None, "(it is in one cluster with the document that stays)"),
        ] {
            assert_eq!(dropped(rule, measure), format!("dropped by {rule} {expected}"));
        }
    }

    #[test]
    fn an_overlap_is_told_by_the_share_of_the_document_that_evaluation_sets_have() {
        let dropped = |rule: &str, limit| {
            in_words(&Line { verdict: Verdict::Dropped, rule: rule.into(), measure: Some(0.25), limit, ..line(1) })
        };
        assert_eq!(
            dropped("overlap.document", Some(0.1)),
            "dropped by overlap.document (share of its 8-grams that evaluation sets have): 0.25, above the limit of 0.1"
        );
        assert_eq!(
            dropped("overlap.window", None),
            "dropped by overlap.window (nothing remains of it without what evaluation sets have): 0.25"
        );
    }

    #[test]
    fn numbers_are_short() {
        for (value, expected) in
            [(0.0, "0"), (50.0, "50"), (0.5, "0.5"), (-0.123_456, "-0.1235"), (1e-9, "1e-9"), (f64::NAN, "NaN")]
        {
            assert_eq!(number(value), expected);
        }
    }
}

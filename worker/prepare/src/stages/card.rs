//! The part of the data card that is about stages. Texts of pages are in code spans, in which they are nothing but text.

use std::fmt::{Result, Write};

use common::untrusted::printable;

use super::deduplicate::sums::{ClusterSums, LargeCluster};
use super::explain::{number, rule_in_words};
use super::overlap::longest::LongOverlap;
use super::overlap::sums::{OverlapSums, TaskSums};
use super::paper;
use super::summary::StageSummary;
use super::tally::{Dropped, Example};

/// Number of domains in the card; `prepare.json` has more.
const DOMAINS_MAX: usize = 20;

/// Writes what became of documents in `stages`, which come in order.
pub fn write_stages(stages: &[StageSummary], card: &mut String) -> Result {
    let Some(last) = stages.last() else { return Ok(()) };
    writeln!(
        card,
        "\n## Stages\n\n`launcher prepare explain ID|URL` says what became of a document. Bytes out are text; the processor time is \
         that of all ranks together.\n\n| stage | in | out | dropped | bytes in | bytes out | processor time |\n|---|---|---|---|---|---|---|"
    )?;
    for StageSummary { stage, tally, .. } in stages {
        writeln!(
            card,
            "| {stage} | {} | {} | {} | {} | {} | {:.1} s |",
            tally.seen,
            tally.kept,
            tally.dropped_documents(),
            tally.bytes_in,
            tally.bytes_out,
            tally.cpu_seconds
        )?;
    }
    for stage in stages {
        if !stage.tally.dropped.is_empty() {
            write_dropped(stage, card)?;
        }
        if let Some(clusters) = stage.clusters.as_ref().filter(|clusters| clusters.clusters > 0) {
            write_clusters(&stage.stage, clusters, card)?;
        }
        if let Some(overlaps) = &stage.overlaps {
            write_overlaps(overlaps, card)?;
        }
    }
    write_domains(last, card)
}

/// Writes what the rules of a stage have dropped, the rule first that has dropped most.
fn write_dropped(StageSummary { stage, tally, .. }: &StageSummary, card: &mut String) -> Result {
    writeln!(
        card,
        "\n### Dropped by {stage}\n\n| rule | documents | of those seen | bytes | measure or reason |\n|---|---|---|---|---|"
    )?;
    let mut rules: Vec<(&String, &Dropped)> = tally.dropped.iter().collect();
    rules.sort_by_key(|(rule, dropped)| (std::cmp::Reverse(dropped.count), rule.as_str()));
    for (rule, dropped) in &rules {
        let share = 100.0 * dropped.count as f64 / tally.seen.max(1) as f64;
        let words = rule_in_words(rule).unwrap_or_default();
        let rule = in_table(&code(rule));
        writeln!(card, "| {rule} | {} | {share:.2} % | {} | {words} |", dropped.count, dropped.bytes)?;
    }
    writeln!(card, "\nExamples, by the smallest ids:\n")?;
    for (rule, dropped) in rules {
        writeln!(card, "- {}", code(rule))?;
        for example in &dropped.examples {
            writeln!(card, "  - {}", example_in_words(example))?;
        }
    }
    Ok(())
}

fn example_in_words(Example { id, url, measure, start }: &Example) -> String {
    let mut words = code(id);
    if let Some(url) = url {
        words += &format!(", {}", code(url));
    }
    if let Some(measure) = measure {
        words += &format!(", measure {}", number(*measure));
    }
    with_start(words, start)
}

/// Returns `words` about a document with the beginning of its text, unless that is empty.
fn with_start(words: String, start: &str) -> String {
    match start.trim().is_empty() {
        true => words,
        false => format!("{words}: {}", code(start)),
    }
}

/// Writes how many clusters of duplicates a stage has found, how large they are, and the largest of them.
fn write_clusters(stage: &str, sums: &ClusterSums, card: &mut String) -> Result {
    let ClusterSums { clusters, documents, sizes, largest } = sums;
    writeln!(
        card,
        "\n### Clusters found by {stage}\n\nA cluster has documents that are equal or nearly so, of which one stays. Documents in \
         clusters: {documents}. Clusters: {clusters}, by their size:\n\n| documents | clusters |\n|---|---|"
    )?;
    for (least, count) in sizes {
        writeln!(card, "| {least} to {} | {count} |", least.saturating_mul(2).saturating_sub(1))?;
    }
    if largest.is_empty() {
        return Ok(());
    }
    writeln!(card, "\nThe largest, with the document that stays:\n")?;
    largest.iter().try_for_each(|cluster| writeln!(card, "- {}", cluster_in_words(cluster)))
}

fn cluster_in_words(LargeCluster { documents, kept, url, start }: &LargeCluster) -> String {
    let mut words = format!("{documents} documents: {}", code(kept));
    if let Some(url) = url {
        words += &format!(", {}", code(url));
    }
    with_start(words, start)
}

/// Writes what documents have of evaluation sets, and the longest overlaps.
fn write_overlaps(sums: &OverlapSums, card: &mut String) -> Result {
    let OverlapSums { documents, windows, characters, tasks, longest } = sums;
    writeln!(
        card,
        "\n### Overlap with evaluation sets\n\nShare of the 8-grams of each evaluation set that are in documents that came to this stage, \
         as in table 6 of the GPT-2 paper. Documents that overlap: {documents}. Removed windows: {windows}, with {characters} \
         characters.\n\n| evaluation set | share seen | 8-grams | seen | items | overlapping | too short |\n|---|---|---|---|---|---|---|"
    )?;
    for TaskSums { task, share, grams, seen, items, overlapping, without_grams, .. } in tasks {
        let share = share.map_or_else(String::new, |share| format!("{} %", number(100.0 * share)));
        let task = in_table(&code(task));
        writeln!(card, "| {task} | {share} | {grams} | {seen} | {items} | {overlapping} | {without_grams} |")?;
    }
    if longest.is_empty() {
        return Ok(());
    }
    writeln!(card, "\nThe longest overlaps, one of each document:\n")?;
    longest.iter().try_for_each(|overlap| writeln!(card, "- {}", overlap_in_words(overlap)))
}

fn overlap_in_words(LongOverlap { words, task, item, document, url, text }: &LongOverlap) -> String {
    let mut said = format!("{words} words of {} item {} in {}", code(task), code(item), code(document));
    if let Some(url) = url {
        said += &format!(", {}", code(url));
    }
    with_start(said, text)
}

/// Writes the most frequent domains of documents that the last stage has kept, beside those of WebText.
fn write_domains(StageSummary { tally, .. }: &StageSummary, card: &mut String) -> Result {
    let domains = tally.domains.most_frequent(DOMAINS_MAX);
    if domains.is_empty() {
        return Ok(());
    }
    let bounds = match tally.domains.uncounted() {
        0 => String::new(),
        more => format!(
            " There are more domains than are counted, so each has at least the number of documents that is listed, and at most \
             {more} more."
        ),
    };
    writeln!(
        card,
        "\n### Domains\n\nDomains of the documents that were kept by all stages, beside those of [WebText]({}), which are listed \
         without their suffix.{bounds}\n\n| | domain | documents | WebText | documents |\n|---|---|---|---|---|",
        paper::SOURCE
    )?;
    for place in 0..domains.len().max(paper::DOMAINS.len()) {
        let ours = domains.get(place).map(|(domain, count)| format!("{} | {count}", in_table(&code(domain))));
        let theirs = paper::DOMAINS.get(place).map(|(domain, count)| format!("{domain} | {count}"));
        let cells = [ours, theirs].map(|cells| cells.unwrap_or_else(|| " | ".to_owned()));
        writeln!(card, "| {} | {} |", place + 1, cells.join(" | "))?;
    }
    Ok(())
}

/// Formats `text` as a code span of one line: nothing in it is Markdown or HTML.
fn code(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = printable(&line);
    let longest = line.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    match longest {
        0 if line.is_empty() => "` `".to_owned(),
        0 => format!("`{line}`"),
        // A space keeps the fence apart from a backtick beside it.
        _ => format!("{fence} {line} {fence}", fence = "`".repeat(longest + 1)),
    }
}

/// Returns Markdown of one line for a cell of a table, which ends at a bar even in a code span.
fn in_table(markdown: &str) -> String {
    markdown.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::lineage::tests::line;
    use crate::stages::lineage::{Line, Verdict};
    use crate::stages::tally::{COUNTED_MAX, Tally};

    fn card(stages: &[StageSummary]) -> String {
        let mut card = String::new();
        write_stages(stages, &mut card).unwrap();
        card
    }

    fn stage(tally: Tally) -> StageSummary {
        StageSummary {
            stage: "clean".into(),
            folder: "clean-0123456789abcdef".into(),
            tally,
            clusters: None,
            overlaps: None,
        }
    }

    fn deduplicated(clusters: ClusterSums) -> StageSummary {
        StageSummary { stage: "deduplicate".into(), clusters: Some(clusters), ..stage(Tally::default()) }
    }

    fn large(documents: u64, text: &str) -> LargeCluster {
        LargeCluster {
            documents,
            kept: format!("{documents:032x}"),
            url: Some(text.to_owned()),
            start: text.to_owned(),
        }
    }

    #[test]
    fn the_card_says_what_each_rule_dropped_with_examples_and_domains() {
        let mut tally = Tally { cpu_seconds: 1.26, ..Tally::default() };
        (0..300).for_each(|number| tally.count(&line(number), "some text"));
        tally.count(&Line { rule: "c4.lorem_ipsum".into(), url: None, ..line(301) }, "Lorem\nipsum");
        let card = card(&[stage(tally)]);
        for expected in [
            "| clean | 301 | 100 | 201 | 45452 | 14850 | 1.3 s |\n",
            "| `length.words` | 200 | 66.45 % | 30200 | Words |\n| `c4.lorem_ipsum` | 1 | 0.33 % | 302 | Lines with lorem ipsum |\n",
            "\n- `c4.lorem_ipsum`\n  - `",
            ", measure 43: `Lorem ipsum`\n",
            "| 1 | `host0.example` | 12 | google | 1542261 |\n",
            "| 8 |  |  | wikia | 313137 |\n",
        ] {
            assert!(card.contains(expected), "{expected}\n{card}");
        }
        assert_eq!(card.matches("`some text`").count(), 10);
        assert!(card.contains(paper::SOURCE));
    }

    #[test]
    fn where_there_are_more_domains_than_are_counted_the_card_says_how_exact_their_numbers_are() {
        let mut tally = Tally::default();
        let kept = |url: String| Line { url: Some(url), verdict: Verdict::Kept, ..line(0) };
        (0..5).for_each(|_| tally.count(&kept("http://often.example/".to_owned()), ""));
        assert!(!card(&[stage(tally.clone())]).contains("at least"));
        (0..COUNTED_MAX).for_each(|number| tally.count(&kept(format!("http://{number}.example/")), ""));
        let card = card(&[stage(tally)]);
        let expected = "at least the number of documents that is listed, and at most 1 more.\n\n| | domain |";
        assert!(card.contains(expected), "{card}");
        assert!(card.contains("| 1 | `often.example` | 4 | google |"), "{card}");
    }

    #[test]
    fn the_card_says_how_large_clusters_are_and_which_are_the_largest() {
        let mut sums = ClusterSums::default();
        [2, 3, 6, 9].into_iter().for_each(|documents| sums.count(documents));
        let of_an_earlier_corpus = LargeCluster { url: None, start: String::new(), ..large(6, "") };
        sums.largest = vec![large(9, "http://often.example/"), of_an_earlier_corpus];
        let card = card(&[deduplicated(sums)]);
        let expected = "\n### Clusters found by deduplicate\n\nA cluster has documents that are equal or nearly so, of which one \
                        stays. Documents in clusters: 20. Clusters: 4, by their size:\n\n| documents | clusters |\n|---|---|\n\
                        | 2 to 3 | 2 |\n| 4 to 7 | 1 |\n| 8 to 15 | 1 |\n\nThe largest, with the document that stays:\n\n\
                        - 9 documents: `00000000000000000000000000000009`, `http://often.example/`: `http://often.example/`\n\
                        - 6 documents: `00000000000000000000000000000006`\n";
        assert!(card.contains(expected), "{card}");
    }

    #[test]
    fn clusters_come_after_what_their_stage_has_dropped_and_are_left_out_where_there_are_none() {
        let mut sums = ClusterSums::default();
        assert!(!card(&[stage(Tally::default()), deduplicated(sums.clone())]).contains("Clusters"));
        sums.count(2);
        let mut tally = Tally::default();
        tally.count(&line(1), "some text");
        let card = card(&[StageSummary { tally, ..deduplicated(sums) }]);
        let at = |heading: &str| card.find(heading).unwrap();
        assert!(at("### Dropped by deduplicate") < at("### Clusters found by deduplicate"), "{card}");
        assert!(!card.contains("The largest"), "{card}");
    }

    fn long(words: u64, text: &str) -> LongOverlap {
        let [task, item, document, text] = [text; 4].map(str::to_owned);
        LongOverlap { words, task, item, document, url: Some(text.clone()), text }
    }

    fn overlapping(task: &str, grams: u64, seen: u64) -> TaskSums {
        let share = (grams > 0).then(|| seen as f64 / grams as f64);
        TaskSums {
            task: task.into(),
            data: "file:///x".into(),
            items: 9,
            without_grams: 1,
            overlapping: 2,
            grams,
            seen,
            share,
        }
    }

    #[test]
    fn the_card_has_a_row_for_each_evaluation_set_and_the_longest_overlaps() {
        let tasks = vec![overlapping("ptb", 8000, 213), overlapping("documents=a|b.jsonl", 0, 0)];
        let sums = OverlapSums { documents: 7, windows: 3, characters: 1200, tasks, longest: vec![long(31, "x y")] };
        let card = card(&[StageSummary { stage: "overlap".into(), overlaps: Some(sums), ..stage(Tally::default()) }]);
        for expected in [
            "Documents that overlap: 7. Removed windows: 3, with 1200 characters.\n",
            "| `ptb` | 2.6625 % | 8000 | 213 | 9 | 2 | 1 |\n| `documents=a\\|b.jsonl` |  | 0 | 0 | 9 | 2 | 1 |\n",
            "\nThe longest overlaps, one of each document:\n\n- 31 words of `x y` item `x y` in `x y`, `x y`: `x y`\n",
        ] {
            assert!(card.contains(expected), "{expected}\n{card}");
        }
    }

    #[test]
    fn without_stages_the_card_says_nothing_of_them() {
        assert_eq!(card(&[]), "");
    }

    #[test]
    fn no_text_of_a_page_breaks_the_card() {
        let evil = "`` `code`\n# Heading\r\n| a | b |\n<script>alert(1)</script> [x](javascript:y) \u{202e}\u{1b}[2J";
        let mut tally = Tally::default();
        let host = "http://a|b`c.example/`|\n# Heading".to_owned();
        tally.count(&Line { url: Some(host.clone()), verdict: Verdict::Dropped, rule: evil.into(), ..line(1) }, evil);
        tally.count(&Line { url: Some(host), verdict: Verdict::Kept, ..line(0) }, "");
        let mut sums = ClusterSums {
            largest: vec![LargeCluster { kept: evil.into(), ..large(2, evil) }],
            ..ClusterSums::default()
        };
        sums.count(u64::MAX);
        let overlaps = OverlapSums {
            tasks: vec![overlapping(evil, 9, 9)],
            longest: vec![long(9, evil)],
            ..OverlapSums::default()
        };
        let card = card(&[StageSummary { clusters: Some(sums), overlaps: Some(overlaps), ..stage(tally) }]);
        assert!(!card.contains(['\u{202e}', '\u{1b}', '\r']), "{card:?}");
        for line in card.lines() {
            assert!(!line.starts_with("# "), "{card}");
            // Without its code spans, a line has nothing of the page.
            let outside = outside_code(line);
            for part in ["script", "Heading", "javascript", "c.example"] {
                assert!(!outside.contains(part), "{part} in {line}");
            }
            if let Some(row) = outside.strip_prefix("| ") {
                assert!([2, 5, 7].contains(&row.matches('|').count()), "{line}");
            }
        }
    }

    /// Returns a line of Markdown without its code spans.
    fn outside_code(line: &str) -> String {
        let (mut outside, mut rest) = (String::new(), line);
        while let Some(at) = rest.find('`') {
            let fence = rest[at..].len() - rest[at..].trim_start_matches('`').len();
            let inside = &rest[at + fence..];
            let closing = inside.match_indices('`').map(|(at, _)| at).find(|at| {
                let run = inside[*at..].len() - inside[*at..].trim_start_matches('`').len();
                run == fence && !inside[..*at].ends_with('`')
            });
            outside += &rest[..at];
            rest = &inside[closing.expect("a code span ends in its line") + fence..];
        }
        outside + rest
    }
}

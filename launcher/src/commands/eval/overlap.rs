//! Tables of the overlap with training data: of each task's items, and of the results without those that overlap.

use evaluation::metrics::Metric;
use evaluation::overlap::{ItemOverlap, OverlapSummary};
use evaluation::report::{Report, WithoutOverlap};
use serde_json::json;

use super::table::{self, Style};
use crate::cli::evaluation::EvalArgs;
use crate::view::figures::{counted, with_thousands};
use crate::view::terminal::{to_json, to_stdout};

/// Shows the overlap of tasks that were not scored.
pub fn show(overlaps: &[OverlapSummary], args: &EvalArgs) {
    if args.json {
        to_stdout(&to_json(&overlaps.iter().map(|overlap| json!({ "overlap": overlap })).collect::<Vec<_>>()));
    } else {
        let overlaps: Vec<&OverlapSummary> = overlaps.iter().collect();
        lines(&overlaps, Style::of(args)).iter().for_each(|line| to_stdout(line));
    }
}

/// Returns the lines of the table of overlap and of that of the results without it; none of reports without it.
pub fn lines_of(reports: &[Report], style: Style) -> Vec<String> {
    let of: Vec<(&Report, &WithoutOverlap)> =
        reports.iter().filter_map(|report| Some((report, report.without_overlap.as_ref()?))).collect();
    if of.is_empty() {
        return Vec::new();
    }
    let overlaps: Vec<&OverlapSummary> = of.iter().map(|(_, without)| &without.overlap).collect();
    let mut lines = lines(&overlaps, style);
    lines.push(String::new());
    lines.extend(comparison(&of, style));
    lines
}

fn lines(overlaps: &[&OverlapSummary], style: Style) -> Vec<String> {
    let mut rows =
        vec![["task", "8-grams", "seen", "share", "items", "overlapping", "largest overlap"].map(str::to_owned)];
    rows.extend(overlaps.iter().map(|overlap| row(overlap)));
    let mut lines = table::drawn(&rows, 1, style);
    let mut notes: Vec<String> = overlaps
        .iter()
        .filter(|overlap| overlap.without_grams > 0)
        .map(|overlap| {
            let short = counted(overlap.without_grams as u64, "item");
            format!("{}: {short} of fewer than 8 words, which cannot be looked for", overlap.task)
        })
        .collect();
    notes.extend(overlaps.first().map(|overlap| format!("overlap with {}", overlap.with)));
    lines.push(String::new());
    lines.extend(notes.into_iter().map(|note| format!("{}{note}", style.bullet())));
    lines
}

fn row(overlap: &OverlapSummary) -> [String; 7] {
    [
        overlap.task.clone(),
        with_thousands(overlap.grams),
        with_thousands(overlap.found),
        overlap.share.map(percent).unwrap_or_default(),
        with_thousands(overlap.items as u64),
        with_thousands(overlap.overlapping as u64),
        overlap.largest.as_ref().map(largest).unwrap_or_default(),
    ]
}

fn largest(item: &ItemOverlap) -> String {
    let share = percent(item.found as f64 / item.grams.max(1) as f64);
    format!("{share} of item {}", item.id)
}

fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// Returns the lines of the table of all items' results beside those of the items that do not overlap.
fn comparison(of: &[(&Report, &WithoutOverlap)], style: Style) -> Vec<String> {
    let heads = ["task", "metric", "all items", "without overlap", "items", "without"];
    let mut rows = vec![heads.map(str::to_owned)];
    for (report, without) in of {
        for metric in &report.results.metrics {
            let others = &without.results.metrics;
            let other = others.iter().find(|other| other.name == metric.name);
            let value = |metric: &Metric| table::shown_metric(report, metric);
            rows.push([
                report.results.task.clone(),
                metric.name.clone(),
                value(metric),
                other.map(value).unwrap_or_default(),
                with_thousands(report.results.items as u64),
                with_thousands(without.results.items as u64),
            ]);
        }
    }
    table::drawn(&rows, 2, style)
}

#[cfg(test)]
mod tests {
    use super::table::tests::report;
    use super::*;

    fn overlap() -> OverlapSummary {
        OverlapSummary {
            task: "cbt_cn".into(),
            data: "file:///data/x".into(),
            with: "web/train".into(),
            filter_sha256: "5ea".into(),
            items: 5153,
            without_grams: 1,
            overlapping: 2,
            grams: 4000,
            found: 50,
            share: Some(0.0125),
            largest: Some(ItemOverlap { id: "17".into(), grams: 8, found: 6 }),
        }
    }

    #[test]
    fn overlap_is_a_table_with_its_share_and_its_largest_item() {
        let lines = lines(&[&overlap()], Style::Plain);
        let rows = [
            "task    8-grams  seen   share  items  overlapping     largest overlap",
            "cbt_cn    4,000    50  1.25 %  5,153            2  75.00 % of item 17",
            "",
            "cbt_cn: 1 item of fewer than 8 words, which cannot be looked for",
            "overlap with web/train",
        ];
        assert_eq!(lines, rows);
        let nothing = OverlapSummary { share: None, largest: None, without_grams: 0, ..overlap() };
        let lines = super::lines(&[&nothing], Style::Markdown);
        assert_eq!(lines[1], "|---|---:|---:|---:|---:|---:|---:|");
        assert_eq!(lines[2..], ["| cbt_cn | 4,000 | 50 |  | 5,153 | 2 |  |", "", "- overlap with web/train"]);
    }

    #[test]
    fn results_without_overlapping_items_stand_beside_those_of_all() {
        let mut with = report("cbt_cn", &[("acc", 0.5, None)]);
        assert_eq!(lines_of(std::slice::from_ref(&with), Style::Plain), [""; 0]);
        let mut results = report("cbt_cn", &[("acc", 0.25, None)]).results;
        results.items = 5151;
        with.without_overlap = Some(WithoutOverlap { overlap: overlap(), results });
        let lines = lines_of(&[with.clone()], Style::Markdown);
        let row = "| cbt_cn | acc | 50.00 % | 25.00 % | 5,153 | 5,151 |";
        assert_eq!(lines.last().map(String::as_str), Some(row));
        // No item is left.
        if let Some(without) = &mut with.without_overlap {
            without.results.metrics.clear();
            without.results.items = 0;
        }
        let lines = lines_of(&[with], Style::Markdown);
        assert_eq!(lines.last().map(String::as_str), Some("| cbt_cn | acc | 50.00 % |  | 5,153 | 0 |"));
    }
}

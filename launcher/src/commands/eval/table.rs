//! The table of results beside published figures, and notes of what stands behind it.

use evaluation::metrics::{Measure, Metric};
use evaluation::published::{Published, nearest_size, published};
use evaluation::report::Report;
use evaluation::tasks::find;

use crate::cli::evaluation::EvalArgs;
use crate::view::figures::{counted, with_thousands};

/// Number of ids that a note lists.
const IDS_SHOWN: usize = 10;

/// Form of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Columns of equal width.
    Plain,
    /// A table of Markdown.
    Markdown,
}

impl Style {
    /// Returns the form that is asked for, where it is not JSON.
    pub fn of(args: &EvalArgs) -> Self {
        if args.markdown { Style::Markdown } else { Style::Plain }
    }

    /// Returns what stands in front of a note.
    pub fn bullet(self) -> &'static str {
        if self == Style::Markdown { "- " } else { "" }
    }
}

/// Returns the lines of the table and its notes.
pub fn lines(reports: &[Report], style: Style) -> Vec<String> {
    let size = reports.first().map_or(0, |report| nearest_size(report.parameters));
    let published_by = format!("GPT-2 {size}M");
    let mut rows = vec![["task", "metric", "value", "std. error", &published_by, "items"].map(str::to_owned)];
    let mut sources: Vec<&str> = Vec::new();
    for report in reports {
        for metric in &report.results.metrics {
            let figure = figure(report, metric, size);
            if let Some(figure) = figure.filter(|figure| !sources.contains(&figure.source)) {
                sources.push(figure.source);
            }
            rows.push(row(report, metric, figure));
        }
    }
    let mut lines = drawn(&rows, 2, style);
    let mut notes: Vec<String> = reports.iter().flat_map(notes).collect();
    notes.extend(sources.iter().map(|source| format!("{published_by}: {source}")));
    if !notes.is_empty() {
        lines.push(String::new());
    }
    lines.extend(notes.into_iter().map(|note| format!("{}{note}", style.bullet())));
    lines
}

fn row(report: &Report, metric: &Metric, figure: Option<Published>) -> [String; 6] {
    let show = |value: f64| shown(measure(report, metric), value);
    [
        report.results.task.clone(),
        metric.name.clone(),
        show(metric.value),
        metric.standard_error.map(show).unwrap_or_default(),
        figure.map(|figure| show(figure.value)).unwrap_or_default(),
        with_thousands(report.results.items as u64),
    ]
}

/// Returns the measure of a metric, whose name begins with the measure's.
fn measure(report: &Report, metric: &Metric) -> Option<Measure> {
    let name = metric.name.split('/').next()?;
    find(&report.results.task).ok()?.measures.iter().copied().find(|measure| measure.name() == name)
}

fn figure(report: &Report, metric: &Metric, size: u32) -> Option<Published> {
    let figures = published(&report.results.task, measure(report, metric)?);
    figures.into_iter().find(|figure| figure.parameters_millions == size)
}

/// Formats a value: shares as percentages, bits with three digits, perplexities with two.
fn shown(measure: Option<Measure>, value: f64) -> String {
    match measure {
        Some(measure) if measure.is_share() => format!("{:.2} %", 100.0 * value),
        Some(Measure::BitsPerByte | Measure::BitsPerCharacter) => format!("{value:.3}"),
        _ => format!("{value:.2}"),
    }
}

/// Formats the value of a metric.
pub fn shown_metric(report: &Report, metric: &Metric) -> String {
    shown(measure(report, metric), metric.value)
}

/// Returns the lines of a table of these rows, the first of which is its head. The first `texts` columns are aligned on the
/// left, and the others on the right.
pub fn drawn<const N: usize>(rows: &[[String; N]], texts: usize, style: Style) -> Vec<String> {
    match style {
        Style::Plain => plain(rows, texts),
        Style::Markdown => markdown(rows, texts),
    }
}

fn plain<const N: usize>(rows: &[[String; N]], texts: usize) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cell = |(column, text): (usize, &String)| match column < texts {
            true => format!("{text:<width$}", width = widths[column]),
            false => format!("{text:>width$}", width = widths[column]),
        };
        row.iter().enumerate().map(cell).collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn markdown<const N: usize>(rows: &[[String; N]], texts: usize) -> Vec<String> {
    let line = |row: &[String; N]| format!("| {} |", row.join(" | "));
    let mut lines: Vec<String> = rows.iter().map(line).collect();
    let columns: String = (0..N).map(|column| if column < texts { "---|" } else { "---:|" }).collect();
    lines.insert(1, format!("|{columns}"));
    lines
}

/// Returns what a reader of the report's rows has to know.
fn notes(report: &Report) -> Vec<String> {
    let results = &report.results;
    let listed = [
        ("truncated on the left", &results.truncated),
        ("skipped, since they are longer than the context", &results.skipped),
        ("without tokens", &results.empty),
    ];
    let mut notes: Vec<String> = listed
        .into_iter()
        .filter(|(_, ids)| !ids.is_empty())
        .map(|(what, ids)| format!("{}: {} {what}: {}", results.task, counted(ids.len() as u64, "item"), ids_of(ids)))
        .collect();
    if let Some(limit) = report.limit {
        let unit = if report.settings.lines.is_some() { "line" } else { "item" };
        notes.push(format!("{}: only the first {} were evaluated", results.task, counted(limit as u64, unit)));
    }
    if report.is_official == Some(false) {
        notes.push(format!("{}: {} is not the official file, by its SHA-256", results.task, report.data));
    }
    if report.settings.shots > 0 {
        notes.push(format!(
            "{}: {} in front of each item",
            results.task,
            counted(report.settings.shots as u64, "shot")
        ));
    }
    notes
}

fn ids_of(ids: &[String]) -> String {
    let shown = ids[..ids.len().min(IDS_SHOWN)].join(", ");
    match ids.len().saturating_sub(IDS_SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use evaluation::OnLong;
    use evaluation::metrics::{Direction, Results};
    use evaluation::report::Settings;

    use super::*;

    pub fn report(task: &str, metrics: &[(&str, f64, Option<f64>)]) -> Report {
        let metric = |(name, value, standard_error): &(&str, f64, Option<f64>)| Metric {
            name: (*name).to_owned(),
            value: *value,
            standard_error: *standard_error,
            better: Direction::Higher,
        };
        Report {
            checkpoint: "file:///run".into(),
            parameters: 124_439_808,
            data: "file:///data/x".into(),
            is_official: None,
            limit: None,
            settings: Settings {
                convoy: "1".into(),
                task: task.to_owned(),
                data_sha256: String::new(),
                lines: None,
                manifest_sha256: String::new(),
                tokenizer_hash: String::new(),
                shots: 0,
                window_tokens: 1024,
                stride_tokens: 1024,
                on_long: OnLong::Truncate,
                device: "cpu".into(),
                threads_per_rank: 1,
            },
            seconds: 1.0,
            results: Results {
                task: task.to_owned(),
                items: 5153,
                tokens: 5153,
                log_likelihood: -1.0,
                words: 0,
                characters: 0,
                bytes: 0,
                metrics: metrics.iter().map(metric).collect(),
                truncated: Vec::new(),
                skipped: Vec::new(),
                empty: Vec::new(),
            },
            without_overlap: None,
        }
    }

    #[test]
    fn rows_stand_beside_the_papers_figures_for_the_size() {
        let reports = [
            report("lambada_openai_last_token", &[("acc", 0.46, Some(0.007)), ("last_token_perplexity", 35.0, None)]),
            report("enwik8", &[("bits_per_byte/whole/window=1024/stride=512", 1.2, None)]),
        ];
        let lines = lines(&reports, Style::Plain);
        let rows = [
            "task                       metric                                        value  std. error  GPT-2 124M  items",
            "lambada_openai_last_token  acc                                         46.00 %      0.70 %     45.99 %  5,153",
            "lambada_openai_last_token  last_token_perplexity                         35.00                   35.13  5,153",
            "enwik8                     bits_per_byte/whole/window=1024/stride=512    1.200                   1.160  5,153",
        ];
        assert_eq!(lines[..4], rows);
        assert!(lines[5].starts_with("GPT-2 124M: Radford"), "{lines:?}");
    }

    #[test]
    fn what_was_cut_left_out_or_limited_is_noted() {
        let mut report = report("cbt_cn", &[("acc", 0.5, None)]);
        report.results.truncated = (1..=12).map(|id| id.to_string()).collect();
        report.results.skipped = vec!["7".into()];
        report.limit = Some(100);
        report.is_official = Some(false);
        let lines = lines(&[report], Style::Markdown);
        assert_eq!(lines[0], "| task | metric | value | std. error | GPT-2 124M | items |");
        assert_eq!(lines[2], "| cbt_cn | acc | 50.00 % |  | 87.65 % | 5,153 |");
        let notes = lines[4..].join("\n");
        assert!(notes.contains("- cbt_cn: 12 items truncated on the left: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more"));
        assert!(notes.contains("- cbt_cn: 1 item skipped, since they are longer than the context: 7"), "{notes}");
        assert!(notes.contains("only the first 100 items") && notes.contains("is not the official file"), "{notes}");
    }
}

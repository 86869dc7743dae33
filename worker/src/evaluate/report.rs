//! The results of a task, as an object beside its scores, and on request all its items.

use bytes::Bytes;
use common::storage::Folder;
use common::worker_contract::{EVALUATED_MARK, Evaluated};
use evaluation::Scores;
use evaluation::metrics;
use evaluation::report::{Report, Settings};
use serde::Serialize;

use super::EvaluateOptions;
use super::error::EvaluateError;
use super::overlap::Overlap;
use super::questions::Questions;
use super::subject::Subject;
use crate::error::JobError;

/// Computes the results of a task from its scores, with and without the items that `overlap` with training data. `options` and
/// the duration are those of the whole evaluation.
pub fn report(
    subject: &Subject,
    settings: Settings,
    questions: &Questions,
    scores: &Scores,
    (options, seconds): (&EvaluateOptions, f64),
    overlap: Option<&Overlap>,
) -> Result<Report, EvaluateError> {
    let Questions { task, items, sequences, data_url, data_sha256, .. } = questions;
    let results =
        metrics::results(task, items, sequences, scores, |_| true).map_err(EvaluateError::of_scores(task.name))?;
    Ok(Report {
        checkpoint: subject.url().to_owned(),
        parameters: subject.parameters(),
        data: data_url.clone(),
        is_official: task.source.sha256.map(|official| official == data_sha256),
        limit: options.limit,
        settings,
        seconds,
        results,
        without_overlap: overlap.map(|overlap| overlap.results(questions, scores)).transpose()?,
    })
}

/// Puts a report into `folder`, and the items too if `with_samples`, and prints their names below `root`.
pub fn publish(
    report: &Report,
    (root, folder): (&Folder, &Folder),
    questions: &Questions,
    scores: &Scores,
    with_samples: bool,
) -> Result<(), JobError> {
    let results = report.object_name();
    folder.put(&results, to_json(report))?;
    let limited = report.limit.map(|limit| format!("-of-first-{limit}")).unwrap_or_default();
    let samples = with_samples.then(|| format!("samples{limited}.jsonl"));
    if let Some(name) = &samples {
        folder.put(name, to_lines(questions, scores)?)?;
    }
    let below = |name: &str| folder.url_of(name)[root.url().len()..].trim_start_matches('/').to_owned();
    let evaluated = Evaluated { results: below(&results), samples: samples.as_deref().map(below) };
    let json = serde_json::to_string(&evaluated).unwrap_or_else(|e| unreachable!("names are JSON: {e}"));
    #[allow(clippy::print_stdout, reason = "the result of the command, which the launcher reads")]
    {
        println!("{EVALUATED_MARK}{json}");
    }
    Ok(())
}

fn to_json(report: &Report) -> Bytes {
    let json = serde_json::to_string_pretty(report).unwrap_or_else(|e| unreachable!("results are JSON: {e}"));
    Bytes::from(json + "\n")
}

/// Returns all items that were scored, each as a line of JSON.
fn to_lines(questions: &Questions, scores: &Scores) -> Result<Bytes, EvaluateError> {
    let Questions { task, items, sequences, .. } = questions;
    let samples = metrics::samples(task, items, sequences, scores).map_err(EvaluateError::of_scores(task.name))?;
    let mut lines = String::new();
    for sample in samples {
        let sample = SampleOf { task: task.name, sample: &sample };
        lines += &serde_json::to_string(&sample).unwrap_or_else(|e| unreachable!("a sample is JSON: {e}"));
        lines.push('\n');
    }
    Ok(Bytes::from(lines))
}

/// A sample with its task, since samples of several tasks are one file for the user.
#[derive(Serialize)]
struct SampleOf<'a> {
    task: &'a str,
    #[serde(flatten)]
    sample: &'a metrics::Sample,
}

//! What the ranks have put into the store: read back, and shown or written as the arguments say.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use common::storage::Folder;
use common::worker_contract::Evaluated;
use evaluation::published::{nearest_size, published};
use evaluation::report::Report;
use evaluation::tasks::find;
use serde_json::{Value, json};

use super::overlap;
use super::table::{self, Style};
use crate::cli::evaluation::EvalArgs;
use crate::commands::error::CommandError;
use crate::error::LaunchError;
use crate::view::terminal::{to_json, to_stderr, to_stdout};

/// Size of the largest object with results, in bytes.
const RESULTS_BYTES_MAX: u64 = 1 << 28;

/// Shows the results that the ranks have put into `folder`.
pub fn show(folder: &Folder, evaluated: &[Evaluated], args: &EvalArgs) -> Result<(), LaunchError> {
    let reports = evaluated.iter().map(|of| read(folder, &of.results)).collect::<Result<Vec<_>, _>>()?;
    if args.json {
        let with_published = |report: &Report| json!({ "report": report, "published": published_json(report) });
        to_stdout(&to_json(&reports.iter().map(with_published).collect::<Vec<_>>()));
    } else {
        let mut lines = table::lines(&reports, Style::of(args));
        let of_overlap = overlap::lines_of(&reports, Style::of(args));
        if !of_overlap.is_empty() {
            lines.push(String::new());
            lines.extend(of_overlap);
        }
        lines.iter().for_each(|line| to_stdout(line));
    }
    if let Some(path) = &args.samples {
        let names: Vec<&str> = evaluated.iter().filter_map(|of| of.samples.as_deref()).collect();
        write_samples(folder, &names, path)?;
    }
    to_stderr(&format!("scores are kept in {}", folder.url()));
    Ok(())
}

/// Reads the object `name`, which is input from outside like any other.
fn read(folder: &Folder, name: &str) -> Result<Report, LaunchError> {
    let refuse = |reason: String| CommandError::NotResults { url: folder.url_of(name), reason };
    match folder.get_small(name, RESULTS_BYTES_MAX)? {
        None => Err(refuse("it does not exist, or this machine does not see it".into()).into()),
        Some(content) => serde_json::from_slice(&content).map_err(|error| refuse(error.to_string()).into()),
    }
}

/// Returns the published figures of the nearest size of GPT-2, by metric.
fn published_json(report: &Report) -> Value {
    let size = nearest_size(report.parameters);
    let measures = find(&report.settings.task).map(|task| task.measures).unwrap_or_default();
    let figures = measures.iter().flat_map(|measure| published(&report.settings.task, *measure));
    let of_size = figures.filter(|figure| figure.parameters_millions == size).map(|figure| {
        json!({
            "measure": figure.measure.name(),
            "parameters_millions": figure.parameters_millions,
            "value": figure.value,
            "source": figure.source,
        })
    });
    of_size.collect()
}

/// Refuses a file that cannot be written, before hours of work for its content. What is in the file stays.
pub fn check_writable(path: &Path) -> Result<(), LaunchError> {
    let unwritable = |source| CommandError::Unwritable { path: path.to_owned(), source };
    File::options().create(true).append(true).open(path).map(drop).map_err(unwritable)?;
    Ok(())
}

fn write_samples(folder: &Folder, names: &[&str], path: &Path) -> Result<(), LaunchError> {
    let unwritable = |source| CommandError::Unwritable { path: path.to_owned(), source };
    let mut file = BufWriter::new(File::create(path).map_err(unwritable)?);
    for name in names {
        file.write_all(&folder.get(name)?).map_err(unwritable)?;
    }
    file.flush().map_err(unwritable)?;
    to_stderr(&format!("items and their scores are in {}", path.display()));
    Ok(())
}

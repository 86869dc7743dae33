//! `launcher metrics`: prints the metrics of a run as CSV or JSON, a row for each step that counts.

use std::io::{self, BufWriter, ErrorKind, Write};

use common::exit_code::ExitCode;
use common::metrics::StepRecord;
use common::task_results::TasksRecord;
use common::untrusted::json_printable;
use serde_json::Number;

use super::run_folder;
use crate::cli::runs::MetricsArgs;
use crate::error::LaunchError;
use crate::run_folder::metrics::{MetricsError, Row, Rows};
use crate::view::figures::counted;
use crate::view::terminal::to_stderr;

/// Prints the rows. A reader that has closed the output is no error.
pub fn run(args: &MetricsArgs) -> Result<ExitCode, LaunchError> {
    let run = run_folder::open(&args.run)?;
    let mut rows = Rows::open(&run)?;
    let table = Table { out: BufWriter::new(io::stdout().lock()), is_json: args.json, rows: 0 };
    let printed = print(&mut rows, table, args);
    let damage = rows.damage();
    match printed {
        Ok(0) => {
            let url = run.url_of("metrics");
            return Err(match damage.named.first() {
                None => MetricsError::Nothing { url }.into(),
                Some(first) => MetricsError::Unreadable { url, lines: damage.lines, first: first.clone() }.into(),
            });
        }
        Err(LaunchError::Metrics(MetricsError::Output(error))) if error.kind() == ErrorKind::BrokenPipe => {}
        printed => drop(printed?),
    }
    damage.named.iter().for_each(|line| to_stderr(&format!("left out: {line}")));
    if damage.lines > 0 {
        to_stderr(&format!("left out in all: {}", counted(damage.lines, "damaged line")));
    }
    Ok(ExitCode::Done)
}

/// Prints those of `rows` that are wanted, and returns how many there are in all.
fn print<W: Write>(rows: &mut Rows, mut table: Table<W>, args: &MetricsArgs) -> Result<u64, LaunchError> {
    let mut found = 0;
    while let Some(row) = rows.next_row()? {
        found += 1;
        let is_due = row.step.is_multiple_of(args.every) || row.validation.is_some() || row.tasks.is_some();
        if is_due && (args.from..=args.to).contains(&row.step) {
            table.row(&row).map_err(MetricsError::Output)?;
        }
    }
    if found > 0 {
        table.finish().map_err(MetricsError::Output)?;
    }
    Ok(found)
}

/// Value of a column.
#[derive(Debug, Clone, PartialEq)]
enum Field {
    Absent,
    Whole(u64),
    Real(f64),
    /// JSON of an object.
    Object(String),
}

/// Number of columns.
const COLUMNS: usize = 19;

/// Returns the columns of `row` with their names.
fn fields(row: &Row) -> [(&'static str, Field); COLUMNS] {
    let whole = |value: Option<u64>| value.map_or(Field::Absent, Field::Whole);
    let real = |value: Option<f64>| value.map_or(Field::Absent, Field::Real);
    let of_step = |value: fn(&StepRecord) -> f64| real(row.record.as_ref().map(value));
    let (record, validation) = (row.record.as_ref(), row.validation.as_ref());
    [
        ("step", Field::Whole(row.step)),
        ("tokens", whole(record.map(|record| record.tokens))),
        ("loss", of_step(|record| record.loss)),
        ("validation_loss", real(validation.map(|validation| validation.validation_loss))),
        ("learning_rate", of_step(|record| record.learning_rate)),
        ("grad_norm", of_step(|record| record.grad_norm)),
        ("step_ms", of_step(|record| record.step_ms)),
        ("tokens_per_second", of_step(|record| record.tokens_per_second)),
        ("mfu", real(record.and_then(|record| record.mfu))),
        ("data_wait_ms", of_step(|record| record.data_wait_ms)),
        ("forward_ms", of_step(|record| record.forward_ms)),
        ("backward_ms", of_step(|record| record.backward_ms)),
        ("exposed_comm_ms", of_step(|record| record.exposed_comm_ms)),
        ("optimizer_ms", of_step(|record| record.optimizer_ms)),
        ("memory_bytes", whole(record.map(|record| record.memory_bytes))),
        ("validation_sequences", whole(validation.map(|validation| validation.validation_sequences))),
        ("tasks", row.tasks.as_ref().map_or(Field::Absent, object)),
        ("tasks_seconds", real(row.tasks.as_ref().map(|tasks| tasks.tasks_seconds))),
        ("attempt", Field::Whole(row.attempt.into())),
    ]
}

/// Returns the result of each task by its name, which comes from outside.
fn object(record: &TasksRecord) -> Field {
    let json = serde_json::to_string(&record.tasks).unwrap_or_else(|e| unreachable!("results are JSON: {e}"));
    Field::Object(json_printable(&json).into_owned())
}

impl Field {
    /// Formats the value as JSON.
    fn json(self) -> String {
        match self {
            Field::Object(json) => json,
            value => value.number("null", "null"),
        }
    }

    /// Formats the value as a cell of CSV, an object as its JSON in quotes.
    fn csv(self) -> String {
        match self {
            Field::Object(json) => format!("\"{}\"", json.replace('"', "\"\"")),
            value => value.number("", "NaN"),
        }
    }

    /// Formats a number with every digit; `absent` and `not_finite` stand for what is no number.
    fn number(self, absent: &str, not_finite: &str) -> String {
        match self {
            Field::Absent | Field::Object(_) => absent.to_owned(),
            Field::Whole(value) => value.to_string(),
            Field::Real(value) => Number::from_f64(value).map_or(not_finite.to_owned(), |number| number.to_string()),
        }
    }
}

/// Writer of rows as CSV or as a JSON array.
struct Table<W> {
    out: W,
    is_json: bool,
    rows: u64,
}

impl<W: Write> Table<W> {
    fn row(&mut self, row: &Row) -> io::Result<()> {
        let fields = fields(row);
        self.rows += 1;
        if self.is_json {
            let begin = if self.rows == 1 { "[" } else { "," };
            let members = fields.map(|(name, value)| format!("\"{name}\":{}", value.json()));
            return write!(self.out, "{begin}\n{{{}}}", members.join(","));
        }
        if self.rows == 1 {
            self.header()?;
        }
        writeln!(self.out, "{}", fields.map(|(_, value)| value.csv()).join(","))
    }

    fn header(&mut self) -> io::Result<()> {
        let none = Row { step: 0, attempt: 0, record: None, validation: None, tasks: None };
        writeln!(self.out, "{}", fields(&none).map(|(name, _)| name).join(","))
    }

    fn finish(mut self) -> io::Result<()> {
        match (self.is_json, self.rows) {
            (true, 0) => writeln!(self.out, "[]")?,
            (true, _) => writeln!(self.out, "\n]")?,
            (false, 0) => self.header()?,
            (false, _) => {}
        }
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use common::metrics::ValidationRecord;
    use common::task_results::TaskResult;
    use serde_json::{Value, json};

    use super::*;

    fn record(step: u64) -> StepRecord {
        let json = include_str!("../../../tests/fuzz/seeds/metrics/part.jsonl").lines().next().unwrap();
        StepRecord { step, ..serde_json::from_str(json).unwrap() }
    }

    fn table(rows: &[Row], is_json: bool) -> String {
        let mut out = Vec::new();
        let mut table = Table { out: &mut out, is_json, rows: 0 };
        rows.iter().for_each(|row| table.row(row).unwrap());
        table.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    /// Values at the ends of what a float can be, which a format with few digits loses.
    const VALUES: [f64; 6] = [0.1 + 0.2, 1.0 / 3.0, f64::MIN_POSITIVE, 5e-324, f64::MAX, 1e-7];

    fn rows() -> Vec<Row> {
        let row = |(value, step): (f64, u64)| {
            let record = Some(StepRecord { loss: value, mfu: None, grad_norm: f64::NAN, ..record(step) });
            Row { step, attempt: 2, record, validation: None, tasks: None }
        };
        let mut rows: Vec<Row> = VALUES.into_iter().zip(1..).map(row).collect();
        let validation = ValidationRecord { step: 9, validation_loss: VALUES[0], validation_sequences: u64::MAX };
        rows.push(Row { step: 9, attempt: 3, record: None, validation: Some(validation), tasks: None });
        rows
    }

    #[test]
    fn csv_has_a_header_and_every_digit_and_nothing_for_what_is_absent() {
        let csv = table(&rows(), false);
        let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let header = lines.next().unwrap();
        let column = |name: &str| header.iter().position(|column| *column == name).unwrap();
        let lines: Vec<_> = lines.collect();
        assert!(lines.len() == 7 && lines.iter().all(|line| line.len() == COLUMNS), "{csv}");
        for (line, value) in lines.iter().zip(VALUES) {
            assert_eq!(line[column("loss")].parse::<f64>().unwrap().to_bits(), value.to_bits(), "{csv}");
            assert!(line[column("grad_norm")].parse::<f64>().unwrap().is_nan(), "{csv}");
            assert_eq!([line[column("mfu")], line[column("validation_loss")], line[column("attempt")]], ["", "", "2"]);
        }
        let last = &lines[6];
        assert_eq!([last[0], last[column("loss")], last[column("tokens")]], ["9", "", ""]);
        assert_eq!(last[column("validation_sequences")].parse(), Ok(u64::MAX));
        assert_eq!(last[column("validation_loss")].parse(), Ok(VALUES[0]));
        assert_eq!(table(&[], false), header.join(",") + "\n");
    }

    #[test]
    fn results_of_tasks_are_an_object_in_json_and_a_quoted_one_in_csv() {
        let result = TaskResult { metric: "acc".into(), value: VALUES[0], standard_error: None, items: 7 };
        let tasks = BTreeMap::from([("text=a\u{9b}\"b".to_owned(), result)]);
        let tasks = Some(TasksRecord { step: 2, tasks, tasks_seconds: VALUES[1] });
        let rows = [Row { step: 2, attempt: 1, record: None, validation: None, tasks }];
        let text = table(&rows, true);
        let json: Vec<Value> = serde_json::from_str(&text).unwrap();
        let expected = json!({ "metric": "acc", "value": VALUES[0], "standard_error": null, "items": 7 });
        assert_eq!(json[0]["tasks"]["text=a\u{9b}\"b"], expected);
        assert_eq!(json[0]["tasks_seconds"].as_f64(), Some(VALUES[1]));
        assert!(!text.contains('\u{9b}'), "{text:?}");
        let csv = table(&rows, false);
        let line = csv.lines().nth(1).unwrap();
        let (_, rest) = line.split_once('"').unwrap();
        let (cell, after) = rest.rsplit_once('"').unwrap();
        assert_eq!(serde_json::from_str::<Value>(&cell.replace("\"\"", "\"")).unwrap(), json[0]["tasks"]);
        assert_eq!(after, format!(",{},1", VALUES[1]));
    }

    #[test]
    fn json_has_the_columns_as_members() {
        let json: Vec<Value> = serde_json::from_str(&table(&rows(), true)).unwrap();
        assert_eq!(json.len(), 7);
        for (object, value) in json.iter().zip(VALUES) {
            assert_eq!(object["loss"].as_f64(), Some(value));
            assert_eq!([&object["grad_norm"], &object["mfu"], &object["validation_loss"]], [&Value::Null; 3]);
            assert_eq!(object.as_object().unwrap().len(), COLUMNS);
        }
        assert_eq!(json[6]["validation_loss"].as_f64(), Some(VALUES[0]));
        assert_eq!(table(&[], true), "[]\n");
    }
}

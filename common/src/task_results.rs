//! Results of evaluation tasks in the middle of training: their record, and how a line tells it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Result of one evaluation task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskResult {
    /// Name of the task's main metric, as `launcher eval` has it.
    pub metric: String,
    /// Value of the metric. Shares are from 0 to 1.
    #[serde(deserialize_with = "crate::json_numbers::null_is_nan")]
    pub value: f64,
    /// Standard error of the value, where there are at least two samples.
    pub standard_error: Option<f64>,
    /// Number of items that count.
    pub items: u64,
}

/// Results of evaluation tasks at a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TasksRecord {
    /// Number of completed steps when the tasks were scored.
    pub step: u64,
    /// Result of each task, by its name as the config lists it.
    pub tasks: BTreeMap<String, TaskResult>,
    /// Time for which training stood still, in seconds.
    pub tasks_seconds: f64,
}

impl TaskResult {
    /// Formats the value, a share as `27.1 %` and others as `34.20`.
    pub fn figure(&self) -> String {
        if self.is_share() { format!("{:.1} %", 100.0 * self.value) } else { format!("{:.2}", self.value) }
    }

    fn is_share(&self) -> bool {
        self.metric.starts_with("acc")
    }
}

/// Formats a result as `acc_norm 27.1 % ± 3.1 (200 items)`.
impl fmt::Display for TaskResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Behind the name stands how a text was cut.
        let name = self.metric.split('/').next().unwrap_or_default();
        write!(f, "{name} {}", self.figure())?;
        match self.standard_error {
            Some(error) if self.is_share() => write!(f, " ± {:.1}", 100.0 * error)?,
            Some(error) => write!(f, " ± {error:.2}")?,
            None => {}
        }
        write!(f, " ({} {})", self.items, if self.items == 1 { "item" } else { "items" })
    }
}

/// Formats all results as `ptb word_perplexity 35.76 ± 0.31 (1 item)  wsc273_full acc 61.0 % ± 3.0 (200 items)  2.1 s`.
impl fmt::Display for TasksRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tasks.iter().try_for_each(|(task, result)| write!(f, "{task} {result}  "))?;
        write!(f, "{:.1} s", self.tasks_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> TasksRecord {
        let result = |metric: &str, value, standard_error, items| TaskResult {
            metric: metric.to_owned(),
            value,
            standard_error,
            items,
        };
        let tasks = BTreeMap::from([
            ("hellaswag_harness".to_owned(), result("acc_norm", 0.271, Some(0.0314), 200)),
            ("ptb".to_owned(), result("word_perplexity/whole/window=32/stride=32", 35.756, None, 1)),
        ]);
        TasksRecord { step: 500, tasks, tasks_seconds: 2.07 }
    }

    #[test]
    fn a_line_tells_every_task_and_what_it_took() {
        let expected = "hellaswag_harness acc_norm 27.1 % ± 3.1 (200 items)  ptb word_perplexity 35.76 (1 item)  2.1 s";
        assert_eq!(record().to_string(), expected);
    }

    #[test]
    fn a_record_is_read_back_as_it_was_written_and_a_missing_value_as_no_number() {
        let json = serde_json::to_string(&record()).unwrap();
        assert_eq!(serde_json::from_str::<TasksRecord>(&json).unwrap(), record());
        let without = json.replace("35.756", "null");
        assert!(serde_json::from_str::<TasksRecord>(&without).unwrap().tasks["ptb"].value.is_nan());
    }
}

//! `[evaluation]`: validation loss and evaluation tasks during training.

use serde::Serialize;

use super::section::Section;
use crate::untrusted::shortened;

/// Largest number of entries of `tasks`, so that their results fit into one message to the launcher.
const TASKS_MAX: usize = 24;
/// Length of the longest entry of `tasks`, in bytes.
const TASK_BYTES_MAX: usize = 1024;

/// Section `[evaluation]`. A run that has validation data, or tasks, also evaluates by them at the end.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EvaluationConfig {
    /// Measure every N steps; 0 measures only at the end. Default 250.
    pub every_steps: u64,
    /// Number of sequences to measure, from the start of the validation data, or all of them if there are fewer. Default 1024.
    pub validation_sequences: u64,
    /// Names of the tasks to score, as `launcher eval --tasks` takes them; none by default. An entry may list several,
    /// separated by commas.
    pub tasks: Vec<String>,
    /// Score the tasks every N steps; 0 scores them only at the end. Default 0.
    pub tasks_every_steps: u64,
    /// Number of items of each task, from the first on, or lines of a task that is one whole text. Default 200.
    pub tasks_items: u64,
    /// URL of the folder with the tasks' data files; empty for none. Default empty.
    pub tasks_data: String,
}

impl EvaluationConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        EvaluationConfig {
            every_steps: section.or("every_steps", 250),
            validation_sequences: section.or("validation_sequences", 1024),
            tasks: read_tasks(section),
            tasks_every_steps: section.or("tasks_every_steps", 0),
            tasks_items: section.or("tasks_items", 200),
            tasks_data: section.or("tasks_data", String::new()),
        }
    }
}

/// Reads `tasks`. Whether there are such tasks is left to those who know them.
fn read_tasks(section: &mut Section<'_>) -> Vec<String> {
    let given: Vec<String> = section.or("tasks", Vec::new());
    let entries = given.iter().flat_map(|entry| entry.split(',')).map(str::trim).filter(|entry| !entry.is_empty());
    let tasks: Vec<String> = entries.map(str::to_owned).collect();
    let fits = |task: &String| task.len() <= TASK_BYTES_MAX && !task.contains(char::is_control);
    section.require(
        tasks.len() <= TASKS_MAX && tasks.iter().all(fits),
        "tasks",
        shortened(&format!("{given:?}")),
        format!("must be at most {TASKS_MAX} names, each of at most {TASK_BYTES_MAX} bytes without control characters"),
    );
    tasks
}

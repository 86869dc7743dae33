//! `[webtext]`: the rules of the stages that make documents of web pages.
//!
//! What keys a stage has is known to the package that does its work. Here they are tables, which the prepare job reads before
//! it begins.

use serde::Serialize;
use toml::{Table, Value};

use super::absolute::absolute;
use super::section::Section;

/// Key in `deduplicate` of folders of earlier deduplications.
const AGAINST: &str = "against";
/// Key in `overlap` of the names of evaluation sets, some with a file of the user's behind `=`.
const TASKS: &str = "tasks";
/// Key in `overlap` of the folder of the others' data files.
const DATA: &str = "data";

/// Section `[webtext]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct WebtextConfig {
    /// Limits of the stage `extract`, by key. Default none, which leaves all at their defaults.
    pub extract: Table,
    /// Rules of the stage `clean`, by key: `set`, and values that differ from that set's. Default none.
    pub clean: Table,
    /// How the stage `deduplicate` finds documents that are equal or nearly so, and which of them stays, by key. Default none.
    pub deduplicate: Table,
    /// Evaluation sets that the stage `overlap` looks for, and what it removes, by key. Default none.
    pub overlap: Table,
}

impl WebtextConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let mut table = |key: &'static str| section.or(key, Table::new());
        WebtextConfig {
            extract: table("extract"),
            clean: table("clean"),
            deduplicate: table("deduplicate"),
            overlap: table("overlap"),
        }
    }

    /// Returns the folders of earlier deduplications, which `webtext.deduplicate.against` names by path or URL.
    pub fn against(&self) -> impl Iterator<Item = &str> {
        let folders = match self.deduplicate.get(AGAINST) {
            Some(Value::Array(folders)) => folders.as_slice(),
            // It is refused later, and may hold a secret all the same.
            Some(folder) => std::slice::from_ref(folder),
            None => &[],
        };
        folders.iter().filter_map(Value::as_str)
    }

    /// Returns the folder of data files of evaluation sets, `webtext.overlap.data`, unless it is left out.
    pub fn overlap_data(&self) -> Option<&str> {
        self.overlap.get(DATA).and_then(Value::as_str).filter(|data| !data.is_empty())
    }

    /// Returns the files of the user's that `webtext.overlap.tasks` names by path or URL.
    pub fn overlap_files(&self) -> impl Iterator<Item = &str> {
        let tasks = match self.overlap.get(TASKS) {
            Some(Value::Array(tasks)) => tasks.as_slice(),
            // It is refused later, and may hold a secret all the same.
            Some(task) => std::slice::from_ref(task),
            None => &[],
        };
        let entries = tasks.iter().filter_map(Value::as_str).flat_map(|entry| entry.split(','));
        entries.filter_map(|entry| Some(entry.split_once('=')?.1.trim())).filter(|file| !file.is_empty())
    }

    /// Returns the rules with absolute paths, for processes in other folders. URLs stay as they are.
    #[must_use]
    pub fn with_absolute_paths(&self) -> Self {
        let mut config = self.clone();
        for folder in config.deduplicate.get_mut(AGAINST).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Value::String(folder) = folder {
                *folder = absolute(folder);
            }
        }
        if let Some(Value::String(data)) = config.overlap.get_mut(DATA).filter(|_| self.overlap_data().is_some()) {
            *data = absolute(data);
        }
        for task in config.overlap.get_mut(TASKS).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Value::String(task) = task {
                *task = task.split(',').map(with_absolute_file).collect::<Vec<_>>().join(",");
            }
        }
        config
    }
}

/// Returns an entry of a list of tasks with an absolute path behind `=`, if there is any.
fn with_absolute_file(entry: &str) -> String {
    match entry.split_once('=') {
        Some((name, file)) if !file.trim().is_empty() => format!("{}={}", name.trim(), absolute(file.trim())),
        _ => entry.to_owned(),
    }
}

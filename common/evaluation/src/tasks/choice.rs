//! Tasks as a person lists them, with files of their own.

use std::fmt;

use crate::tasks::{Task, UnknownTask, find, select};

/// A task to evaluate, and the file that it reads if that is the user's own.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// The task.
    pub task: &'static Task,
    /// Path or URL of the user's file; `None` where the task reads its official file.
    pub file: Option<String>,
}

/// Why a list of tasks is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    /// No task has a name of the list.
    #[error(transparent)]
    Unknown(#[from] UnknownTask),
    /// The list is empty.
    #[error("the list names no task")]
    Empty,
    /// A task reads a file of the user's, and the list does not say which.
    #[error("{task} reads a file of your own: give it as {task}=FILE")]
    NeedsFile {
        /// Name of the task.
        task: &'static str,
    },
    /// A task reads its official file, and the list gives another.
    #[error("{task} reads its official file, {file}, from the folder of data; leave out what follows `=`")]
    TakesNoFile {
        /// Name of the task.
        task: &'static str,
        /// Name of its file.
        file: &'static str,
    },
}

/// Returns the tasks of a list such as `lambada_harness,text=notes.txt`, or for `all` every task that reads an official file.
/// What is listed twice is returned once.
///
/// # Errors
/// Returns the first entry that is no task, or that does not fit its task.
pub fn choose(list: &str) -> Result<Vec<Chosen>, ChoiceError> {
    let mut chosen: Vec<Chosen> = Vec::new();
    for entry in list.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        if entry == "all" {
            select("all")?.into_iter().for_each(|task| add(&mut chosen, Chosen { task, file: None }));
            continue;
        }
        let (name, file) = match entry.split_once('=') {
            Some((name, file)) => (name.trim(), Some(file.trim().to_owned()).filter(|file| !file.is_empty())),
            None => (entry, None),
        };
        let task = find(name)?;
        match (task.source.file, &file) {
            (None, None) => return Err(ChoiceError::NeedsFile { task: task.name }),
            (Some(file), Some(_)) => return Err(ChoiceError::TakesNoFile { task: task.name, file }),
            _ => add(&mut chosen, Chosen { task, file }),
        }
    }
    if chosen.is_empty() { Err(ChoiceError::Empty) } else { Ok(chosen) }
}

fn add(chosen: &mut Vec<Chosen>, new: Chosen) {
    if !chosen.iter().any(|known| known.task.name == new.task.name && known.file == new.file) {
        chosen.push(new);
    }
}

impl fmt::Display for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{}={file}", self.task.name),
            None => f.write_str(self.task.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(list: &str) -> Result<String, ChoiceError> {
        choose(list).map(|chosen| chosen.iter().map(Chosen::to_string).collect::<Vec<_>>().join(","))
    }

    #[test]
    fn a_list_names_tasks_and_files_once() {
        assert_eq!(shown("ptb, text=a b.txt ,ptb,text=c.txt").unwrap(), "ptb,text=a b.txt,text=c.txt");
        assert_eq!(choose("all,ptb").unwrap().len(), select("all").unwrap().len());
    }

    #[test]
    fn a_file_belongs_to_a_task_that_reads_one() {
        assert_eq!(shown("text"), Err(ChoiceError::NeedsFile { task: "text" }));
        assert_eq!(shown("documents="), Err(ChoiceError::NeedsFile { task: "documents" }));
        assert!(matches!(shown("ptb=x"), Err(ChoiceError::TakesNoFile { task: "ptb", .. })));
        assert_eq!(shown(" , "), Err(ChoiceError::Empty));
        assert!(matches!(shown("lambada"), Err(ChoiceError::Unknown(_))));
    }
}

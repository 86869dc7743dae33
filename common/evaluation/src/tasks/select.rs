//! Tasks by name.

use crate::tasks::{TASKS, Task};

/// Error for a name that no task has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no task {name:?}{}", hint(.near))]
pub struct UnknownTask {
    /// The name.
    pub name: String,
    /// Tasks that may be meant, the likeliest first.
    pub near: Vec<&'static str>,
}

fn hint(near: &[&str]) -> String {
    match near {
        [] => String::new(),
        [one] => format!("; did you mean {one}?"),
        [others @ .., last] => format!("; did you mean {} or {last}?", others.join(", ")),
    }
}

/// Returns the task of this name.
///
/// # Errors
/// Returns the forms of the data set if the name is a data set's, and otherwise the nearest names.
pub fn find(name: &str) -> Result<&'static Task, UnknownTask> {
    TASKS.iter().find(|task| task.name == name).ok_or_else(|| UnknownTask { name: name.to_owned(), near: near(name) })
}

/// Returns the tasks of a list such as `lambada_harness,wsc273_partial`, or all that need no file of the user's own for `all`.
/// A task that is named twice is returned once.
///
/// # Errors
/// Returns the first name that no task has.
pub fn select(list: &str) -> Result<Vec<&'static Task>, UnknownTask> {
    if list.trim() == "all" {
        return Ok(TASKS.iter().filter(|task| task.source.file.is_some()).collect());
    }
    let mut tasks: Vec<&'static Task> = Vec::new();
    for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let task = find(name)?;
        if !tasks.iter().any(|known| known.name == task.name) {
            tasks.push(task);
        }
    }
    Ok(tasks)
}

/// Most edits between a name and one that may be meant.
const EDITS: usize = 3;

fn near(name: &str) -> Vec<&'static str> {
    let names = || TASKS.iter().map(|task| task.name);
    let forms: Vec<&str> = names().filter(|task| !name.is_empty() && task.starts_with(&format!("{name}_"))).collect();
    if !forms.is_empty() {
        return forms;
    }
    let mut by_edits: Vec<(usize, &str)> = names().map(|task| (edits(name, task), task)).collect();
    by_edits.sort_by_key(|(edits, _)| *edits);
    match by_edits.first() {
        Some((nearest, _)) if *nearest <= EDITS && *nearest < name.len() => {
            by_edits.iter().take_while(|(edits, _)| edits == nearest).map(|(_, task)| *task).collect()
        }
        _ => {
            let begins = |task: &&str| {
                name.split(['_', '-']).next().is_some_and(|data| data.len() > 2 && task.starts_with(data))
            };
            names().filter(begins).collect()
        }
    }
}

/// Levenshtein's distance. A name of the user's is cut, so that it takes no time.
fn edits(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=left.len()).collect();
    for (index, right) in right.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for at in 0..left.len() {
            let replaced = diagonal + usize::from(left[at] != right);
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(row[at] + 1).min(diagonal + 1);
        }
    }
    row[left.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_lambada_is_no_task_and_lists_its_forms() {
        let message = find("lambada").unwrap_err().to_string();
        let expected = "there is no task \"lambada\"; did you mean lambada_openai_last_token, lambada_openai_last_word or \
                        lambada_harness?";
        assert_eq!(message, expected);
        assert_eq!(find("hellaswag").unwrap_err().near.len(), 3);
    }

    #[test]
    fn a_misspelt_name_gets_the_nearest() {
        assert_eq!(find("wikitex2").unwrap_err().near, ["wikitext2"]);
        assert_eq!(find("wsc_273_partial").unwrap_err().near, ["wsc273_partial"]);
        assert_eq!(find("hellaswag-llmc").unwrap_err().near.len(), 3);
        assert_eq!(find("arc_easy").unwrap_err().to_string(), "there is no task \"arc_easy\"");
        assert!(find("").unwrap_err().near.is_empty());
    }

    #[test]
    fn a_list_names_tasks_once_and_all_leaves_out_texts_of_the_users() {
        let names: Vec<_> = select("ptb, text8,ptb").unwrap().iter().map(|task| task.name).collect();
        assert_eq!(names, ["ptb", "text8"]);
        assert!(select("ptb,nothing_of_this").is_err());
        assert_eq!(select("all").unwrap().len() + 2, TASKS.len());
    }
}

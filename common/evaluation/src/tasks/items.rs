//! The items of a task that are asked for: how many, and with how many shots.

use crate::data::{DataError, DataFile};
use crate::item::Item;
use crate::shots::{self, ShotsError, with_shots};
use crate::tasks::{Cut, TASKS, Task};

/// Which items of a task are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selection {
    /// Number of items to take, from the first on; of a task that is one whole text, number of its lines.
    pub limit: Option<usize>,
    /// Other items in front of each.
    pub shots: usize,
    /// Seed by which shots are drawn.
    pub seed: u64,
}

impl Default for Selection {
    fn default() -> Self {
        Selection { limit: None, shots: 0, seed: shots::SEED }
    }
}

/// Why the items that are asked for cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ItemsError {
    /// The data file is malformed.
    #[error(transparent)]
    Data(#[from] DataError),
    /// There are too few items for the shots.
    #[error(transparent)]
    Shots(#[from] ShotsError),
    /// The task has no form with shots.
    #[error("{task} has no form with examples in front: leave out --shots, or take of {}", with_forms())]
    NoShots {
        /// Name of the task.
        task: &'static str,
    },
    /// No item is asked for.
    #[error("a limit of 0 leaves no item of {task}: expected 1 or more")]
    NoItems {
        /// Name of the task.
        task: &'static str,
    },
}

fn with_forms() -> String {
    TASKS.iter().filter(|task| task.allows_shots).map(|task| task.name).collect::<Vec<_>>().join(", ")
}

impl Task {
    /// Reads the items of `file` that are asked for. Shots are drawn from all items, so that an item is the same with any limit.
    ///
    /// # Errors
    /// Returns what is wrong with the file, or that the task cannot have such shots.
    pub fn items(&self, file: &DataFile<'_>, selection: &Selection) -> Result<Vec<Item>, ItemsError> {
        if selection.shots > 0 && !self.allows_shots {
            return Err(ItemsError::NoShots { task: self.name });
        }
        let limit = selection.limit.unwrap_or(usize::MAX);
        if limit == 0 {
            return Err(ItemsError::NoItems { task: self.name });
        }
        if self.cut == Some(Cut::Whole) {
            let content = first_lines((self.test_text)(file.content), limit);
            return Ok((self.read)(&DataFile { content, ..*file })?);
        }
        let mut items = with_shots((self.read)(file)?, selection.shots, selection.seed)?;
        items.truncate(limit);
        Ok(items)
    }
}

/// Returns the first lines, with their ends.
fn first_lines(content: &[u8], lines: usize) -> &[u8] {
    let ends = content.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    let end = ends.into_iter().nth(lines - 1).unwrap_or(content.len());
    &content[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::{Judgement, Units};
    use crate::tasks::find;

    fn items(task: &str, content: &str, selection: Selection) -> Result<Vec<Item>, ItemsError> {
        find(task).unwrap().items(&DataFile { name: "x", content: content.as_bytes() }, &selection)
    }

    #[test]
    fn a_limit_leaves_the_first_items_and_the_first_lines_of_a_text() {
        let limit = |limit| Selection { limit: Some(limit), ..Selection::default() };
        let documents = "{\"text\": \"a\"}\n{\"text\": \"b\"}\n{\"text\": \"c\"}\n";
        assert_eq!(items("documents", documents, limit(2)).unwrap().len(), 2);
        assert_eq!(items("documents", documents, limit(9)).unwrap().len(), 3);
        let text = items("ptb", " a b \n c d e \n f \n", limit(2)).unwrap();
        assert!(matches!(text[0].judgement, Judgement::Text(Units { words: 7, bytes: 14, .. })), "{text:?}");
        assert_eq!(items("text", "a\nb", limit(2)).unwrap()[0].text(), "a\nb");
        assert_eq!(items("text", "a", limit(0)).unwrap_err(), ItemsError::NoItems { task: "text" });
    }

    #[test]
    fn shots_are_the_same_with_any_limit() {
        let passages: String = (0..9).map(|n| format!("{{\"text\": \"passage of {n}\"}}\n")).collect();
        let with = |limit| Selection { limit, shots: 3, ..Selection::default() };
        let all = items("lambada_harness", &passages, with(None)).unwrap();
        assert_eq!(items("lambada_harness", &passages, with(Some(2))).unwrap(), all[..2]);
        assert!(all[0].text().matches("passage of").count() == 4, "{}", all[0].text());
    }

    #[test]
    fn a_task_without_a_form_for_shots_says_which_have_one() {
        let message = items("ptb", " a \n", Selection { shots: 1, ..Selection::default() }).unwrap_err().to_string();
        assert!(message.starts_with("ptb has no form with examples in front") && message.contains("hellaswag_harness"));
        let few = items("lambada_harness", "{\"text\": \"two words\"}", Selection { shots: 1, ..Selection::default() });
        assert!(matches!(few, Err(ItemsError::Shots(ShotsError::TooMany { .. }))));
    }
}

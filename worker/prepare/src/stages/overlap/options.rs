//! What is looked for, and what is removed: the keys of `[webtext.overlap]`.

use common::config::Fault;
use common::secrets::without_secrets;
use evaluation::tasks::{ChoiceError, Chosen, choose};
use serde::{Deserialize, Serialize};

/// Largest `window_characters`.
const WINDOW_CHARACTERS_MAX: u64 = 10_000;

/// Options of the stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OverlapOptions {
    /// Evaluation sets, in the words of `launcher eval --tasks`: `lambada_harness`, `documents=FILE`. Default none, which the
    /// stage refuses.
    pub tasks: Vec<String>,
    /// Folder of the official data files of tasks, as `launcher eval --data` has it. Default none.
    pub data: String,
    /// What is removed. Default nothing.
    pub remove: Remove,
    /// Share of a document's 8-grams that are in evaluation sets from which `document` removes it: above 0, at most 1. Default 0.1.
    pub share: f64,
    /// Characters on both sides of an overlap that `window` removes with it. Default 200; 0 for none.
    pub window_characters: u64,
}

/// What is removed where a document overlaps with evaluation sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Remove {
    /// Nothing: overlaps are counted and noted.
    Nothing,
    /// The document, from a share of overlapping 8-grams on.
    Document,
    /// Each overlap with the characters around it.
    Window,
}

impl Default for OverlapOptions {
    fn default() -> Self {
        OverlapOptions {
            tasks: Vec::new(),
            data: String::new(),
            remove: Remove::Nothing,
            share: 0.1,
            window_characters: 200,
        }
    }
}

impl OverlapOptions {
    /// Returns the tasks that are named, in order and each once.
    pub fn chosen(&self) -> Result<Vec<Chosen>, ChoiceError> {
        choose(&self.tasks.join(","))
    }

    /// Returns what is wrong, by the keys in `section`. A job without this stage needs no tasks.
    pub fn faults(&self, section: &str, has_stage: bool) -> Vec<Fault> {
        let fault = |key: &str, value: String, hint: String| Fault {
            key: format!("{section}.{key}"),
            value: Some(value),
            hint,
        };
        let mut faults = Vec::new();
        let tasks = || format!("{:?}", self.without_secrets().tasks);
        match self.chosen() {
            Ok(chosen) => {
                let official = chosen.iter().find(|chosen| chosen.file.is_none());
                if let Some(Chosen { task, .. }) = official.filter(|_| self.data.is_empty()) {
                    let file = task.source.file.unwrap_or("its file");
                    let hint = format!("names no folder; give the one that has {file}, which {} reads", task.name);
                    faults.push(fault("data", "\"\"".to_owned(), hint));
                }
            }
            Err(ChoiceError::Empty) if !has_stage => {}
            Err(ChoiceError::Empty) => {
                let hint = "names no evaluation set; give some, such as [\"lambada_harness\", \"documents=FILE\"], or leave out the \
                            stage";
                faults.push(fault("tasks", tasks(), hint.to_owned()));
            }
            Err(error) => faults.push(fault("tasks", tasks(), error.to_string())),
        }
        if !(self.share > 0.0 && self.share <= 1.0) {
            let hint = "expected a share above 0, and at most 1; write 0.1 for 10 %".to_owned();
            faults.push(fault("share", self.share.to_string(), hint));
        }
        if self.window_characters > WINDOW_CHARACTERS_MAX {
            let hint = format!("must be at most {WINDOW_CHARACTERS_MAX}; leave it out for 200");
            faults.push(fault("window_characters", self.window_characters.to_string(), hint));
        }
        faults
    }

    /// Returns the options as they are stored and shown: without secrets in URLs.
    pub fn without_secrets(&self) -> Self {
        let entry = |entry: &str| match entry.split_once('=') {
            Some((name, file)) => format!("{}={}", name.trim(), without_secrets(file.trim())),
            None => entry.to_owned(),
        };
        let entries = |list: &String| list.split(',').map(entry).collect::<Vec<_>>().join(",");
        let data = without_secrets(&self.data).trim_end_matches('/').to_owned();
        OverlapOptions { tasks: self.tasks.iter().map(entries).collect(), data, ..self.clone() }
    }
}

//! Checks the evaluation tasks of a config: their names, and that their data files are there.

use common::config::RunConfig;
use common::preflight::Finding;
use common::storage::{Folder, StorageError};
use evaluation::tasks::{Chosen, choose};

use crate::commands::error::CommandError;
use crate::view::figures::counted;

const SUBJECT: &str = "evaluation tasks";

/// Returns the tasks that the config names; none if it names none. Refuses what is no task.
pub fn chosen(config: &RunConfig) -> Result<Vec<Chosen>, CommandError> {
    match config.evaluation.tasks.as_slice() {
        [] => Ok(Vec::new()),
        tasks => choose(&tasks.join(",")).map_err(CommandError::TasksOfConfig),
    }
}

/// Checks the tasks of `config`; `None` if it names none.
pub fn check(config: &RunConfig) -> Option<Finding> {
    let chosen = match chosen(config) {
        Ok(chosen) if chosen.is_empty() => return None,
        Ok(chosen) => chosen,
        Err(error) => return Some(Finding::failed(SUBJECT, error.to_string())),
    };
    let mut faults: Vec<String> = Vec::new();
    for fault in chosen.iter().filter_map(|chosen| fault(chosen, config)) {
        // Forms of one data set read one file.
        if !faults.contains(&fault) {
            faults.push(fault);
        }
    }
    if !faults.is_empty() {
        return Some(Finding::failed(SUBJECT, faults.join("\n")));
    }
    let tasks = counted(chosen.len() as u64, "task");
    let items = match config.evaluation.tasks_items {
        1 => "the first item".to_owned(),
        items => format!("the first {items} items"),
    };
    let when = match config.evaluation.tasks_every_steps {
        0 => "at the end".to_owned(),
        1 => "every step and at the end".to_owned(),
        every => format!("every {every} steps and at the end"),
    };
    Some(Finding::ok(SUBJECT, format!("{tasks}, {items} of each, {when}")))
}

/// Returns what is wrong with the data file of a task.
fn fault(chosen: &Chosen, config: &RunConfig) -> Option<String> {
    let (source, folder) = (chosen.task.source, &config.evaluation.tasks_data);
    let opened = match (&chosen.file, source.file) {
        (Some(file), _) => {
            Folder::open(file, &config.storage).map(|whole| whole.parent().unwrap_or((whole, String::new())))
        }
        (None, Some(name)) if !folder.is_empty() => {
            Folder::open(folder, &config.storage).map(|folder| (folder, name.to_owned()))
        }
        (None, name) => {
            let name = name.unwrap_or("its file");
            return Some(format!("evaluation.tasks_data is missing: the folder with {name} (from {})", source.from));
        }
    };
    match opened.and_then(|(folder, name)| folder.size(&name)) {
        Ok(_) => None,
        Err(error @ StorageError::NotFound { .. }) if source.file.is_some() => {
            Some(format!("{error}; put it there from {}", source.from))
        }
        Err(error) => Some(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use common::config::{RawConfig, StorageConfig};
    use common::preflight::Verdict;

    use super::*;

    fn config(settings: &[&str]) -> RunConfig {
        let text = "[run]\noutput = \"x\"\n[model]\npreset = \"tiny-cpu\"\n[data]\ntrain = [{ url = \"a\" }]\n\
                    [batch]\nglobal_sequences = 8\nmicro_sequences = 4\nsequence_tokens = 64\n\
                    [optimizer]\npeak_learning_rate = 1e-3\nwarmup_steps = 1\n[train]\nmax_steps = 10\n";
        let settings: Vec<_> = settings.iter().map(|setting| (*setting).to_owned()).collect();
        RawConfig::parse("of the test", text, &settings).unwrap().run().unwrap()
    }

    fn failed(settings: &[&str]) -> String {
        let finding = check(&config(settings)).unwrap();
        assert_eq!(finding.verdict, Verdict::Failed, "{}", finding.text);
        finding.text
    }

    #[test]
    fn a_config_without_tasks_has_nothing_to_check() {
        assert_eq!(check(&config(&[])), None);
        assert!(chosen(&config(&[])).unwrap().is_empty());
    }

    #[test]
    fn a_misspelt_task_is_answered_with_the_nearest_one() {
        let error = chosen(&config(&["evaluation.tasks=hellaswagg_harness"])).unwrap_err().to_string();
        assert!(
            error.starts_with("evaluation.tasks: ") && error.contains("did you mean hellaswag_harness?"),
            "{error}"
        );
        assert_eq!(failed(&["evaluation.tasks=hellaswagg_harness"]), error);
    }

    #[test]
    fn data_that_are_not_there_are_named_once_with_their_source() {
        let tasks = "evaluation.tasks=lambada_harness, lambada_openai_last_word, ptb";
        let missing = failed(&[tasks]);
        assert!(
            missing.starts_with("evaluation.tasks_data is missing: the folder with lambada_test.jsonl"),
            "{missing}"
        );
        let folder = "memory://preflight-tasks";
        let set = format!("evaluation.tasks_data={folder}");
        let store = Folder::open(folder, &StorageConfig::default()).unwrap();
        store.put("ptb.test.txt", Bytes::from_static(b"a b")).unwrap();
        let missing = failed(&[tasks, &set]);
        assert!(missing.contains("lambada_test.jsonl does not exist; put it there from https://"), "{missing}");
        assert_eq!(missing.lines().count(), 1, "{missing}");
        store.put("lambada_test.jsonl", Bytes::from_static(b"{}")).unwrap();
        let finding = check(&config(&[tasks, &set, "evaluation.tasks_every_steps=500"])).unwrap();
        let expected = "3 tasks, the first 200 items of each, every 500 steps and at the end";
        assert_eq!((finding.verdict, finding.text.as_str()), (Verdict::Ok, expected));
    }
}

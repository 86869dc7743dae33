//! The list of all tasks: what each asks, which file it reads, and where that comes from.

use evaluation::tasks::{TASKS, Task};

use crate::view::terminal::to_stdout;

/// Prints all tasks.
pub fn list() {
    TASKS.iter().for_each(|task| to_stdout(&described(task)));
}

fn described(task: &Task) -> String {
    let measures: Vec<&str> = task.measures.iter().map(|measure| measure.name()).collect();
    let data = match task.source.file {
        Some(file) => format!("{file}, from {}", task.source.from),
        None => format!("{}: --tasks {}=FILE", task.source.from, task.name),
    };
    let shots = if task.allows_shots { "\n  --shots   yes" } else { "" };
    format!("{}\n  about     {}\n  metrics   {}\n  data      {data}{shots}", task.name, task.about, measures.join(", "))
}

#[cfg(test)]
mod tests {
    use evaluation::tasks::find;

    use super::*;

    #[test]
    fn a_task_is_listed_with_its_file_and_its_source() {
        let text = described(find("lambada_harness").unwrap());
        assert!(text.starts_with("lambada_harness\n  about     LAMBADA"), "{text}");
        assert!(text.contains("\n  data      lambada_test.jsonl, from https://"), "{text}");
        assert!(text.ends_with("--shots   yes"), "{text}");
        assert!(described(find("text").unwrap()).contains("--tasks text=FILE"));
    }
}

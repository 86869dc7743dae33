//! Looks at texts before they are prepared: `prepare survey`, for `launcher init`.

use std::path::Path;

use common::config::{OnBadDocument, StorageConfig};
use common::figures::counted;
use common::storage::Wanted;
use common::text_survey::TextSurvey;
use common::tokenizer::Tokenizer;

use crate::PrepareError;
use crate::inputs::{Estimate, MARKDOWN, ReadOptions, Sources, estimate, find, is_read};

/// Bytes of a file by which text is recognised.
const LOOKED_AT: u64 = 4096;

/// Looks at the texts that a person calls `names`: files, folders, patterns or URLs. A document in the samples that cannot be
/// read is an error, unless such documents are skipped, and so are names where there is no text.
pub fn survey(
    names: &[String],
    tokenizer: &str,
    (options, on_bad): (&ReadOptions, OnBadDocument),
    storage: &StorageConfig,
) -> Result<TextSurvey, PrepareError> {
    let tokenizer = Tokenizer::open(tokenizer, storage)?;
    let inputs = names.iter().map(|name| inputs_of(name, storage)).collect::<Result<Vec<_>, _>>()?.concat();
    let found = find(&inputs, storage)?;
    let sources = Sources::open(&inputs, &found, storage)?.list;
    let Estimate { texts, documents, text_bytes, longest_document_bytes, skipped } =
        estimate(&sources, options, on_bad)?;
    if text_bytes == 0 {
        let empty = (found.len() as u64).saturating_sub(skipped);
        return Err(PrepareError::EmptyCorpus { objects: found.len(), empty, skipped, overlapping: 0 });
    }
    if skipped > 0 {
        tracing::warn!("left out of what was looked at: {} that cannot be read", counted(skipped, "document"));
    }
    let sampled_bytes: usize = texts.iter().map(String::len).sum();
    let sampled_tokens: usize = texts.iter().map(|text| tokenizer.encode(text).len()).sum();
    let tokens_per_byte = sampled_tokens as f64 / sampled_bytes.max(1) as f64;
    let tokens = ((text_bytes as f64 * tokens_per_byte).round() as u64).saturating_add(documents);
    Ok(TextSurvey {
        inputs,
        objects: found.len() as u64,
        documents,
        text_bytes,
        longest_document_bytes,
        tokens,
        vocabulary: tokenizer.size(),
    })
}

/// Returns the inputs that stand for what is called `name`, so that they mean this in any surroundings.
fn inputs_of(name: &str, storage: &StorageConfig) -> Result<Vec<String>, PrepareError> {
    let has_text = |input: &String| match find(std::slice::from_ref(input), storage) {
        Ok(_) => Ok(true),
        Err(PrepareError::NothingToRead { .. }) => Ok(false),
        Err(error) => Err(error),
    };
    let mut inputs = Vec::new();
    let is_of_another_kind = Path::new(name).is_file() && !is_read(name, name);
    for input in candidates(name).into_iter().filter(|_| !is_of_another_kind) {
        if has_text(&input)? {
            inputs.push(input);
        }
    }
    match inputs.is_empty() {
        true => Err(PrepareError::NoText { name: name.to_owned(), there: what_is_there(name, storage) }),
        false => Ok(inputs),
    }
}

/// Returns the inputs that may stand for `name`. Markdown below a folder has to be asked for.
fn candidates(name: &str) -> Vec<String> {
    let path = Path::new(name);
    let exact = if path.exists() { without_patterns(name) } else { name.to_owned() };
    let is_folder = path.is_dir() || (name.contains("://") && !name.starts_with("http") && !has_pattern(name));
    if !is_folder {
        return vec![exact];
    }
    let folder = exact.trim_end_matches('/');
    // A folder is found by its own name, and not by a pattern.
    let all = if exact == name { name.to_owned() } else { format!("{folder}/**/*") };
    vec![all, format!("{folder}/**/*{MARKDOWN}")]
}

fn has_pattern(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

/// Returns a pattern that matches `name` alone.
fn without_patterns(name: &str) -> String {
    let escape = |c: char| if "*?[".contains(c) { format!("[{c}]") } else { c.to_string() };
    name.chars().map(escape).collect()
}

/// Describes what there is instead of text.
fn what_is_there(name: &str, storage: &StorageConfig) -> String {
    let path = Path::new(name);
    if path.is_file() {
        return match begins_as_text(path) {
            true => format!("; this may be text: give it such a name, for example {name}.txt"),
            false => "; this is a binary file".to_owned(),
        };
    }
    let others = Wanted::exactly(name, storage).and_then(|wanted| wanted.find(|_| true));
    let others = others.map(|found| found.objects).unwrap_or_default();
    match others.first() {
        None => "; there are no files".to_owned(),
        Some(first) if others.len() == 1 => format!("; there is another file, {}", first.name),
        Some(first) => format!("; there are {} other files, such as {}", others.len(), first.name),
    }
}

fn begins_as_text(path: &Path) -> bool {
    use std::io::Read as _;
    let mut start = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(LOOKED_AT).read_to_end(&mut start));
    let is_utf8 = std::str::from_utf8(&start).map_or_else(|error| error.error_len().is_none(), |_| true);
    read.is_ok() && is_utf8 && !start.contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::exit_code::ExitCode;
    use std::fs;

    fn options() -> ReadOptions {
        ReadOptions { text_field: "text".into(), document_bytes_max: 1 << 20 }
    }

    fn survey(name: &Path) -> Result<TextSurvey, PrepareError> {
        survey_with(name, OnBadDocument::Fail)
    }

    fn survey_with(name: &Path, on_bad: OnBadDocument) -> Result<TextSurvey, PrepareError> {
        let names = [name.to_str().unwrap().to_owned()];
        super::survey(&names, "gpt2", (&options(), on_bad), &StorageConfig::default())
    }

    #[test]
    fn documents_that_cannot_be_read_are_left_out_where_that_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("a.jsonl"), "{\"text\": \"one two\"}\n{\"body\": \"x\"}\n{\"text\": \"three\"}\nno JSON\n")
            .unwrap();
        fs::write(at("b.txt"), b"\x89PNG\0").unwrap();
        fs::write(at("c.txt.gz"), "no gzip").unwrap();
        assert!(survey(folder.path()).is_err());
        let found = survey_with(folder.path(), OnBadDocument::Skip).unwrap();
        assert_eq!((found.objects, found.longest_document_bytes), (3, 7), "{found:?}");
        assert!((12..=20).contains(&found.text_bytes), "{found:?}");
        let error = survey_with(&at("b.txt"), OnBadDocument::Skip).unwrap_err().to_string();
        assert!(error.contains("1 object gave 0 empty and 1 unreadable document"), "{error}");
    }

    #[test]
    fn a_file_or_folder_with_any_name_becomes_inputs_that_mean_it_alone() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("odd [1]*/deeper")).unwrap();
        fs::write(at("odd [1]*/a.txt"), "one two three").unwrap();
        fs::write(at("odd [1]*/deeper/what?.md"), "four five").unwrap();
        fs::write(at("odd [1]*/deeper/x.pdf"), [0; 10]).unwrap();
        let found = survey(&at("odd [1]*")).unwrap();
        assert_eq!((found.objects, found.documents, found.text_bytes), (2, 2, 22));
        assert_eq!((found.tokens, found.vocabulary, found.longest_document_bytes), (7, 50_257, 13));
        assert!(found.inputs.iter().all(|input| input.contains("odd [[]1][*]/**/*")), "{:?}", found.inputs);
        // The inputs mean the same to a job, beside a name that the unescaped one would match.
        fs::create_dir(at("odd 1x")).unwrap();
        fs::write(at("odd 1x/b.txt"), "other").unwrap();
        assert_eq!(find(&found.inputs, &StorageConfig::default()).unwrap().len(), 2);
        let found = survey(&at("odd [1]*/deeper/what?.md")).unwrap();
        assert_eq!((found.objects, found.text_bytes), (1, 9));
        assert!(found.inputs[0].ends_with("odd [[]1][*]/deeper/what[?].md"), "{:?}", found.inputs);
        let found = survey(&at("odd 1x")).unwrap();
        assert_eq!(found.inputs, [at("odd 1x").to_str().unwrap()]);
    }

    #[test]
    fn where_there_is_no_text_it_is_said_what_there_is() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let refused = |name: &str, expected: &str| {
            let error = survey(&at(name)).unwrap_err();
            assert_eq!(error.exit_code(), ExitCode::Data, "{error}");
            assert!(error.to_string().contains(name) && error.to_string().contains(expected), "{error}");
        };
        fs::create_dir(at("empty")).unwrap();
        refused("empty", "there are no files");
        fs::create_dir(at("pictures")).unwrap();
        fs::write(at("pictures/a.png"), b"\x89PNG\0").unwrap();
        refused("pictures", "there is another file, a.png");
        fs::write(at("pictures/b.png"), b"\x89PNG\0").unwrap();
        refused("pictures", "there are 2 other files, such as a.png");
        refused("pictures/a.png", "this is a binary file");
        fs::write(at("notes"), "some text").unwrap();
        refused("notes", "notes.txt");
        fs::write(at("picture.txt"), b"\x89PNG\0").unwrap();
        refused("picture.txt", "not UTF-8 at byte 0");
        fs::write(at("nothing.txt"), "").unwrap();
        let error = survey(&at("nothing.txt")).unwrap_err();
        assert!(error.to_string().contains("no document to prepare"), "{error}");
    }
}

//! Names of the folders that a config names: where prepared data and runs go.

use std::path::Path;

use super::error::InitError;

/// Endings of texts, which are no part of a run's name.
const ENDINGS: [&str; 8] = [".gz", ".zst", ".xz", ".bz2", ".txt", ".md", ".jsonl", ".parquet"];
/// Longest name of a run, in characters.
const NAME_MAX: usize = 40;
/// Folders that may receive prepared data: the first that does not lie among the texts.
const DATA_FOLDERS: [&str; 2] = ["data", "prepared"];
/// Folder that receives runs.
const RUNS_FOLDER: &str = "runs";

/// Name of a run, and its folders, relative to the working directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Name of the run.
    pub name: String,
    /// Folder of the prepared data (`prepare.output`).
    pub data: String,
    /// Run folder (`run.output`).
    pub run: String,
}

impl Places {
    /// Chooses places below `here` for a run on `texts`: named after the first text, new, and outside of all texts.
    pub fn choose(texts: &[String], here: &Path) -> Result<Self, InitError> {
        let stem = texts.first().map_or_else(String::new, |text| stem(text, here));
        let text_around = |folder: &str| texts.iter().find(|text| is_in_text(&here.join(folder), here, text));
        let inside = |text: &String| InitError::InsideText { text: text.clone() };
        if let Some(text) = text_around(RUNS_FOLDER) {
            return Err(inside(text));
        }
        let folder = DATA_FOLDERS.into_iter().find(|folder| text_around(folder).is_none());
        let Some(folder) = folder else { return Err(inside(&texts[0])) };
        let places = (1_u32..).map(|number| {
            let name = if number == 1 { stem.clone() } else { format!("{stem}-{number}") };
            Places { data: format!("{folder}/{name}"), run: format!("{RUNS_FOLDER}/{name}"), name }
        });
        let is_new = |places: &Places| [&places.data, &places.run].iter().all(|path| !here.join(path).exists());
        Ok(places.into_iter().find(is_new).unwrap_or_else(|| unreachable!("some number is free")))
    }
}

/// Returns whether `folder` is, or would be, in the folder that `text` names, if it names one.
fn is_in_text(folder: &Path, here: &Path, text: &str) -> bool {
    let text = here.join(text);
    let resolved = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    // The folder need not exist yet, but the one around it does.
    let folder = match (folder.parent(), folder.file_name()) {
        (Some(parent), Some(name)) => resolved(parent).join(name),
        _ => folder.to_owned(),
    };
    text.is_dir() && folder.starts_with(resolved(&text))
}

/// Returns a name for a run on `text`: the last part of its path or URL in letters, digits, `-` and `_`.
fn stem(text: &str, here: &Path) -> String {
    let local = here.join(text).canonicalize().ok();
    let local = local.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
    let place = text.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    let mut name = local.unwrap_or_else(|| place.rsplit('/').next().unwrap_or_default());
    while let Some(shorter) = ENDINGS.iter().find_map(|end| name.strip_suffix(end)) {
        name = shorter;
    }
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let words: String = name.chars().map(plain).take(NAME_MAX).collect();
    let words: Vec<&str> = words.split('-').filter(|word| !word.is_empty()).collect();
    if words.is_empty() { "text".to_owned() } else { words.join("-") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_run_is_named_after_its_text() {
        let here = tempfile::tempdir().unwrap();
        for (text, expected) in [
            ("book.txt", "book"),
            ("texts/My book (2nd).jsonl.zst", "My-book-2nd"),
            ("s3://bucket/web/", "web"),
            ("https://host/a%20b.txt?signature=x/y.txt", "a-20b"),
            ("web/*.jsonl", "text"),
            ("漢字.txt", "text"),
            (".txt", "text"),
            ("--force", "force"),
        ] {
            assert_eq!(stem(text, here.path()), expected, "{text}");
        }
        fs::create_dir(here.path().join("notes")).unwrap();
        assert_eq!(stem(".", &here.path().join("notes")), "notes");
    }

    #[test]
    fn places_are_new_and_outside_of_the_text() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path();
        let choose = |text: &str| Places::choose(&[text.to_owned()], here);
        let book = choose("book.txt").unwrap();
        assert_eq!((&*book.name, &*book.data, &*book.run), ("book", "data/book", "runs/book"));
        fs::create_dir_all(here.join("runs/book")).unwrap();
        fs::create_dir_all(here.join("data/book-2")).unwrap();
        assert_eq!(choose("book.txt").unwrap().run, "runs/book-3");
        assert_eq!(choose("data").unwrap().data, "prepared/data");
        for inside in [".", "..", "runs"] {
            assert!(matches!(choose(inside), Err(InitError::InsideText { .. })), "{inside}");
        }
    }
}

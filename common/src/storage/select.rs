//! Finds the objects that a person names: one object, all below a folder, or those that match a pattern.
//!
//! In a pattern `*` stands for any part of a name, `?` for a character, `[...]` for one of several, and `**` for any
//! folders. Names may contain these characters, too. An object or folder with exactly the given name is meant; if others
//! match as well, the choice is refused as ambiguous. Only folders in which something can match are entered.

use std::collections::BTreeMap;

use glob::{MatchOptions, Pattern};
use object_store::path::Path;

use super::absolute::pattern_in;
use super::error::{Result, StorageError};
use super::folder::Folder;
use super::object_info::ObjectInfo;
use crate::config::StorageConfig;
use crate::secrets::without_secrets;

/// Number of names that an error gives as examples.
const NAMED_MAX: usize = 2;

/// `*` stays within a folder, `**` does not.
const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: false };

/// What a person names, before it is looked for.
#[derive(Debug)]
pub struct Wanted {
    /// Words as given, without secrets.
    words: String,
    folder: Folder,
    names: Option<Names>,
}

/// Objects that were found, by their names in a folder.
#[derive(Debug)]
pub struct Selected {
    /// The folder, or the object itself, which then has an empty name in it.
    pub folder: Folder,
    /// The objects, sorted by name.
    pub objects: Vec<ObjectInfo>,
}

impl Wanted {
    /// Opens what `words` name: a URL or path, with a pattern from the first folder on that has `*`, `?` or `[` in its name.
    /// Makes no request yet.
    pub fn open(words: &str, storage: &StorageConfig) -> Result<Self> {
        let Some((place, text)) = pattern_in(words) else { return Self::exactly(words, storage) };
        let text = match words.contains("://") {
            true => Path::from_url_path(text).map_err(|error| refusal(words, &error.to_string()))?.to_string(),
            false => text.to_owned(),
        };
        let (words, folder) = (without_secrets(words).into_owned(), Folder::open(&place, storage)?);
        Ok(Wanted { words, folder, names: Some(Names::of(&text)) })
    }

    /// Opens what has exactly the name `words`, with any characters.
    pub fn exactly(words: &str, storage: &StorageConfig) -> Result<Self> {
        Ok(Wanted { words: without_secrets(words).into_owned(), folder: Folder::open(words, storage)?, names: None })
    }

    /// Returns the words as given, without secrets.
    pub fn words(&self) -> &str {
        &self.words
    }

    /// Returns the folder that the names of [`Wanted::find`] are relative to.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Returns the pattern, relative to its folder, if there is one.
    pub fn pattern(&self) -> Option<&str> {
        self.names.as_ref().map(|names| &*names.text)
    }

    /// Finds the objects whose names are `of_a_kind`. There may be none.
    pub fn find(&self, of_a_kind: impl Fn(&str) -> bool) -> Result<Selected> {
        let mut objects = match &self.names {
            Some(names) => self.matching(names, &of_a_kind)?,
            None if of_a_kind(self.folder.url()) => self.object_or_below()?,
            None => self.folder.list()?,
        };
        let all = objects.len();
        objects.retain(|object| object.name.is_empty() || of_a_kind(&object.name));
        if objects.len() < all {
            tracing::info!("{}: {} of {all} objects are of a kind that is read", self.words, objects.len());
        }
        Ok(Selected { folder: self.folder.clone(), objects })
    }

    fn object_or_below(&self) -> Result<Vec<ObjectInfo>> {
        match self.folder.info("") {
            // A folder may have the name of an object.
            Err(absent @ StorageError::NotFound { .. }) => match self.folder.list() {
                Ok(below) if !below.is_empty() => Ok(below),
                Ok(_) | Err(StorageError::Unlisted { .. }) => Err(absent),
                Err(error) => Err(error),
            },
            found => Ok(vec![found?]),
        }
    }

    fn matching(&self, names: &Names, of_a_kind: &dyn Fn(&str) -> bool) -> Result<Vec<ObjectInfo>> {
        let listed = match self.folder.list_in(&|folder| names.may_be_in(folder)) {
            Err(error @ StorageError::Unlisted { .. }) => match self.folder.info(&names.text) {
                Err(StorageError::NotFound { .. }) => return Err(error),
                found => return Ok(vec![found?]),
            },
            listed => listed?,
        };
        let mut by_exactness = BTreeMap::<usize, Vec<ObjectInfo>>::new();
        for object in listed {
            if let Some(exactness) = names.exactness(&object.name) {
                by_exactness.entry(exactness).or_default().push(object);
            }
        }
        let is_meant = |objects: &Vec<ObjectInfo>| objects.iter().any(|object| of_a_kind(&object.name));
        let mut found = by_exactness.into_values().filter(is_meant).rev();
        match (found.next(), found.next(), &names.pattern) {
            (Some(_), Some(others), _) => {
                let others = others.iter().map(|o| &*o.name).filter(|name| of_a_kind(name));
                let others = others.take(NAMED_MAX).collect::<Vec<_>>().join(", ");
                Err(refusal(
                    &self.words,
                    &format!(
                        "there is something of exactly this name, and as a pattern it matches others ({others}); rename what has *, ? \
                     or [ in its name, or mean it alone by writing these as [*], [?] and [[]"
                    ),
                ))
            }
            (Some(objects), None, _) => Ok(objects),
            (None, _, Ok(_)) => Ok(Vec::new()),
            (None, _, Err(reason)) => {
                let advice = "* stands for any name, ** for any folders, and [[] for a bracket";
                Err(refusal(&self.words, &format!("no pattern, and there is nothing of this name: {reason}; {advice}")))
            }
        }
    }
}

fn refusal(words: &str, reason: &str) -> StorageError {
    StorageError::Pattern { pattern: without_secrets(words).into_owned(), reason: reason.to_owned() }
}

/// A pattern for names in a folder, which is also a possible name.
#[derive(Debug)]
struct Names {
    text: String,
    pattern: std::result::Result<Pattern, String>,
    /// Parts of the text, each as it is, and as a pattern if it is one.
    parts: Vec<(String, Option<Pattern>)>,
    /// Patterns for the rest of a name after its first parts, by the number of these parts, where they contain pattern
    /// characters and are taken literally.
    rests: Vec<(usize, Pattern)>,
}

impl Names {
    fn of(text: &str) -> Self {
        let text = text.trim_end_matches('/');
        let parts: Vec<&str> = text.split('/').collect();
        let is_odd = |part: &str| part.contains(['*', '?', '[']);
        let rest = |count: usize| Some((count, Pattern::new(&parts[count..].join("/")).ok()?));
        let rests = (1..parts.len()).filter(|count| is_odd(parts[count - 1])).filter_map(rest).collect();
        let pattern = Pattern::new(text).map_err(|error| error.msg.to_owned());
        let parts = parts.iter().map(|part| ((*part).to_owned(), Pattern::new(part).ok())).collect();
        Names { text: text.to_owned(), pattern, parts, rests }
    }

    /// Returns whether anything in `folder`, or below it, may be meant.
    fn may_be_in(&self, folder: &str) -> bool {
        let mut is_exact = true;
        for (depth, name) in folder.split('/').enumerate() {
            match self.parts.get(depth) {
                Some((text, _)) if text == "**" => return true,
                Some((text, _)) if text == name => {}
                Some((_, Some(pattern))) if pattern.matches_with(name, OPTIONS) => is_exact = false,
                Some(_) => return false,
                // Below a folder that the last part names.
                None => return is_exact,
            }
        }
        is_exact || folder.split('/').count() < self.parts.len()
    }

    /// Returns how many of the first parts must be taken literally for `name` to be meant: all of them if it is this name or
    /// lies below a folder of this name, and otherwise as many as possible. Returns `None` if it is not meant.
    fn exactness(&self, name: &str) -> Option<usize> {
        let below = |rest: &str| rest.is_empty() || rest.starts_with('/');
        if name.strip_prefix(&*self.text).is_some_and(below) {
            return Some(self.parts.len());
        }
        let matches = |(count, pattern): &&(usize, Pattern)| {
            let mut names = name.splitn(count + 1, '/');
            let are_equal = self.parts[..*count].iter().all(|(text, _)| names.next() == Some(text));
            are_equal && names.next().is_some_and(|rest| pattern.matches_with(rest, OPTIONS))
        };
        let rest = self.rests.iter().rev().find(matches).map(|(count, _)| *count);
        rest.or_else(|| self.pattern.as_ref().is_ok_and(|pattern| pattern.matches_with(name, OPTIONS)).then_some(0))
    }
}

#[cfg(test)]
mod tests {
    use super::super::absolute::absolute_words;
    use super::*;
    use crate::exit_code::ExitCode;

    fn open(words: &str) -> Wanted {
        Wanted::open(words, &StorageConfig::default()).unwrap()
    }

    #[test]
    fn patterns_are_told_from_names_queries_and_addresses() {
        for (words, folder, pattern) in [
            ("memory://b/web/*.jsonl.zst", "memory://b/web", Some("*.jsonl.zst")),
            ("memory://b/part-[0-9]/**/*.txt", "memory://b", Some("part-[0-9]/**/*.txt")),
            ("memory://b/web/a.jsonl.gz", "memory://b/web/a.jsonl.gz", None),
            ("/*.txt", "file://", Some("*.txt")),
            ("file:///a/b?.txt", "file:///a", Some("b?.txt")),
            ("memory://b/a#1.txt", "memory://b/a%231.txt", None),
            ("https://host/a/b.txt?sig=a/*[", "https://host/a/b.txt", None),
            ("https://host/a/*.txt?sig=a", "https://host/a", Some("*.txt")),
            ("file:///a%20b/c%20d/*%25.txt", "file:///a%20b/c%20d", Some("*%.txt")),
            ("http://[::1]:9000/b.txt", "http://[::1]:9000/b.txt", None),
            ("http://[::1]:9000", "http://[::1]:9000", None),
            ("http://[::1]:9000/a/[0-9].txt", "http://[::1]:9000/a", Some("[0-9].txt")),
        ] {
            let wanted = open(words);
            assert_eq!((wanted.folder.url(), wanted.names.as_ref().map(|n| &*n.text)), (folder, pattern), "{words}");
        }
        let here = std::env::current_dir().unwrap();
        assert_eq!(open("*.txt").folder.local().unwrap(), here);
        let absolute = absolute_words("a b/10%?.txt").unwrap();
        assert_eq!(absolute, format!("file://{}/a%20b/10%25?.txt", here.display()));
        assert_eq!(
            (open(&absolute).folder.local().unwrap(), open(&absolute).pattern()),
            (here.join("a b"), Some("10%?.txt"))
        );
        assert_eq!(absolute_words("/a[b]/c").unwrap(), "file:///a[b]/c");
    }

    #[test]
    fn a_name_with_pattern_characters_wins_or_is_refused_where_others_match() {
        let folder = Folder::open("memory://select-exact", &StorageConfig::default()).unwrap();
        for name in
            ["a[1].txt", "b[1].txt", "b1.txt", "x[1/a.txt", "[d]/a.txt", "[d]/b/c.txt", "[e]/a.txt", "e/a.txt", "*.md"]
        {
            folder.put(name, "x".into()).unwrap();
        }
        let find = |words: &str| -> Result<Vec<String>> {
            let found = open(&folder.url_of(words)).find(|name| name.ends_with(".txt"))?;
            Ok(found.objects.into_iter().map(|object| object.name).collect())
        };
        for (words, expected) in [
            ("a[1].txt", &["a[1].txt"][..]),
            ("b[[]1].txt", &["b[1].txt"]),
            ("[d]", &["[d]/a.txt", "[d]/b/c.txt"]),
            ("[d]/", &["[d]/a.txt", "[d]/b/c.txt"]),
            ("[d]/*.txt", &["[d]/a.txt"]),
            ("[d]/**/*.txt", &["[d]/a.txt", "[d]/b/c.txt"]),
            ("x[1/a.txt", &["x[1/a.txt"]),
            ("x[1/*.txt", &["x[1/a.txt"]),
            ("x[2/*.txt", &[]),
            ("?/a.txt", &["e/a.txt"]),
        ] {
            match find(words) {
                Ok(found) => assert_eq!(found, expected, "{words}"),
                Err(error) => assert!(expected.is_empty() && error.to_string().contains("no pattern"), "{error}"),
            }
        }
        let nested = folder.folder("[d]");
        for name in ["y[1].txt", "y1.txt"] {
            nested.put(name, "x".into()).unwrap();
        }
        for words in ["b[1].txt", "[e]/a.txt", "[e]/*.txt", "[d]/y[1].txt"] {
            let error = find(words).unwrap_err();
            assert!(error.to_string().contains("exactly this name, and as a pattern it matches others"), "{error}");
            assert_eq!(error.exit_code(), ExitCode::Config);
        }
    }

    #[test]
    fn a_pattern_in_a_url_is_still_one_once_it_is_absolute() {
        for words in
            ["memory://absolute/part-?.bin", "memory://absolute/[pq]art-*.bin", "https://host/part-*.bin?sig=a"]
        {
            assert_eq!(absolute_words(words).unwrap(), words);
        }
        assert_eq!(absolute_words("memory://absolute/a#1.bin").unwrap(), "memory://absolute/a%231.bin");
        let folder = Folder::open("memory://absolute", &StorageConfig::default()).unwrap();
        folder.put("part-1.bin", "x".into()).unwrap();
        let found = open(&absolute_words("memory://absolute/part-?.bin").unwrap()).find(|_| true).unwrap();
        assert_eq!(found.objects[0].name, "part-1.bin");
    }

    #[test]
    fn only_folders_in_which_something_can_match_are_looked_into() {
        for (pattern, inside, outside) in [
            ("*.txt", &[][..], &["a", "a.txt/b"][..]),
            ("a*/b/*.txt", &["a", "a1", "a1/b"], &["b", "a1/c", "a1/b/c"]),
            ("a/**/x.txt", &["a", "a/b/c/d"], &["b"]),
            ("[d]/*", &["[d]", "d", "[d]/*/a"], &["[e]", "[d]/a", "d/a/b"]),
        ] {
            let names = Names::of(pattern);
            inside.iter().for_each(|folder| assert!(names.may_be_in(folder), "{pattern} {folder}"));
            outside.iter().for_each(|folder| assert!(!names.may_be_in(folder), "{pattern} {folder}"));
        }
    }
}

//! Evaluation sets: read from their data files, and made into a table of grams.

use std::ops::Range;

use common::config::StorageConfig;
use common::sha256::Sha256Sum;
use common::storage::{Folder, StorageError};
use evaluation::DataFile;
use evaluation::overlap::grams;
use evaluation::tasks::{Chosen, Selection};
use sha2::{Digest, Sha256};

use super::options::OverlapOptions;
use super::table::GramTable;
use crate::PrepareError;
use crate::stages::bounded::beginning;

/// Seed of all grams. The table is in memory only, and nobody can choose texts whose grams are equal.
pub const SEED: u64 = 0;
/// Largest data file, in bytes.
const DATA_BYTES_MAX: u64 = 1 << 30;
/// Most grams of all evaluation sets. Each takes up to 24 bytes of memory, and 64 while the table is made.
const GRAMS_MAX: usize = 1 << 26;
/// Longest name of a file in the name of a set, in bytes.
const FILE_BYTES_MAX: usize = 64;

/// An evaluation set as it was read.
#[derive(Debug)]
pub struct ReadSet {
    /// Name of the task, and for a file of the user's `=` and the file's name.
    pub task: String,
    /// URL of its data file, without secrets.
    pub url: String,
    /// Id and text of each item.
    pub items: Vec<(String, String)>,
}

/// An evaluation set, without its texts.
#[derive(Debug)]
pub struct TestSet {
    /// Name, see [`ReadSet::task`].
    pub task: String,
    /// URL of its data file, without secrets.
    pub url: String,
    /// Numbers of its items.
    pub items: Range<usize>,
}

/// An item of an evaluation set.
#[derive(Debug)]
struct TestItem {
    /// Id in its set.
    id: String,
    /// Number of its set.
    set: usize,
    /// Its grams among all, as often as they occur.
    grams: Range<usize>,
}

/// All evaluation sets of a stage.
#[derive(Debug)]
pub struct TestSets {
    /// The sets, in their order.
    pub sets: Vec<TestSet>,
    items: Vec<TestItem>,
    /// Number of each gram, item by item.
    occurrences: Vec<u32>,
    /// Different grams.
    pub table: GramTable,
    sha256: Sha256Sum,
}

/// Reads the evaluation sets that `options` name. Files that are missing are all named at once.
pub fn read_sets(options: &OverlapOptions, storage: &StorageConfig) -> Result<Vec<ReadSet>, PrepareError> {
    let chosen = options.chosen().map_err(|error| PrepareError::TestSets(error.to_string()))?;
    let (mut sets, mut missing) = (Vec::new(), Vec::new());
    for chosen in &chosen {
        match read_set(chosen, &options.data, storage) {
            Err(PrepareError::Storage(StorageError::NotFound { url })) => missing.push(missing_file(chosen, &url)),
            set => sets.push(set?),
        }
    }
    if missing.is_empty() { Ok(sets) } else { Err(PrepareError::TestSets(missing.join("; "))) }
}

fn missing_file(Chosen { task, .. }: &Chosen, url: &str) -> String {
    match task.source.file {
        Some(_) => format!("{} reads {url}, which does not exist; put it there from {}", task.name, task.source.from),
        None => format!("{} reads {url}, which does not exist", task.name),
    }
}

fn read_set(chosen: &Chosen, data: &str, storage: &StorageConfig) -> Result<ReadSet, PrepareError> {
    let (folder, name) = match (&chosen.file, chosen.task.source.file) {
        (None, Some(name)) => (Folder::open(data, storage)?, name.to_owned()),
        (file, _) => {
            let whole = Folder::open(file.as_deref().unwrap_or_default(), storage)?;
            whole.parent().unwrap_or((whole, String::new()))
        }
    };
    let url = folder.url_of(&name);
    let bytes = folder.size(&name)?;
    if bytes > DATA_BYTES_MAX {
        return Err(PrepareError::TestSets(format!("{url} has {bytes} bytes; expected at most {DATA_BYTES_MAX}")));
    }
    let content = folder.get(&name)?;
    let file = DataFile { name: &url, content: &content };
    let items = chosen.task.items(&file, &Selection::default());
    let items = items.map_err(|error| PrepareError::TestSets(error.to_string()))?;
    let task = match &chosen.file {
        None => chosen.task.name.to_owned(),
        Some(_) => format!("{}={}", chosen.task.name, beginning(&name, FILE_BYTES_MAX)),
    };
    let items = items.into_iter().map(|item| (item.text(), item.id)).map(|(text, id)| (id, text)).collect();
    Ok(ReadSet { task, url, items })
}

/// Returns what identifies sets: a hash of their names and of the ids and texts of all items.
pub fn sha256_of(sets: &[ReadSet]) -> Sha256Sum {
    let mut hasher = Sha256::new();
    let mut add = |text: &str| {
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text);
    };
    for set in sets {
        add(&set.task);
        add(&set.items.len().to_string());
        set.items.iter().for_each(|(id, text)| [id, text].into_iter().for_each(|text| add(text)));
    }
    Sha256Sum(hasher.finalize().into())
}

impl TestSets {
    /// Makes the table of the grams of all items.
    pub fn new(read: Vec<ReadSet>) -> Result<Self, PrepareError> {
        TestSets::bounded(read, GRAMS_MAX)
    }

    fn bounded(read: Vec<ReadSet>, grams_max: usize) -> Result<Self, PrepareError> {
        let sha256 = sha256_of(&read);
        let (mut sets, mut items, mut pairs) = (Vec::new(), Vec::<TestItem>::new(), Vec::<(u128, u32)>::new());
        for (number, set) in read.into_iter().enumerate() {
            let first = items.len();
            for (id, text) in set.items {
                let (item, before) = (items.len() as u32, pairs.len());
                grams(&text, SEED, |gram| pairs.push((gram.0, item)));
                items.push(TestItem { id, set: number, grams: before..pairs.len() });
                if pairs.len() > grams_max || items.len() > grams_max {
                    return Err(PrepareError::TestSets(too_many(&set.task, grams_max)));
                }
            }
            sets.push(TestSet { task: set.task, url: set.url, items: first..items.len() });
        }
        let all: Vec<u128> = pairs.iter().map(|(gram, _)| *gram).collect();
        let table = GramTable::new(pairs);
        let number = |gram| table.number(gram).unwrap_or_else(|| unreachable!("the table is of these grams"));
        let occurrences = all.into_iter().map(|gram| number(evaluation::overlap::Gram(gram))).collect();
        Ok(TestSets { sets, items, occurrences, table, sha256 })
    }

    /// Returns what identifies the sets.
    pub fn sha256(&self) -> Sha256Sum {
        self.sha256
    }

    /// Returns the number of different grams.
    pub fn distinct_grams(&self) -> usize {
        self.table.len()
    }

    /// Returns the name of the set of the item of this number, and its id there.
    pub fn name(&self, item: u32) -> (&str, &str) {
        let item = &self.items[item as usize];
        (&self.sets[item.set].task, &item.id)
    }

    /// Returns for each item of a set its id, and the numbers of its grams, as often as they occur.
    pub fn items(&self, set: &TestSet) -> impl Iterator<Item = (&str, &[u32])> {
        self.items[set.items.clone()].iter().map(|item| (item.id.as_str(), &self.occurrences[item.grams.clone()]))
    }
}

fn too_many(task: &str, grams_max: usize) -> String {
    format!(
        "with {task}, the evaluation sets have more than {grams_max} 8-grams or items; name fewer sets, or divide them over several jobs"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(task: &str, texts: &[&str]) -> ReadSet {
        let items = (1..).zip(texts).map(|(number, text): (usize, _)| (number.to_string(), (*text).to_owned()));
        ReadSet { task: task.to_owned(), url: String::new(), items: items.collect() }
    }

    #[test]
    fn sets_of_more_grams_or_items_than_fit_are_refused_by_the_key_and_the_set() {
        let read = || vec![set("one", &["a b c d e f g h i", "a b c d e f g h"]), set("other", &["k l m n o p q r"])];
        let sets = TestSets::bounded(read(), 4).unwrap();
        assert_eq!((sets.distinct_grams(), sets.name(1), sets.name(2)), (3, ("one", "2"), ("other", "1")));
        let grams: Vec<usize> = sets.items(&sets.sets[0]).map(|(_, grams)| grams.len()).collect();
        assert_eq!(grams, [2, 1]);
        let error = TestSets::bounded(read(), 3).unwrap_err().to_string();
        assert!(
            error.starts_with("webtext.overlap.tasks: with other, the evaluation sets have more than 3 8-grams"),
            "{error}"
        );
        assert!(TestSets::bounded(vec![set("short", &["a", "b", "c"])], 2).is_err());
    }

    #[test]
    fn sets_are_known_by_their_names_and_by_the_ids_and_texts_of_their_items() {
        let of = |sets: &[ReadSet]| sha256_of(sets);
        let first = of(&[set("one", &["a", "b"])]);
        assert_eq!(of(&[ReadSet { url: "elsewhere".into(), ..set("one", &["a", "b"]) }]), first);
        let others = [
            vec![set("two", &["a", "b"])],
            vec![set("one", &["a", "c"])],
            vec![set("one", &["ab"])],
            vec![set("one", &["a"]), set("one", &["b"])],
        ];
        assert!(others.iter().all(|sets| of(sets) != first));
    }
}

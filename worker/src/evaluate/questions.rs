//! What is asked of the model: rank 0 reads the tasks' data files, and every rank makes the same sequences of them.

use std::collections::HashMap;
use std::ops::Range;

use common::config::StorageConfig;
use common::sha256::hex_sha256;
use common::storage::{Folder, StorageError};
use common::tokenizer::Tokenizer;
use evaluation::tasks::{Chosen, Cut, Selection, Task};
use evaluation::{DataFile, Encode, Item, Key, Limits, Sequence, Sequences, encode_items};
use serde::{Deserialize, Serialize};

use super::EvaluateOptions;
use super::error::{EvaluateError, MissingFile};
use crate::collectives::Collectives;
use crate::error::JobError;

/// Items of a block, whose sequences are scored together as far as they fit into a pass. A limit leaves blocks whole. Another
/// number changes digits, so it takes another [`VERSION`](evaluation::part::VERSION) of saved scores.
pub const BLOCK_ITEMS: usize = 16;
/// Size of the largest data file, in bytes.
const DATA_BYTES_MAX: u64 = 1 << 30;

/// A task with its items, as every rank has them.
pub struct Questions {
    /// The task.
    pub task: &'static Task,
    /// URL of its data file.
    pub data_url: String,
    /// SHA-256 of the data file.
    pub data_sha256: String,
    /// Items, with their shots, up to the limit.
    pub items: Vec<Item>,
    /// Their sequences.
    pub sequences: Sequences,
    /// Sequences of the items behind the limit that share a block with the last item: they complete its pass.
    behind: Vec<Sequence>,
}

impl Questions {
    /// Returns all sequences, those behind the limit at the end.
    pub fn all(&self) -> Vec<&Sequence> {
        self.sequences.sequences.iter().chain(&self.behind).collect()
    }

    /// Returns the sequences at `places` among all.
    pub fn members(&self, places: &Range<usize>) -> Vec<&Sequence> {
        let asked = &self.sequences.sequences;
        places.clone().map(|at| asked.get(at).unwrap_or_else(|| &self.behind[at - asked.len()])).collect()
    }

    /// Returns the sequences at `places` among all whose items are asked for.
    pub fn asked(&self, places: &Range<usize>) -> impl Iterator<Item = &Sequence> {
        self.sequences.sequences.iter().take(places.end).skip(places.start)
    }

    /// Whether the item of `key` is asked for, and not behind the limit.
    pub fn asks(&self, key: Key) -> bool {
        (key.item as usize) < self.items.len()
    }
}

/// The data file of a task, as rank 0 announces it.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct FileHead {
    /// Number of the file: several tasks may have one.
    pub file: usize,
    pub url: String,
    pub sha256: String,
}

/// Reads the data of the `chosen` tasks and encodes them. All ranks must call this together; what is wrong with any task is
/// found before anything is computed.
pub fn read(
    chosen: &[Chosen],
    options: &EvaluateOptions,
    (tokenizer, limits): (&Tokenizer, &Limits),
    storage: &StorageConfig,
    ranks: &dyn Collectives,
) -> Result<Vec<Questions>, JobError> {
    let mut contents: Vec<Vec<u8>> = Vec::new();
    let heads = ranks.share("the data files of the tasks", || {
        let (heads, read) = read_files(chosen, options.data.as_deref(), storage)?;
        contents = read;
        Ok::<_, JobError>(heads)
    })?;
    let mut questions = Vec::with_capacity(chosen.len());
    let mut received: HashMap<usize, Vec<u8>> = HashMap::new();
    for (index, (chosen, head)) in chosen.iter().zip(&heads).enumerate() {
        let content = match received.remove(&head.file) {
            Some(content) => content,
            None => ranks.broadcast_bytes(&contents.get_mut(head.file).map(std::mem::take).unwrap_or_default())?,
        };
        let FileHead { file, url, sha256 } = head.clone();
        let asker = Asker { task: chosen.task, options, tokenizer: Gpt2Encoder(tokenizer), limits };
        let asked = asker.ask(&DataFile { name: &url, content: &content })?;
        if heads[index + 1..].iter().any(|later| later.file == file) {
            received.insert(file, content);
        }
        let Asked { items, sequences, behind } = asked;
        let questions_of_task =
            Questions { task: chosen.task, data_url: url, data_sha256: sha256, items, sequences, behind };
        ranks.agree_same(fingerprint(&questions_of_task.all()), "the sequences to score")?;
        questions.push(questions_of_task);
    }
    Ok(questions)
}

/// Reads the data files of the tasks, each once. Files that are missing are all reported at once.
pub(super) fn read_files(
    chosen: &[Chosen],
    data: Option<&str>,
    storage: &StorageConfig,
) -> Result<(Vec<FileHead>, Vec<Vec<u8>>), JobError> {
    let (mut heads, mut contents, mut missing) = (Vec::<FileHead>::new(), Vec::new(), Vec::<MissingFile>::new());
    for Chosen { task, file } in chosen {
        let (folder, name) = place(task, file.as_deref(), data, storage)?;
        let url = folder.url_of(&name);
        if let Some(known) = heads.iter().find(|head| head.url == url).cloned() {
            heads.push(known);
            continue;
        }
        match folder.size(&name) {
            Ok(bytes) if bytes > DATA_BYTES_MAX => {
                return Err(EvaluateError::LargeData { url, bytes, bytes_max: DATA_BYTES_MAX }.into());
            }
            Ok(_) => {
                let content = folder.get(&name)?.to_vec();
                heads.push(FileHead { file: contents.len(), url, sha256: hex_sha256(&content) });
                contents.push(content);
            }
            Err(StorageError::NotFound { .. }) => {
                let from = task.source.file.map(|_| task.source.from);
                if !missing.iter().any(|known| known.url == url) {
                    missing.push(MissingFile { task: task.name, url, from });
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    if missing.is_empty() { Ok((heads, contents)) } else { Err(EvaluateError::MissingData(missing).into()) }
}

/// Returns the folder and the name of a task's data file.
fn place(
    task: &'static Task,
    file: Option<&str>,
    data: Option<&str>,
    storage: &StorageConfig,
) -> Result<(Folder, String), JobError> {
    let source = task.source;
    match (file, source.file, data) {
        (Some(file), _, _) => {
            let whole = Folder::open(file, storage)?;
            Ok(whole.parent().unwrap_or((whole, String::new())))
        }
        (None, Some(name), Some(data)) => Ok((Folder::open(data, storage)?, name.to_owned())),
        (None, name, _) => {
            Err(EvaluateError::NoDataFolder { file: name.unwrap_or("its file"), from: source.from }.into())
        }
    }
}

/// How items and sequences are made of the data file of a task.
struct Asker<'a> {
    task: &'static Task,
    options: &'a EvaluateOptions,
    tokenizer: Gpt2Encoder<'a>,
    limits: &'a Limits,
}

/// What is made of a data file.
struct Asked {
    items: Vec<Item>,
    sequences: Sequences,
    behind: Vec<Sequence>,
}

impl Asker<'_> {
    fn ask(&self, file: &DataFile<'_>) -> Result<Asked, EvaluateError> {
        let (mut items, asked) = self.items(file)?;
        let behind = self.behind(&items, asked);
        items.truncate(asked);
        Ok(Asked { sequences: self.encode(&items)?, items, behind })
    }

    /// Returns the items up to the end of the limit's block, and how many of them are asked for.
    fn items(&self, file: &DataFile<'_>) -> Result<(Vec<Item>, usize), EvaluateError> {
        let selection = self.options.selection();
        if self.task.cut == Some(Cut::Whole) {
            // One item, of which a limit takes the first lines.
            let items = self.task.items(file, &selection)?;
            let asked = items.len();
            return Ok((items, asked));
        }
        let to_block = |limit: usize| limit.checked_next_multiple_of(BLOCK_ITEMS).unwrap_or(limit);
        let items = self.task.items(file, &Selection { limit: selection.limit.map(to_block), ..selection })?;
        let asked = items.len().min(selection.limit.unwrap_or(usize::MAX));
        Ok((items, asked))
    }

    fn encode(&self, items: &[Item]) -> Result<Sequences, EvaluateError> {
        encode_items(items, &self.tokenizer, self.limits)
            .map_err(|error| EvaluateError::Encode { task: self.task.name, error })
    }

    /// Returns the sequences of `items` behind the first `asked`. An item that cannot be scored has none, which is no matter as
    /// long as nobody asks for it: whoever asks for it gets no scores at all.
    fn behind(&self, items: &[Item], asked: usize) -> Vec<Sequence> {
        let mut behind = Vec::new();
        for index in asked..items.len() {
            let mut encoded = self.encode(&items[index..=index]).map(|encoded| encoded.sequences).unwrap_or_default();
            encoded.iter_mut().for_each(|sequence| sequence.key.item = index as u32);
            behind.append(&mut encoded);
        }
        behind
    }
}

/// Returns a number that differs between different sequences.
fn fingerprint(sequences: &[&Sequence]) -> u64 {
    let mut bytes = Vec::new();
    for sequence in sequences {
        bytes.extend_from_slice(&(sequence.first_scored as u64).to_le_bytes());
        bytes.extend(sequence.ids.iter().flat_map(|id| id.to_le_bytes()));
    }
    u64::from_str_radix(&hex_sha256(&bytes)[..16], 16).unwrap_or_else(|e| unreachable!("a hash is hexadecimal: {e}"))
}

/// Convoy's tokenizer, which never takes text of a task for a special token.
struct Gpt2Encoder<'a>(&'a Tokenizer);

impl Encode for Gpt2Encoder<'_> {
    fn encode(&self, text: &str) -> Vec<u16> {
        self.0.encode(text)
    }

    fn end_of_text(&self) -> u16 {
        self.0.end_of_text()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use common::exit_code::ExitCode;
    use evaluation::OnLong;
    use evaluation::tasks::choose;

    use super::*;
    use crate::collectives::single::Single;
    use crate::evaluate::units::{units_of, unscored};

    fn read_in(
        folder: &std::path::Path,
        tasks: &str,
        change: fn(&mut EvaluateOptions),
    ) -> Result<Vec<Questions>, JobError> {
        let tokenizer = Tokenizer::gpt2().unwrap();
        let mut options = EvaluateOptions { data: Some(folder.display().to_string()), ..EvaluateOptions::of(tasks) };
        change(&mut options);
        let limits = Limits::of_model(64, OnLong::Refuse);
        read(&choose(tasks).unwrap(), &options, (&tokenizer, &limits), &StorageConfig::default(), &Single::default())
    }

    fn refused(result: Result<Vec<Questions>, JobError>) -> (ExitCode, String) {
        let Err(error) = result else { panic!("not refused") };
        (error.exit_code(), error.to_string())
    }

    #[test]
    fn data_that_are_not_there_are_named_with_their_source_all_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let (code, message) = refused(read_in(dir.path(), "ptb,lambada_harness,lambada_openai_last_word", |_| {}));
        assert_eq!(code, ExitCode::Data);
        assert_eq!(message.lines().count(), 2, "{message}");
        assert!(message.contains("ptb.test.txt") && message.contains("RNNLM"), "{message}");
        assert!(message.contains("lambada_test.jsonl, which does not exist; put it there from https://"), "{message}");
        let (code, message) = refused(read_in(dir.path(), "ptb", |options| options.data = None));
        assert_eq!(code, ExitCode::Config);
        assert!(message.starts_with("--data is missing: the folder with ptb.test.txt"), "{message}");
    }

    #[test]
    fn a_malformed_file_is_named_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("lambada_test.jsonl"), "{\"text\": \"a b c\"}\nnonsense\n").unwrap();
        let (code, message) = refused(read_in(dir.path(), "lambada_harness", |_| {}));
        assert_eq!(code, ExitCode::Data);
        assert!(message.contains("lambada_test.jsonl:2: expected"), "{message}");
    }

    #[test]
    fn items_are_limited_and_a_file_of_the_users_is_read_where_it_lies() {
        let dir = tempfile::tempdir().unwrap();
        let lines: String = (0..9).map(|n| format!("{{\"text\": \"a cat and {n} dogs\"}}\n")).collect();
        let path = dir.path().join("my own.jsonl");
        std::fs::write(&path, &lines).unwrap();
        let tasks = format!("documents={}", path.display());
        let questions = read_in(dir.path(), &tasks, |options| options.limit = Some(4)).unwrap();
        assert_eq!((questions[0].items.len(), questions[0].sequences.sequences.len()), (4, 4));
        assert_eq!(questions[0].data_sha256, hex_sha256(lines.as_bytes()));
        let (code, message) = refused(read_in(dir.path(), &tasks, |options| options.shots = 1));
        assert_eq!(code, ExitCode::Config);
        assert!(message.contains("documents has no form with examples in front"), "{message}");
    }

    fn documents(folder: &std::path::Path, content: &str, limit: usize) -> Result<Vec<Questions>, JobError> {
        let path = folder.join("documents.jsonl");
        std::fs::write(&path, content).unwrap();
        let tasks = format!("documents={}", path.display());
        let tokenizer = Tokenizer::gpt2().unwrap();
        let options = EvaluateOptions { limit: Some(limit), ..EvaluateOptions::of(&tasks) };
        let limits = Limits::of_model(64, OnLong::Refuse);
        read(&choose(&tasks).unwrap(), &options, (&tokenizer, &limits), &StorageConfig::default(), &Single::default())
    }

    #[test]
    fn the_items_behind_a_limit_complete_its_pass_and_are_not_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let lines: String = (0..40).map(|n| format!("{{\"text\": \"a cat and {n} dogs\"}}\n")).collect();
        let limited = documents(dir.path(), &lines, 20).unwrap();
        let whole = documents(dir.path(), &lines, 40).unwrap();
        let lengths = |questions: &[Questions]| (questions[0].items.len(), questions[0].all().len());
        assert_eq!((lengths(&limited), lengths(&whole)), ((20, 32), (40, 40)));
        assert_eq!(limited[0].all(), whole[0].all()[..32]);
        let (limited_units, units) = (units_of(&limited), units_of(&whole));
        assert_eq!(limited_units, units[..limited_units.len()]);
        let last = &limited_units[1].sequences;
        assert_eq!((limited[0].members(last).len(), limited[0].asked(last).count()), (16, 4));
        let asked: HashSet<Key> = limited[0].all().iter().map(|s| s.key).filter(|key| limited[0].asks(*key)).collect();
        assert_eq!(asked.len(), 20);
        assert!(unscored(&limited_units, &limited, std::slice::from_ref(&asked)).is_empty());
        assert_eq!(unscored(&units, &whole, &[asked]), [1, 2], "of the second block four have a score");
        assert_eq!(unscored(&limited_units, &limited, &[HashSet::new()]), [0, 1]);
    }

    #[test]
    fn an_item_behind_the_limit_that_is_too_long_changes_no_pass() {
        let dir = tempfile::tempdir().unwrap();
        let line = |animals: &str| format!("{{\"text\": \"a cat and{animals} dogs\"}}\n");
        let lines = [line(" two"), line(" three"), line(&" more".repeat(80)), line(" four")].concat();
        std::fs::write(dir.path().join("lambada_test.jsonl"), lines).unwrap();
        let limited = |limit| read_in(dir.path(), "lambada_harness", limit);
        let one = limited(|options| options.limit = Some(1)).unwrap();
        let two = limited(|options| options.limit = Some(2)).unwrap();
        let items = |questions: &[Questions]| questions[0].all().iter().map(|s| s.key.item).collect::<Vec<_>>();
        assert_eq!((one[0].items.len(), items(&one)), (1, vec![0, 1, 3]));
        assert_eq!((one[0].all(), units_of(&one)), (two[0].all(), units_of(&two)));
        assert!(limited(|options| options.limit = Some(3)).is_err());
    }
}

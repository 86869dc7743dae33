//! Vocabularies from and to the files of Hugging Face's libraries, which write bytes as printable characters: `Ġ` is a space.
//!
//! Read: `tokenizer.json`, or `vocab.json` with `merges.txt`, or OpenAI's `encoder.json` with `vocab.bpe`. Written: the
//! first three, and a `tokenizer_config.json`, by which `transformers` opens the folder.

use bytes::Bytes;
use rustc_hash::FxHashMap;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::vocabulary::{Merge, Vocabulary};
use super::{END_OF_TEXT, MOST_TOKENS, TokenizerError, unusable};
use crate::config::StorageConfig;
use crate::storage::{Folder, StorageError, without_secrets};

/// All of a tokenizer in one file.
pub const TOKENIZER_NAME: &str = "tokenizer.json";
/// The ids and the merges in two files: of Hugging Face, and of OpenAI.
const PAIRS_OF_NAMES: [[&str; 2]; 2] = [["vocab.json", "merges.txt"], ["encoder.json", "vocab.bpe"]];
/// What `transformers` reads first.
const CONFIG_NAME: &str = "tokenizer_config.json";

/// Reads the vocabulary at `source`: the path or URL of a `tokenizer.json` (any name in `.json`), or of a folder.
pub fn read(source: &str, storage: &StorageConfig) -> Result<Vocabulary, TokenizerError> {
    let shown = without_secrets(source);
    let refuse = |reason: String| unusable(&shown, reason);
    let failed = |reason| TokenizerError::Storage { source_name: shown.to_string(), reason };
    let folder = Folder::open(source, storage).map_err(failed)?;
    if folder.url().ends_with(".json")
        && let Some((folder, file)) = folder.parent()
    {
        return from_tokenizer_json(&folder.get(&file).map_err(failed)?).map_err(refuse);
    }
    if let Some(content) = folder.get_if_exists(TOKENIZER_NAME).map_err(failed)? {
        return from_tokenizer_json(&content).map_err(refuse);
    }
    for [ids, merges] in PAIRS_OF_NAMES {
        if let Some(ids) = folder.get_if_exists(ids).map_err(failed)? {
            let merges = folder.get(merges).map_err(failed)?;
            return from_two_files(&ids, &merges).map_err(refuse);
        }
    }
    Err(refuse(format!("{} has no {TOKENIZER_NAME} and no vocab.json", folder.url())))
}

/// Writes `vocabulary` into `folder`, as the head of this module says.
pub fn write(folder: &Folder, vocabulary: &Vocabulary) -> Result<(), StorageError> {
    let texts: Vec<String> = (0..).zip(&vocabulary.tokens).map(|(id, token)| vocabulary.shown(id, token)).collect();
    let ids: Map<String, Value> = texts.iter().cloned().zip((0..).map(|id: u32| id.into())).collect();
    let merges: Vec<[&str; 2]> = vocabulary
        .merges
        .iter()
        .map(|merge| [merge.left, merge.right].map(|id| texts[usize::from(id)].as_str()))
        .collect();
    let lines: String = merges.iter().map(|[left, right]| format!("{left} {right}\n")).collect();
    let json = |value: &Value| Bytes::from(format!("{value:#}\n"));
    folder.put("vocab.json", json(&Value::Object(ids.clone())))?;
    folder.put("merges.txt", Bytes::from(format!("#version: 0.2\n{lines}")))?;
    folder.put(CONFIG_NAME, json(&config()))?;
    folder.put(TOKENIZER_NAME, json(&tokenizer_json(vocabulary, &texts, ids, &merges)))
}

fn config() -> Value {
    json!({
        "tokenizer_class": "GPT2Tokenizer",
        "add_prefix_space": false,
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "unk_token": END_OF_TEXT,
    })
}

fn tokenizer_json(vocabulary: &Vocabulary, texts: &[String], ids: Map<String, Value>, merges: &[[&str; 2]]) -> Value {
    let byte_level = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
    let special = vocabulary.special.iter().map(|id| {
        json!({
            "id": id, "content": texts[usize::from(*id)], "special": true,
            "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        })
    });
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": special.collect::<Vec<_>>(),
        "normalizer": null,
        "pre_tokenizer": byte_level,
        "post_processor": byte_level,
        "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": ids, "merges": merges,
        },
    })
}

/// What is read of a `tokenizer.json`.
#[derive(Deserialize)]
struct TokenizerFile {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    model: Model,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
}

#[derive(Deserialize)]
struct Model {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    vocab: FxHashMap<String, u32>,
    merges: Vec<MergeLine>,
}

/// A merge: two strings in newer files, one with a space between in older ones.
#[derive(Deserialize)]
#[serde(untagged)]
enum MergeLine {
    Pair([String; 2]),
    Line(String),
}

fn from_tokenizer_json(content: &[u8]) -> Result<Vocabulary, String> {
    let file: TokenizerFile = serde_json::from_slice(content).map_err(|e| format!("not a {TOKENIZER_NAME}: {e}"))?;
    if let Some(kind) = file.model.kind.as_deref().filter(|kind| *kind != "BPE") {
        return Err(format!("its model is {kind}, not BPE"));
    }
    if !file.normalizer.is_null() {
        return Err(format!("it normalizes text ({}), which Convoy does not", file.normalizer["type"]));
    }
    let splitter = &file.pre_tokenizer;
    let splits_as_gpt2 = splitter["type"] == "ByteLevel"
        && splitter["add_prefix_space"] != true
        && *splitter.get("use_regex").unwrap_or(&Value::Bool(true)) == true;
    if !splits_as_gpt2 {
        return Err(format!("its pre_tokenizer is {splitter}, not ByteLevel with GPT-2's regex and no prefix space"));
    }
    let merges = file.model.merges.iter().map(|line| match line {
        MergeLine::Pair([left, right]) => Ok((left.as_str(), right.as_str())),
        MergeLine::Line(line) => split_line(line),
    });
    let merges = merges.collect::<Result<Vec<_>, _>>()?;
    let special = file.added_tokens.into_iter().map(|token| (token.content, token.id));
    assemble(file.model.vocab, &merges, special.collect())
}

/// Special tokens are here those longer than a byte that no merge makes.
fn from_two_files(ids: &[u8], merges: &[u8]) -> Result<Vocabulary, String> {
    let ids: FxHashMap<String, u32> =
        serde_json::from_slice(ids).map_err(|e| format!("its vocabulary is not JSON: {e}"))?;
    let merges = std::str::from_utf8(merges).map_err(|e| format!("its merges are not UTF-8: {e}"))?;
    let is_merge = |i: usize, line: &str| !line.is_empty() && (i > 0 || !line.starts_with("#version"));
    let lines = merges.lines().enumerate().filter(|(i, line)| is_merge(*i, line));
    let merges = lines.map(|(_, line)| split_line(line)).collect::<Result<Vec<_>, _>>()?;
    let made: rustc_hash::FxHashSet<String> = merges.iter().map(|(left, right)| format!("{left}{right}")).collect();
    let special = ids.iter().filter(|(token, _)| token.chars().nth(1).is_some() && !made.contains(*token));
    let special = special.map(|(token, id)| (token.clone(), *id)).collect();
    assemble(ids, &merges, special)
}

fn split_line(line: &str) -> Result<(&str, &str), String> {
    line.split_once(' ').ok_or_else(|| format!("its merge {line:?} is not two tokens with a space between"))
}

/// Makes a vocabulary of tokens and merges in printable characters, and of the special tokens in plain text.
fn assemble(
    ids: FxHashMap<String, u32>,
    merges: &[(&str, &str)],
    special: Vec<(String, u32)>,
) -> Result<Vocabulary, String> {
    let bytes_of = byte_of_char();
    let special_ids: rustc_hash::FxHashSet<u32> = special.iter().map(|(_, id)| *id).collect();
    let ordinary = ids.iter().filter(|(_, id)| !special_ids.contains(id));
    let count = ordinary.clone().count() + special_ids.len();
    if count > MOST_TOKENS {
        return Err(format!("{count} tokens, and ids of 16 bits allow {MOST_TOKENS}"));
    }
    let mut tokens: Vec<Option<Vec<u8>>> = vec![None; count];
    let mut place = |id: u32, token: Vec<u8>| match tokens.get_mut(id as usize) {
        Some(free @ None) => {
            *free = Some(token);
            Ok(())
        }
        Some(Some(_)) => Err(format!("two tokens have the id {id}")),
        None => Err(format!("a token has the id {id}, but there are only {count} tokens; ids must have no gaps")),
    };
    for (token, id) in ordinary {
        let bytes = token.chars().map(|c| bytes_of.get(&c).copied()).collect::<Option<Vec<u8>>>();
        place(*id, bytes.ok_or_else(|| format!("the token {token:?} is not in the characters of byte-level BPE"))?)?;
    }
    let mut of_special: Vec<u16> = Vec::new();
    for (token, id) in special {
        place(id, token.into_bytes())?;
        of_special.push(id as u16);
    }
    of_special.sort_unstable();
    let id = |token: &str| match ids.get(token) {
        Some(id) => u16::try_from(*id).map_err(|_| format!("the id {id} does not fit 16 bits")),
        None => Err(format!("its merges name {token:?}, which is no token")),
    };
    let merge = |(left, right): &(&str, &str)| {
        Ok(Merge { left: id(left)?, right: id(right)?, union: id(&format!("{left}{right}"))? })
    };
    let merges = merges.iter().map(merge).collect::<Result<_, String>>()?;
    // Every place is taken: there are as many tokens as places, and none was taken twice.
    Ok(Vocabulary { tokens: tokens.into_iter().flatten().collect(), merges, special: of_special })
}

impl Vocabulary {
    /// A token as files show it: special ones as they are, others with a printable character for each byte.
    fn shown(&self, id: u16, token: &[u8]) -> String {
        if self.special.contains(&id) {
            return String::from_utf8_lossy(token).into_owned();
        }
        let chars = char_of_byte();
        token.iter().map(|byte| chars[usize::from(*byte)]).collect()
    }
}

/// The character that stands for each byte, as OpenAI chose them for GPT-2: itself where it is printable and no space, and
/// otherwise the next character from U+0100 on.
pub(super) fn char_of_byte() -> [char; 256] {
    let mut next = 0x100_u32;
    let mut chars = ['\0'; 256];
    for (byte, character) in (0..=u8::MAX).zip(&mut chars) {
        *character = match byte {
            b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => char::from(byte),
            _ => {
                next += 1;
                char::from_u32(next - 1).unwrap_or('\0')
            }
        };
    }
    chars
}

fn byte_of_char() -> FxHashMap<char, u8> {
    char_of_byte().into_iter().zip(0..=u8::MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Tokenizer;
    use super::*;

    fn folder(name: &str) -> Folder {
        Folder::open(&format!("memory://tokenizer-files-{name}"), &StorageConfig::default()).unwrap()
    }

    fn open(url: &str) -> Result<Tokenizer, TokenizerError> {
        Tokenizer::open(url, &StorageConfig::default())
    }

    #[test]
    fn what_is_written_is_read_from_every_form() {
        let gpt2 = Tokenizer::gpt2().unwrap();
        let folder = folder("forms");
        write(&folder, gpt2.vocabulary()).unwrap();
        for url in [folder.url(), &folder.url_of(TOKENIZER_NAME)] {
            let read = open(url).unwrap();
            assert_eq!(read.vocabulary(), gpt2.vocabulary());
            assert_eq!(read.hash(), gpt2.hash());
        }
        for [ids, merges] in PAIRS_OF_NAMES {
            let two = folder.folder(merges);
            two.put(ids, folder.get("vocab.json").unwrap()).unwrap();
            two.put(merges, folder.get("merges.txt").unwrap()).unwrap();
            assert_eq!(open(two.url()).unwrap().vocabulary(), gpt2.vocabulary());
        }
    }

    #[test]
    fn other_tokenizers_are_refused_with_the_reason() {
        let folder = folder("refused");
        let check = |name: &str, change: &dyn Fn(&mut Value), expected: &str| {
            let tokenizer =
                Vocabulary { tokens: (0..=255).map(|b| vec![b]).collect(), merges: vec![], special: vec![] };
            let sub = folder.folder(name);
            write(&sub, &tokenizer).unwrap();
            let mut value: Value = serde_json::from_slice(&sub.get(TOKENIZER_NAME).unwrap()).unwrap();
            change(&mut value);
            sub.put(TOKENIZER_NAME, Bytes::from(value.to_string())).unwrap();
            let error = open(sub.url()).err().unwrap().to_string();
            assert!(error.contains(expected) && error.contains(sub.url()), "{expected:?} in {error}");
        };
        check("kind", &|file| file["model"]["type"] = "WordPiece".into(), "its model is WordPiece, not BPE");
        check("normalizer", &|file| file["normalizer"] = json!({ "type": "NFC" }), "it normalizes text (\"NFC\")");
        check("split", &|file| file["pre_tokenizer"] = json!({ "type": "Whitespace" }), "its pre_tokenizer is");
        check("prefix", &|file| file["pre_tokenizer"]["add_prefix_space"] = true.into(), "no prefix space");
        check("merge", &|file| file["model"]["merges"] = json!(["a"]), "its merge \"a\" is not two tokens");
        check("unknown", &|file| file["model"]["merges"] = json!([["a", "漢"]]), "\"漢\", which is no token");
        check("union", &|file| file["model"]["merges"] = json!([["a", "b"]]), "\"ab\", which is no token");
        check("gap", &|file| file["model"]["vocab"]["a"] = 300.into(), "ids must have no gaps");
        check("twice", &|file| file["model"]["vocab"]["a"] = 3.into(), "two tokens have the id 3");
        check("end", &|_| (), "it has no special token <|endoftext|>");
        let added = |id: u32, content: &str| json!([{ "id": id, "content": content }]);
        check("empty", &|file| file["added_tokens"] = added(256, ""), "the token 256 is empty");
        let made_by_a_merge = |file: &mut Value| {
            file["model"]["vocab"]["ab"] = 256.into();
            file["model"]["merges"] = json!([["a", "b"]]);
            file["added_tokens"] = added(256, "ab");
        };
        check("special", &made_by_a_merge, "merge 0 makes the special token 256");
        check("beyond", &|file| file["added_tokens"] = added(u32::MAX, "x"), "a token has the id 4294967295");
        let missing = open(folder.folder("missing").url()).err().unwrap().to_string();
        assert!(missing.contains("no tokenizer.json and no vocab.json"), "{missing}");
        let missing = open(&folder.url_of("missing/tokenizer.json")).err().unwrap().to_string();
        assert!(missing.contains("does not exist"), "{missing}");
    }
}

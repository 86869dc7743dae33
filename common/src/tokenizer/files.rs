//! Vocabularies in the files of Hugging Face's libraries, which write bytes as printable characters: `Ġ` is a space.
//!
//! Reads `tokenizer.json`, or `vocab.json` with `merges.txt`, or OpenAI's `encoder.json` with `vocab.bpe`. Writes the first
//! three, and a `tokenizer_config.json`, by which `transformers` opens the folder: [`write()`] into a folder of their own,
//! [`for_model`] for a folder with a model.

use bytes::Bytes;
use rustc_hash::FxHashMap;
use serde_json::{Map, Value, json};

use super::error::{TokenizerError, unusable};
use super::printable::{assemble, char_of_byte, split_line};
use super::tokenizer_json;
use super::vocabulary::{AddedToken, END_OF_TEXT, Vocabulary};
use crate::config::StorageConfig;
use crate::secrets::without_secrets;
use crate::storage::{Folder, StorageError};

/// Name of the file that holds a whole tokenizer.
pub const TOKENIZER_NAME: &str = "tokenizer.json";
/// Names of two files that hold the ids and the merges: Hugging Face's, and OpenAI's.
const PAIRS_OF_NAMES: [[&str; 2]; 2] = [["vocab.json", "merges.txt"], ["encoder.json", "vocab.bpe"]];
/// Name of the file that `transformers` reads first.
const CONFIG_NAME: &str = "tokenizer_config.json";
/// Names of the files that [`write()`] writes, in that order: a folder with a `tokenizer.json` is complete.
pub const WRITTEN_NAMES: [&str; 4] = ["vocab.json", "merges.txt", CONFIG_NAME, TOKENIZER_NAME];
/// Name of the file of tokens beside those of two files, as `transformers` has written them.
const ADDED_NAME: &str = "added_tokens.json";

/// Reads the vocabulary at `source`: the path or URL of a `tokenizer.json` (any name in `.json`), or of a folder.
pub fn read(source: &str, storage: &StorageConfig) -> Result<Vocabulary, TokenizerError> {
    let shown = without_secrets(source);
    let refuse = |reason: String| unusable(&shown, reason);
    let failed = |reason| TokenizerError::Storage { source_name: shown.to_string(), reason };
    let folder = Folder::open(source, storage).map_err(failed)?;
    if folder.url().ends_with(".json")
        && let Some((folder, file)) = folder.parent()
    {
        return tokenizer_json::parse(&folder.get(&file).map_err(failed)?).map_err(refuse);
    }
    if let Some(content) = folder.get_if_exists(TOKENIZER_NAME).map_err(failed)? {
        return tokenizer_json::parse(&content).map_err(refuse);
    }
    for [ids, merges] in PAIRS_OF_NAMES {
        if let Some(ids) = folder.get_if_exists(ids).map_err(failed)? {
            let merges = folder.get(merges).map_err(failed)?;
            let beside = [ADDED_NAME, CONFIG_NAME].map(|name| folder.get_if_exists(name));
            let [added, config] = beside.map(|content| content.map_err(failed));
            return from_two_files(&ids, &merges, added?, config?).map_err(refuse);
        }
    }
    Err(refuse(format!("{} has no {TOKENIZER_NAME} and no vocab.json", folder.url())))
}

/// Writes `vocabulary` into `folder`, as the files that this module's documentation lists.
pub fn write(folder: &Folder, vocabulary: &Vocabulary) -> Result<(), StorageError> {
    let indented = |value: &Value| Bytes::from(format!("{value:#}\n"));
    let files = contents(vocabulary, &config(), indented);
    files.into_iter().try_for_each(|(name, content)| folder.put(name, content))
}

/// Returns the names and contents of the files that [`write()`] writes, for a model that reads at most `context_tokens` tokens.
/// They have no indentation, since each checkpoint of a run has a copy.
pub fn for_model(vocabulary: &Vocabulary, context_tokens: u64) -> Vec<(&'static str, Bytes)> {
    let mut config = config();
    config["model_max_length"] = context_tokens.into();
    contents(vocabulary, &config, |value| Bytes::from(value.to_string()))
}

/// Returns the files of [`WRITTEN_NAMES`], formatted by `json`.
fn contents(vocabulary: &Vocabulary, config: &Value, json: impl Fn(&Value) -> Bytes) -> Vec<(&'static str, Bytes)> {
    let chars = char_of_byte();
    let tokens = (0..=u16::MAX).zip(&vocabulary.tokens);
    let texts: Vec<String> = tokens.map(|(id, token)| vocabulary.shown(id, token, &chars)).collect();
    let ids: Map<String, Value> = texts.iter().cloned().zip((0_u32..).map(Value::from)).collect();
    let merges: Vec<[&str; 2]> = vocabulary
        .merges
        .iter()
        .map(|merge| [merge.left, merge.right].map(|id| texts[usize::from(id)].as_str()))
        .collect();
    let lines: String = merges.iter().map(|[left, right]| format!("{left} {right}\n")).collect();
    let contents = [
        json(&Value::Object(ids.clone())),
        Bytes::from(format!("#version: 0.2\n{lines}")),
        json(config),
        json(&tokenizer_json::write(vocabulary, &texts, ids, &merges)),
    ];
    WRITTEN_NAMES.into_iter().zip(contents).collect()
}

/// Returns the content of `tokenizer_config.json`. Older versions of `transformers` remove spaces from decoded text by default.
fn config() -> Value {
    json!({
        "tokenizer_class": "GPT2Tokenizer",
        "add_prefix_space": false,
        "clean_up_tokenization_spaces": false,
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "unk_token": END_OF_TEXT,
    })
}

/// Builds a vocabulary from two files. Special tokens are those longer than a byte that no merge makes.
fn from_two_files(
    ids: &[u8],
    merges: &[u8],
    added: Option<Bytes>,
    config: Option<Bytes>,
) -> Result<Vocabulary, String> {
    let ids: FxHashMap<String, u32> =
        serde_json::from_slice(ids).map_err(|e| format!("its vocabulary is not JSON: {e}"))?;
    let merges = std::str::from_utf8(merges).map_err(|e| format!("its merges are not UTF-8: {e}"))?;
    let is_merge = |i: usize, line: &str| !line.is_empty() && (i > 0 || !line.starts_with("#version"));
    let lines = merges.lines().enumerate().filter(|(i, line)| is_merge(*i, line));
    let merges = lines.map(|(_, line)| split_line(line)).collect::<Result<Vec<_>, _>>()?;
    check_beside(&ids, added.as_deref(), config.as_deref())?;
    let made: rustc_hash::FxHashSet<String> = merges.iter().map(|(left, right)| format!("{left}{right}")).collect();
    let special = ids.iter().filter(|(token, _)| token.chars().nth(1).is_some() && !made.contains(*token));
    let special = special.map(|(token, id)| match u16::try_from(*id) {
        Ok(id) => Ok((token.clone(), AddedToken::special(id))),
        Err(_) => Err(format!("the token {token:?} has the id {id}, beyond 16 bits")),
    });
    let special = special.collect::<Result<_, _>>()?;
    assemble(ids, &merges, special)
}

/// Refuses files beside the two that add something the two do not say: tokens that are not special, and a space before each text.
fn check_beside(ids: &FxHashMap<String, u32>, added: Option<&[u8]>, config: Option<&[u8]>) -> Result<(), String> {
    let read = |name: &str, content: Option<&[u8]>| match content.map(serde_json::from_slice::<Value>) {
        None => Ok(Value::Null),
        Some(read) => read.map_err(|e| format!("its {name} is not JSON: {e}")),
    };
    let (added, config) = (read(ADDED_NAME, added)?, read(CONFIG_NAME, config)?);
    if config["add_prefix_space"] == true {
        return Err(format!(
            "it puts a space before each text (add_prefix_space in {CONFIG_NAME}), which Convoy does not"
        ));
    }
    let others = added.as_object().into_iter().flatten().filter(|(token, id)| ids.get(*token).is_none_or(|i| *id != i));
    let others = others.map(|(token, _)| (ADDED_NAME, token.as_str()));
    let decoder = config["added_tokens_decoder"].as_object().into_iter().flat_map(|tokens| tokens.values());
    let decoder =
        decoder.filter(|token| token["special"] != true || token["lstrip"] == true || token["rstrip"] == true);
    let decoder = decoder.map(|token| (CONFIG_NAME, token["content"].as_str().unwrap_or_default()));
    match others.chain(decoder).next() {
        None => Ok(()),
        Some((name, token)) => Err(format!(
            "its {name} adds the token {token:?}, which Convoy reads from a {TOKENIZER_NAME} alone; save one with \
             AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) of `transformers`"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::bpe::Tokenizer;
    use super::super::pieces;
    use super::super::train::{WordCounts, train};
    use super::*;

    const TEXTS: [&str; 4] = [
        "Hello world",
        "the cats' sat, don't they?\n\n   x1234  ",
        "naïve 漢字 🦀 x\u{301}\t",
        "<|endoftext|> is text here",
    ];

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

    /// Merges that pair by pair, the one with the lowest rank first, as the makers of these files describe it.
    fn encode_by_files(ids: &Map<String, Value>, ranks: &FxHashMap<(&str, &str), usize>, text: &str) -> Vec<u64> {
        let chars = char_of_byte();
        let mut found = Vec::new();
        for piece in pieces(text) {
            let mut parts: Vec<String> = piece.bytes().map(|byte| chars[usize::from(byte)].to_string()).collect();
            loop {
                let pairs = parts.windows(2).enumerate();
                let rank = |(at, pair): (usize, &[String])| {
                    ranks.get(&(pair[0].as_str(), pair[1].as_str())).map(|rank| (*rank, at))
                };
                let Some((_, at)) = pairs.filter_map(rank).min() else { break };
                let right = parts.remove(at + 1);
                parts[at].push_str(&right);
            }
            found.extend(parts.iter().map(|part| ids[part.as_str()].as_u64().unwrap()));
        }
        found
    }

    /// Returns the content of the file `name` for a model.
    fn of_name(files: &[(&'static str, Bytes)], name: &str) -> String {
        let (_, content) = files.iter().find(|(found, _)| *found == name).unwrap();
        String::from_utf8(content.to_vec()).unwrap()
    }

    #[test]
    fn the_files_of_gpt2_for_a_model_alone_give_its_ids() {
        let gpt2 = Tokenizer::gpt2().unwrap();
        let files = for_model(gpt2.vocabulary(), 1024);
        let ids: Map<String, Value> = serde_json::from_str(&of_name(&files, "vocab.json")).unwrap();
        assert_eq!((ids.len(), &ids[END_OF_TEXT]), (50_257, &json!(50_256)));
        let merges = of_name(&files, "merges.txt");
        let lines = merges.lines().skip(1).map(|line| split_line(line).unwrap());
        let ranks: FxHashMap<(&str, &str), usize> = lines.zip(0..).collect();
        assert_eq!(ranks.len(), 50_000);
        for text in TEXTS {
            let expected: Vec<u64> = gpt2.encode(text).into_iter().map(u64::from).collect();
            assert_eq!(encode_by_files(&ids, &ranks, text), expected, "{text:?}");
        }
        let config: Value = serde_json::from_str(&of_name(&files, CONFIG_NAME)).unwrap();
        assert_eq!(config["model_max_length"], 1024);
        assert_eq!([&config["bos_token"], &config["eos_token"], &config["unk_token"]], [&json!(END_OF_TEXT); 3]);
    }

    #[test]
    fn the_files_of_a_trained_tokenizer_for_a_model_are_read_again() {
        let mut words = WordCounts::new(1000);
        words.count(&"the cat sat on the mat, naïve 漢字 ".repeat(10));
        let vocabulary = train(words, 290, &["<|pad|>".to_owned(), END_OF_TEXT.to_owned()], |_| ()).unwrap();
        let own = Tokenizer::new("own", vocabulary).unwrap();
        let folder = folder("for-model");
        for (name, content) in for_model(own.vocabulary(), 64) {
            assert!(!name.ends_with(".json") || !content.contains(&b'\n'), "{name} is one line");
            folder.put(name, content).unwrap();
        }
        let whole = open(folder.url()).unwrap();
        assert_eq!((whole.vocabulary(), whole.hash()), (own.vocabulary(), own.hash()));
        folder.delete(TOKENIZER_NAME).unwrap();
        let two = open(folder.url()).unwrap();
        for text in TEXTS {
            assert_eq!([whole.encode(text), two.encode(text)], [own.encode(text), own.encode(text)], "{text:?}");
        }
    }

    #[test]
    fn other_tokenizers_are_refused_with_the_reason() {
        let folder = folder("refused");
        let check = |name: &str, change: &dyn Fn(&mut Value), expected: &str| {
            let tokenizer = Vocabulary { tokens: (0..=255).map(|b| vec![b]).collect(), merges: vec![], added: vec![] };
            let sub = folder.folder(name);
            write(&sub, &tokenizer).unwrap();
            let mut value: Value = serde_json::from_slice(&sub.get(TOKENIZER_NAME).unwrap()).unwrap();
            change(&mut value);
            sub.put(TOKENIZER_NAME, Bytes::from(value.to_string())).unwrap();
            let error = open(sub.url()).err().unwrap().to_string();
            assert!(error.contains(expected) && error.contains(sub.url()), "{expected:?} in {error}");
        };
        check("kind", &|file| file["model"]["type"] = "WordPiece".into(), "its model is WordPiece, not BPE");
        check(
            "normalizer",
            &|file| file["normalizer"] = json!({ "type": "NFC" }),
            "it normalizes text (normalizer \"NFC\")",
        );
        check("split", &|file| file["pre_tokenizer"] = json!({ "type": "Whitespace" }), "its pre_tokenizer is");
        check("prefix", &|file| file["pre_tokenizer"]["add_prefix_space"] = true.into(), "add_prefix_space");
        check("merge", &|file| file["model"]["merges"] = json!(["a"]), "its merge \"a\" is not two tokens");
        check("unknown", &|file| file["model"]["merges"] = json!([["a", "漢"]]), "\"漢\", which is no token");
        check("union", &|file| file["model"]["merges"] = json!([["a", "b"]]), "\"ab\", which is no token");
        check("gap", &|file| file["model"]["vocab"]["a"] = 300.into(), "ids must have no gaps");
        check("twice", &|file| file["model"]["vocab"]["a"] = 3.into(), "two tokens have the id 3");
        check("end", &|_| (), "it has no special token <|endoftext|>");
        let added = |id: u32, content: &str, flag: &str| {
            let mut token = json!({
                "id": id, "content": content, "special": true,
                "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            });
            token[flag] = (token[flag] == false).into();
            json!([token])
        };
        check("empty", &|file| file["added_tokens"] = added(256, "", "normalized"), "the added token 256 is empty");
        // The character of another byte than its own two.
        check(
            "byte",
            &|file| file["added_tokens"] = added(0xe9, "é", "special"),
            "\"é\" is the token of the byte 0xe9",
        );
        let made_by_a_merge = |file: &mut Value| {
            file["model"]["vocab"]["ab"] = 256.into();
            file["model"]["merges"] = json!([["a", "b"]]);
            file["added_tokens"] = added(256, "ab", "normalized");
        };
        check("special", &made_by_a_merge, "merge 0 makes the special token 256");
        check(
            "beyond",
            &|file| file["added_tokens"] = added(u32::MAX, "x", "normalized"),
            "\"x\" has the id 4294967295",
        );
        let missing = open(folder.folder("missing").url()).err().unwrap().to_string();
        assert!(missing.contains("no tokenizer.json and no vocab.json"), "{missing}");
        let missing = open(&folder.url_of("missing/tokenizer.json")).err().unwrap().to_string();
        assert!(missing.contains("does not exist"), "{missing}");
    }

    #[test]
    fn what_files_beside_vocab_and_merges_add_is_not_passed_over() {
        let folder = folder("beside");
        write(&folder, Tokenizer::gpt2().unwrap().vocabulary()).unwrap();
        folder.delete(TOKENIZER_NAME).unwrap();
        open(folder.url()).unwrap();
        let refused = |name: &str, content: Value, expected: &str| {
            folder.put(name, content.to_string().into()).unwrap();
            let error = open(folder.url()).err().unwrap().to_string();
            assert!(error.contains(expected) && error.contains(name), "no {expected:?} in {error}");
        };
        refused(CONFIG_NAME, json!({ "add_prefix_space": true }), "add_prefix_space");
        let decoder =
            |special: bool| json!({ "added_tokens_decoder": { "50257": { "content": "  ", "special": special } } });
        refused(CONFIG_NAME, decoder(false), "adds the token \"  \"");
        folder.put(CONFIG_NAME, decoder(true).to_string().into()).unwrap();
        folder.put(ADDED_NAME, json!({ END_OF_TEXT: 50_256 }).to_string().into()).unwrap();
        open(folder.url()).unwrap();
        refused(ADDED_NAME, json!({ "  ": 50_257 }), "adds the token \"  \"");
    }
}

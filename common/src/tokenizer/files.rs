//! Vocabularies from and to the files of Hugging Face's libraries, which write bytes as printable characters: `Ġ` is a space.
//!
//! Read: `tokenizer.json`, or `vocab.json` with `merges.txt`, or OpenAI's `encoder.json` with `vocab.bpe`. Written: the
//! first three, and a `tokenizer_config.json`, by which `transformers` opens the folder.

use bytes::Bytes;
use rustc_hash::FxHashMap;
use serde_json::{Map, Value, json};

use super::vocabulary::{AddedToken, Merge, Vocabulary};
use super::{END_OF_TEXT, MOST_TOKENS, TokenizerError, tokenizer_json, unusable};
use crate::config::StorageConfig;
use crate::storage::{Folder, StorageError, without_secrets};

/// All of a tokenizer in one file.
pub const TOKENIZER_NAME: &str = "tokenizer.json";
/// The ids and the merges in two files: of Hugging Face, and of OpenAI.
const PAIRS_OF_NAMES: [[&str; 2]; 2] = [["vocab.json", "merges.txt"], ["encoder.json", "vocab.bpe"]];
/// What `transformers` reads first.
const CONFIG_NAME: &str = "tokenizer_config.json";
/// Tokens beside those of two files, as `transformers` has written them.
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

/// Writes `vocabulary` into `folder`, as the head of this module says.
pub fn write(folder: &Folder, vocabulary: &Vocabulary) -> Result<(), StorageError> {
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
    let json = |value: &Value| Bytes::from(format!("{value:#}\n"));
    folder.put("vocab.json", json(&Value::Object(ids.clone())))?;
    folder.put("merges.txt", Bytes::from(format!("#version: 0.2\n{lines}")))?;
    folder.put(CONFIG_NAME, json(&config()))?;
    folder.put(TOKENIZER_NAME, json(&tokenizer_json::write(vocabulary, &texts, ids, &merges)))
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

/// Special tokens are here those longer than a byte that no merge makes.
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

/// Refuses what files beside the two say of text that these do not: tokens that are not special, and a space before each text.
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

pub(super) fn split_line(line: &str) -> Result<(&str, &str), String> {
    line.split_once(' ').ok_or_else(|| format!("its merge {line:?} is not two tokens with a space between"))
}

/// Makes a vocabulary of tokens and merges in printable characters, and of the added tokens in plain text.
pub(super) fn assemble(
    ids: FxHashMap<String, u32>,
    merges: &[(&str, &str)],
    mut added: Vec<(String, AddedToken)>,
) -> Result<Vocabulary, String> {
    let bytes_of = byte_of_char();
    let added_ids: rustc_hash::FxHashSet<u32> = added.iter().map(|(_, token)| token.id.into()).collect();
    let ordinary = ids.iter().filter(|(_, id)| !added_ids.contains(id));
    let count = ordinary.clone().count() + added_ids.len();
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
    added.sort_unstable_by_key(|(_, token)| token.id);
    for (text, token) in &added {
        let mut characters = text.chars().map(|character| bytes_of.get(&character));
        if let (Some(Some(byte)), None) = (characters.next(), characters.next())
            && text.as_bytes() != [*byte]
            && ids.contains_key(text)
        {
            return Err(format!("its added token {text:?} is the token of the byte {byte:#04x}, which is other text"));
        }
        place(token.id.into(), text.clone().into_bytes())?;
    }
    let id = |token: &str| match ids.get(token) {
        Some(id) => u16::try_from(*id).map_err(|_| format!("the id {id} does not fit 16 bits")),
        None => Err(format!("its merges name {token:?}, which is no token")),
    };
    let merge = |(left, right): &(&str, &str)| {
        Ok(Merge { left: id(left)?, right: id(right)?, union: id(&format!("{left}{right}"))? })
    };
    let merges = merges.iter().map(merge).collect::<Result<_, String>>()?;
    // Every place is taken: there are as many tokens as places, and none was taken twice.
    let added = added.into_iter().map(|(_, token)| token).collect();
    Ok(Vocabulary { tokens: tokens.into_iter().flatten().collect(), merges, added })
}

impl Vocabulary {
    /// A token as files show it: added ones as they are, others with a printable character for each byte.
    fn shown(&self, id: u16, token: &[u8], chars: &[char; 256]) -> String {
        if self.added.binary_search_by_key(&id, |added| added.id).is_ok() {
            return String::from_utf8_lossy(token).into_owned();
        }
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

    /// Each would make other ids of a document, or may, in `tokenizers`.
    #[test]
    fn features_that_change_ids_are_refused_by_name_and_others_passed_over() {
        let folder = folder("features");
        let gpt2 = Tokenizer::gpt2().unwrap();
        write(&folder, gpt2.vocabulary()).unwrap();
        let written: Value = serde_json::from_slice(&folder.get(TOKENIZER_NAME).unwrap()).unwrap();
        // Short enough to be read often.
        let mut small = written.clone();
        let end = 300_u64;
        small["model"]["vocab"].as_object_mut().unwrap().retain(|_, id| id.as_u64() < Some(end));
        small["model"]["merges"].as_array_mut().unwrap().truncate(44);
        small["model"]["vocab"][END_OF_TEXT] = end.into();
        small["added_tokens"][0]["id"] = end.into();
        let read = |pointer: &str, value: Value| {
            let mut file = small.clone();
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            file.pointer_mut(parent).unwrap()[key] = value;
            tokenizer_json::parse(file.to_string().as_bytes())
        };
        let plain = read("/decoder", Value::Null).unwrap();
        let byte_level = |prefix: bool, regex: bool| json!({ "type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": false, "use_regex": regex });
        let by_regex = |regex: &str| {
            let split =
                json!({ "type": "Split", "pattern": { "Regex": regex }, "behavior": "Isolated", "invert": false });
            json!({ "type": "Sequence", "pretokenizers": [split, byte_level(false, false)] })
        };
        let template = |first: &str, id: u32| {
            let pieces = json!([{ "SpecialToken": { "id": first } }, { "Sequence": { "id": "A", "type_id": 0 } }]);
            json!({ "type": "TemplateProcessing", "single": pieces, "special_tokens": { first: { "ids": [id] } } })
        };
        let padding = |strategy: &str, multiple: Value| json!({ "strategy": strategy, "pad_to_multiple_of": multiple });
        let token = |id: u32, content: &str, flag: &str| {
            let mut tokens = small["added_tokens"].clone();
            let mut token = tokens[0].clone();
            (token["id"], token["content"], token["special"]) = (id.into(), content.into(), false.into());
            token[flag] = true.into();
            tokens.as_array_mut().unwrap().push(token);
            tokens
        };
        for (pointer, value) in [
            ("/version", Value::Null),
            ("/normalizer", json!({ "type": "Sequence", "normalizers": [] })),
            ("/pre_tokenizer", json!({ "type": "Sequence", "pretokenizers": [byte_level(false, true)] })),
            ("/pre_tokenizer", by_regex(super::super::GPT2_SPLIT)),
            ("/post_processor", Value::Null),
            ("/post_processor", template("<s>", 300)),
            ("/post_processor", json!({ "type": "Sequence", "processors": [byte_level(true, true)] })),
            ("/decoder", json!({ "type": "WordPiece" })),
            ("/padding", padding("BatchLongest", Value::Null)),
            ("/model/dropout", json!(0.0)),
            ("/model/unk_token", END_OF_TEXT.into()),
            ("/model/fuse_unk", true.into()),
            ("/model/byte_fallback", true.into()),
            ("/model/continuing_subword_prefix", "".into()),
            ("/model/end_of_word_suffix", "".into()),
            ("/model/ignore_merges", true.into()),
        ] {
            assert_eq!(read(pointer, value.clone()).as_ref(), Ok(&plain), "{pointer} {value}");
        }
        for (pointer, value, expected) in [
            ("/version", "2.0".into(), "version"),
            ("/future", true.into(), "`future`"),
            ("/model/future", true.into(), "`future`"),
            ("/normalizer", json!({ "type": "Sequence", "normalizers": [{ "type": "NFC" }] }), "normalizer"),
            ("/pre_tokenizer", byte_level(true, true), "add_prefix_space"),
            ("/pre_tokenizer", byte_level(false, false), "pre_tokenizer"),
            ("/pre_tokenizer", by_regex(r"\s+"), "pre_tokenizer"),
            ("/pre_tokenizer", Value::Null, "pre_tokenizer"),
            ("/post_processor", template(END_OF_TEXT, 7), "post_processor"),
            ("/post_processor", json!({ "type": "RobertaProcessing" }), "post_processor"),
            ("/truncation", json!({ "max_length": 5 }), "truncation"),
            ("/padding", padding("BatchLongest", 8.into()), "padding"),
            ("/padding", json!({ "strategy": { "Fixed": 8 } }), "padding"),
            ("/model/dropout", json!(0.1), "dropout"),
            ("/model/continuing_subword_prefix", "##".into(), "continuing_subword_prefix"),
            ("/model/end_of_word_suffix", "</w>".into(), "end_of_word_suffix"),
            ("/added_tokens", token(301, "  ", "lstrip"), "lstrip"),
            ("/added_tokens", token(301, "  ", "rstrip"), "rstrip"),
            ("/added_tokens", token(302, "  ", "normalized"), "has the id 302, but by its vocabulary that is 301"),
            ("/added_tokens/0/special", false.into(), "not special"),
        ] {
            let error = read(pointer, value.clone()).err().unwrap_or_else(|| panic!("{pointer} {value}"));
            assert!(error.contains(expected), "no {expected:?} in {error}");
        }
        // A token that no merge makes, which `ignore_merges` would take.
        small["model"]["ignore_merges"] = true.into();
        small["model"]["vocab"]["zzz"] = (end + 1).into();
        let error = tokenizer_json::parse(small.to_string().as_bytes()).unwrap_err();
        assert!(error.contains("\"zzz\"") && error.contains("ignore_merges"), "{error}");
        small["model"]["ignore_merges"] = false.into();
        let merge = small["model"]["merges"][0].clone();
        small["model"]["merges"].as_array_mut().unwrap().push(merge);
        let vocabulary = tokenizer_json::parse(small.to_string().as_bytes()).unwrap();
        let error = Tokenizer::new("twice", vocabulary).err().unwrap().to_string();
        assert!(error.contains("merge 44 is there twice"), "{error}");
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

//! `tokenizer.json`: the file that Hugging Face's `tokenizers` writes, and what of it Convoy supports.
//!
//! Every field of the format is checked. A setting that would give a document other ids than Convoy's is refused by its
//! name. Settings that cannot are ignored: the decoder, `trim_offsets`, and the treatment of characters without a token
//! (`unk_token`, `fuse_unk`, `byte_fallback`), since every byte has one. docs/tokenizer.md has the list.

use rustc_hash::FxHashMap;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use super::bpe::Tokenizer;
use super::printable::{assemble, split_line};
use super::split::{self, GPT2_SPLIT};
use super::vocabulary::{AddedToken, END_OF_TEXT, Vocabulary};

/// Fields that a file may have. An unknown field may be one that changes ids.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenizerFile {
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    truncation: Value,
    #[serde(default)]
    padding: Value,
    #[serde(default)]
    added_tokens: Vec<AddedEntry>,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    #[serde(default, rename = "decoder")]
    _decoder: IgnoredAny,
    model: Model,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AddedEntry {
    id: u32,
    content: String,
    single_word: bool,
    lstrip: bool,
    rstrip: bool,
    normalized: bool,
    special: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Model {
    #[serde(default, rename = "type")]
    _type: IgnoredAny,
    #[serde(default)]
    dropout: Option<f64>,
    #[serde(default, rename = "unk_token")]
    _unk_token: IgnoredAny,
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
    #[serde(default)]
    end_of_word_suffix: Option<String>,
    #[serde(default, rename = "fuse_unk")]
    _fuse_unk: IgnoredAny,
    #[serde(default, rename = "byte_fallback")]
    _byte_fallback: IgnoredAny,
    #[serde(default)]
    ignore_merges: Option<bool>,
    vocab: FxHashMap<String, u32>,
    merges: Vec<MergeLine>,
}

/// A merge: two strings in newer files, one string with a space between the tokens in older ones.
#[derive(Deserialize)]
#[serde(untagged)]
enum MergeLine {
    Pair([String; 2]),
    Line(String),
}

/// Parses the vocabulary of a file. Fails with the reason if Convoy cannot use it.
pub(super) fn parse(content: &[u8]) -> Result<Vocabulary, String> {
    let model: ModelKind = serde_json::from_slice(content).map_err(|e| format!("not a tokenizer.json: {e}"))?;
    if let Some(kind) = model.model.kind.filter(|kind| kind != "BPE") {
        return Err(format!("its model is {kind}, not BPE"));
    }
    let file: TokenizerFile = serde_json::from_slice(content).map_err(|e| format!("not a tokenizer.json: {e}"))?;
    check_text(&file)?;
    check_model(&file.model)?;
    check_added(&file)?;
    let merges = file.model.merges.iter().map(|line| match line {
        MergeLine::Pair([left, right]) => Ok((left.as_str(), right.as_str())),
        MergeLine::Line(line) => split_line(line),
    });
    let merges = merges.collect::<Result<Vec<_>, _>>()?;
    let added =
        file.added_tokens.into_iter().map(|AddedEntry { id, content, single_word, normalized, special, .. }| {
            let number =
                u16::try_from(id).map_err(|_| format!("the token {content:?} has the id {id}, beyond 16 bits"))?;
            Ok((content, AddedToken { id: number, special, single_word, normalized }))
        });
    let vocabulary = assemble(file.model.vocab, &merges, added.collect::<Result<_, String>>()?)?;
    if file.model.ignore_merges == Some(true) {
        check_without_merges(&vocabulary)?;
    }
    Ok(vocabulary)
}

/// The part that is parsed first, since models of other kinds have other fields.
#[derive(Deserialize)]
struct ModelKind {
    model: Kind,
}

#[derive(Deserialize)]
struct Kind {
    #[serde(default, rename = "type")]
    kind: Option<String>,
}

/// Refuses anything that changes a text, or its ids, before or after the model.
fn check_text(file: &TokenizerFile) -> Result<(), String> {
    if let Some(version) = file.version.as_deref().filter(|version| *version != "1.0") {
        return Err(format!("its version is {version:?}, and Convoy reads \"1.0\""));
    }
    if !steps(&file.normalizer, "normalizers").is_empty() {
        return Err(format!("it normalizes text (normalizer {}), which Convoy does not", file.normalizer["type"]));
    }
    let splitter = &file.pre_tokenizer;
    let splitters = steps(splitter, "pretokenizers");
    if splitters.iter().any(|step| step["type"] == "ByteLevel" && step["add_prefix_space"] == true) {
        return Err("it puts a space before each text (add_prefix_space), which Convoy does not".into());
    }
    if !splits_as_gpt2(&splitters) {
        return Err(format!("its pre_tokenizer is {splitter}, not ByteLevel with GPT-2's regex and no prefix space"));
    }
    let end_of_text = file.added_tokens.iter().find(|token| token.content == END_OF_TEXT).map(|token| token.id);
    if !adds_nothing(&file.post_processor, end_of_text) {
        let kind = &file.post_processor["type"];
        return Err(format!(
            "it puts tokens around each text (post_processor {kind}), and Convoy one {END_OF_TEXT} before each document; \
             if that will do, set \"post_processor\" to null in a copy of the file"
        ));
    }
    if !file.truncation.is_null() {
        return Err("it cuts long texts (truncation); set \"truncation\" to null in a copy of the file".into());
    }
    let pads = &file.padding;
    if !pads.is_null() && (pads["strategy"] != "BatchLongest" || !pads["pad_to_multiple_of"].is_null()) {
        return Err("it fills short texts up (padding); set \"padding\" to null in a copy of the file".into());
    }
    Ok(())
}

/// Returns the steps of a normalizer or pre-tokenizer, which may be one, a sequence, or none.
fn steps<'v>(value: &'v Value, of_sequence: &str) -> Vec<&'v Value> {
    match value {
        Value::Null => vec![],
        Value::Object(fields) if fields.get("type").is_some_and(|kind| kind == "Sequence") => {
            fields.get(of_sequence).and_then(Value::as_array).into_iter().flatten().collect()
        }
        one => vec![one],
    }
}

/// Returns whether the steps are GPT-2's split, by the regex of `ByteLevel` or by a given one.
fn splits_as_gpt2(steps: &[&Value]) -> bool {
    let has_true = |value: &Value, default: bool| value.as_bool().unwrap_or(default);
    let is_byte_level = |step: &Value, by_regex: bool| {
        step["type"] == "ByteLevel"
            && step["add_prefix_space"] == false
            && has_true(&step["use_regex"], true) == by_regex
    };
    match steps {
        [step] => is_byte_level(step, true),
        [split, step] => {
            split["type"] == "Split"
                && split["pattern"]["Regex"] == GPT2_SPLIT
                && split["behavior"] == "Isolated"
                && !has_true(&split["invert"], false)
                && is_byte_level(step, false)
        }
        _ => false,
    }
}

/// Returns whether the post-processor changes no ids, apart from an end-of-text token in front, which Convoy adds itself.
fn adds_nothing(processor: &Value, end_of_text: Option<u32>) -> bool {
    let is_text = |piece: &Value| piece["Sequence"]["id"] == "A";
    let is_end_of_text = |piece: &Value| {
        let name = piece["SpecialToken"]["id"].as_str().unwrap_or_default();
        end_of_text.is_some_and(|id| processor["special_tokens"][name]["ids"] == json!([id]))
    };
    match (processor["type"].as_str(), processor["single"].as_array().map(Vec::as_slice)) {
        (None, _) => processor.is_null(),
        (Some("ByteLevel"), _) => true,
        (Some("Sequence"), _) => {
            let steps = processor["processors"].as_array();
            steps.is_some_and(|steps| steps.iter().all(|step| adds_nothing(step, end_of_text)))
        }
        (Some("TemplateProcessing"), Some([text])) => is_text(text),
        (Some("TemplateProcessing"), Some([first, text])) => is_end_of_text(first) && is_text(text),
        _ => false,
    }
}

fn check_model(model: &Model) -> Result<(), String> {
    if let Some(dropout) = model.dropout.filter(|dropout| *dropout != 0.0) {
        return Err(format!(
            "it leaves merges out at random (dropout {dropout}); set \"dropout\" to null in a copy of the file"
        ));
    }
    let marks = [
        ("continuing_subword_prefix", &model.continuing_subword_prefix),
        ("end_of_word_suffix", &model.end_of_word_suffix),
    ];
    for (name, mark) in marks {
        if let Some(mark) = mark.as_deref().filter(|mark| !mark.is_empty()) {
            return Err(format!("it marks parts of words ({name} {mark:?}), which byte-level BPE does not"));
        }
    }
    Ok(())
}

fn check_added(file: &TokenizerFile) -> Result<(), String> {
    // `tokenizers` uses the vocabulary, and numbers the other added tokens on from its end, regardless of the ids in the file.
    let mut next = file.model.vocab.len() as u64;
    for AddedEntry { id, content, lstrip, rstrip, special, .. } in &file.added_tokens {
        if content.is_empty() {
            return Err(format!(
                "the added token {id} is empty; take it out of \"added_tokens\" in a copy of the file"
            ));
        }
        if *lstrip || *rstrip {
            let flag = if *lstrip { "lstrip" } else { "rstrip" };
            return Err(format!(
                "its added token {content:?} takes white space beside it along ({flag}), which Convoy does not; if that \
                 will do, set \"{flag}\" to false in a copy of the file"
            ));
        }
        if content == END_OF_TEXT && !special {
            return Err(format!("its {END_OF_TEXT} is not special, so that documents could have it; set that to true"));
        }
        let numbered = match file.model.vocab.get(content) {
            Some(numbered) => u64::from(*numbered),
            None => {
                next += 1;
                next - 1
            }
        };
        if u64::from(*id) != numbered {
            return Err(format!(
                "its added token {content:?} has the id {id}, but by its vocabulary that is {numbered}, as which \
                 `tokenizers` reads it"
            ));
        }
    }
    Ok(())
}

/// Checks `ignore_merges`, by which a piece that is a token is that token, regardless of merges. If merges make every token
/// from its own text, the setting changes nothing.
fn check_without_merges(vocabulary: &Vocabulary) -> Result<(), String> {
    let tokenizer = Tokenizer::new("", vocabulary.clone()).map_err(|e| e.to_string())?;
    for (id, token) in (0..=u16::MAX).zip(&vocabulary.tokens) {
        let text = std::str::from_utf8(token).ok().filter(|text| split::pieces(text).count() == 1);
        let is_added = || vocabulary.added.binary_search_by_key(&id, |added| added.id).is_ok();
        if let Some(text) = text.filter(|text| !is_added() && tokenizer.encode(text) != [id]) {
            return Err(format!("it makes {text:?} a token that its merges do not make (ignore_merges)"));
        }
    }
    Ok(())
}

/// Returns the content of a file for `vocabulary`, whose tokens are shown as `texts`.
pub(super) fn write(vocabulary: &Vocabulary, texts: &[String], ids: Map<String, Value>, merges: &[[&str; 2]]) -> Value {
    let byte_level = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
    let added = vocabulary.added.iter().map(|token| {
        json!({
            "id": token.id, "content": texts[usize::from(token.id)], "special": token.special,
            "single_word": token.single_word, "lstrip": false, "rstrip": false, "normalized": token.normalized,
        })
    });
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added.collect::<Vec<_>>(),
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

#[cfg(test)]
mod tests {
    use super::super::files::{TOKENIZER_NAME, write as write_files};
    use super::*;
    use crate::config::StorageConfig;
    use crate::storage::Folder;

    /// Last id of the tokenizer in these files.
    const END: u64 = 300;

    /// Returns a file as Convoy writes it, of GPT-2's first tokens, short enough to be read often.
    fn small() -> Value {
        let folder = Folder::open("memory://tokenizer-features", &StorageConfig::default()).unwrap();
        write_files(&folder, Tokenizer::gpt2().unwrap().vocabulary()).unwrap();
        let mut small: Value = serde_json::from_slice(&folder.get(TOKENIZER_NAME).unwrap()).unwrap();
        small["model"]["vocab"].as_object_mut().unwrap().retain(|_, id| id.as_u64() < Some(END));
        small["model"]["merges"].as_array_mut().unwrap().truncate(44);
        small["model"]["vocab"][END_OF_TEXT] = END.into();
        small["added_tokens"][0]["id"] = END.into();
        small
    }

    fn read(file: &Value) -> Result<Vocabulary, String> {
        parse(file.to_string().as_bytes())
    }

    /// Reads `small` with `value` at `pointer`.
    fn read_with(small: &Value, pointer: &str, value: Value) -> Result<Vocabulary, String> {
        let mut file = small.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        file.pointer_mut(parent).unwrap()[key] = value;
        read(&file)
    }

    fn byte_level(prefix: bool, regex: bool) -> Value {
        json!({ "type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": false, "use_regex": regex })
    }

    fn by_regex(regex: &str) -> Value {
        let split = json!({ "type": "Split", "pattern": { "Regex": regex }, "behavior": "Isolated", "invert": false });
        json!({ "type": "Sequence", "pretokenizers": [split, byte_level(false, false)] })
    }

    fn template(first: &str, id: u32) -> Value {
        let pieces = json!([{ "SpecialToken": { "id": first } }, { "Sequence": { "id": "A", "type_id": 0 } }]);
        json!({ "type": "TemplateProcessing", "single": pieces, "special_tokens": { first: { "ids": [id] } } })
    }

    fn padding(strategy: &str, multiple: Value) -> Value {
        json!({ "strategy": strategy, "pad_to_multiple_of": multiple })
    }

    /// Returns the added tokens of `small`, and one more with `flag`.
    fn token(small: &Value, id: u32, content: &str, flag: &str) -> Value {
        let mut tokens = small["added_tokens"].clone();
        let mut token = tokens[0].clone();
        (token["id"], token["content"], token["special"]) = (id.into(), content.into(), false.into());
        token[flag] = true.into();
        tokens.as_array_mut().unwrap().push(token);
        tokens
    }

    #[test]
    fn features_that_change_no_ids_are_passed_over() {
        let small = small();
        let plain = read_with(&small, "/decoder", Value::Null).unwrap();
        for (pointer, value) in [
            ("/version", Value::Null),
            ("/normalizer", json!({ "type": "Sequence", "normalizers": [] })),
            ("/pre_tokenizer", json!({ "type": "Sequence", "pretokenizers": [byte_level(false, true)] })),
            ("/pre_tokenizer", by_regex(GPT2_SPLIT)),
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
            assert_eq!(read_with(&small, pointer, value.clone()).as_ref(), Ok(&plain), "{pointer} {value}");
        }
    }

    /// Each feature gives a document other ids in `tokenizers`, or may do so.
    #[test]
    fn features_that_change_ids_are_refused_by_name() {
        let small = small();
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
            ("/added_tokens", token(&small, 301, "  ", "lstrip"), "lstrip"),
            ("/added_tokens", token(&small, 301, "  ", "rstrip"), "rstrip"),
            (
                "/added_tokens",
                token(&small, 302, "  ", "normalized"),
                "has the id 302, but by its vocabulary that is 301",
            ),
            ("/added_tokens/0/special", false.into(), "not special"),
        ] {
            let error = read_with(&small, pointer, value.clone()).err().unwrap_or_else(|| panic!("{pointer} {value}"));
            assert!(error.contains(expected), "no {expected:?} in {error}");
        }
    }

    #[test]
    fn what_merges_do_not_make_or_make_twice_is_refused() {
        let mut small = small();
        // A token that no merge makes, which `ignore_merges` would use.
        small["model"]["ignore_merges"] = true.into();
        small["model"]["vocab"]["zzz"] = (END + 1).into();
        let error = read(&small).unwrap_err();
        assert!(error.contains("\"zzz\"") && error.contains("ignore_merges"), "{error}");
        small["model"]["ignore_merges"] = false.into();
        let merge = small["model"]["merges"][0].clone();
        small["model"]["merges"].as_array_mut().unwrap().push(merge);
        let vocabulary = read(&small).unwrap();
        let error = Tokenizer::new("twice", vocabulary).err().unwrap().to_string();
        assert!(error.contains("merge 44 is there twice"), "{error}");
    }
}

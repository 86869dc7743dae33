//! Tokens in printable characters, one per byte, as files show them.

use rustc_hash::{FxHashMap, FxHashSet};

use super::vocabulary::{AddedToken, MOST_TOKENS, Merge, Vocabulary};

/// Splits a line of merges into its two tokens.
pub(super) fn split_line(line: &str) -> Result<(&str, &str), String> {
    line.split_once(' ').ok_or_else(|| format!("its merge {line:?} is not two tokens with a space between"))
}

/// Builds a vocabulary from tokens and merges in printable characters, and added tokens in plain text.
pub(super) fn assemble(
    ids: FxHashMap<String, u32>,
    merges: &[(&str, &str)],
    mut added: Vec<(String, AddedToken)>,
) -> Result<Vocabulary, String> {
    let bytes_of = byte_of_char();
    let added_ids: FxHashSet<u32> = added.iter().map(|(_, token)| token.id.into()).collect();
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
    // Every id is taken: there are as many tokens as ids, and no id was taken twice.
    let added = added.into_iter().map(|(_, token)| token).collect();
    Ok(Vocabulary { tokens: tokens.into_iter().flatten().collect(), merges, added })
}

impl Vocabulary {
    /// Returns a token as files show it: added tokens as they are, others with a printable character for each byte.
    pub(super) fn shown(&self, id: u16, token: &[u8], chars: &[char; 256]) -> String {
        if self.added.binary_search_by_key(&id, |added| added.id).is_ok() {
            return String::from_utf8_lossy(token).into_owned();
        }
        token.iter().map(|byte| chars[usize::from(*byte)]).collect()
    }
}

/// Returns the character that stands for each byte, as OpenAI chose them for GPT-2: the byte's own character if it is
/// printable and not a space, and otherwise the next character from U+0100 on.
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

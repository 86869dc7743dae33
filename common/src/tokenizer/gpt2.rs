//! GPT-2's vocabulary, from the ranks that OpenAI published for tiktoken.

use rustc_hash::FxHashMap;

use super::vocabulary::{AddedToken, END_OF_TEXT, Merge, Vocabulary, last_join};

/// Id of [`END_OF_TEXT`].
pub(super) const END_OF_TEXT_ID: u16 = 50_256;

/// Builds GPT-2's vocabulary. The ranks give only the result of each merge; its two parts are what the merges before it make
/// of that.
pub(super) fn vocabulary() -> Result<Vocabulary, String> {
    let ranks = tiktoken::get_encoding("r50k_base").ok_or("the tiktoken crate was built without r50k_base")?;
    let mut tokens: Vec<Vec<u8>> = (0..u32::from(END_OF_TEXT_ID)).map(|id| ranks.decode(&[id])).collect();
    let ids: FxHashMap<&[u8], usize> = tokens.iter().map(Vec::as_slice).zip(0..).collect();
    let mut merges = Vec::with_capacity(tokens.len());
    for (token, union) in tokens.iter().zip(0..).filter(|(token, _)| token.len() > 1) {
        let at = last_join(token, union, &ids).ok_or_else(|| format!("no merge makes the token {union}"))?;
        let [left, right] = [&token[..at], &token[at..]].map(|part| ids[part] as u16);
        merges.push(Merge { left, right, union: union as u16 });
    }
    tokens.push(END_OF_TEXT.as_bytes().to_vec());
    Ok(Vocabulary { tokens, merges, added: vec![AddedToken::special(END_OF_TEXT_ID)] })
}

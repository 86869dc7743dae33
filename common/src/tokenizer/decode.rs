//! Decodes ids to text as they arrive. A token may end in the middle of a character, which then waits for its rest.

use super::bpe::Tokenizer;

/// Decoder of ids to text, in whole characters. Bytes that are not UTF-8 become U+FFFD, as in `String::from_utf8_lossy`.
pub struct DecodeStream {
    tokenizer: Tokenizer,
    /// Beginning of an incomplete character.
    pending: Vec<u8>,
}

impl DecodeStream {
    /// Returns a decoder of `tokenizer`'s ids.
    pub fn new(tokenizer: Tokenizer) -> Self {
        DecodeStream { tokenizer, pending: Vec::new() }
    }

    /// Returns the text that `id` completes, or `None` if the id is not in the vocabulary.
    pub fn push(&mut self, id: u16) -> Option<String> {
        self.pending.extend_from_slice(self.tokenizer.token(id)?);
        let mut text = String::new();
        loop {
            match std::str::from_utf8(&self.pending) {
                Ok(whole) => {
                    text.push_str(whole);
                    self.pending.clear();
                }
                Err(error) => {
                    let valid = self.pending.drain(..error.valid_up_to()).collect::<Vec<u8>>();
                    text.push_str(&String::from_utf8_lossy(&valid));
                    if let Some(length) = error.error_len() {
                        self.pending.drain(..length);
                        text.push(char::REPLACEMENT_CHARACTER);
                        continue;
                    }
                }
            }
            return Some(text);
        }
    }

    /// Returns the rest of the text: U+FFFD for an incomplete character.
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.pending).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_together_are_the_whole_and_none_is_half_a_character() {
        let tokenizer = Tokenizer::gpt2().unwrap();
        let text = "漢字 naïve 🦀👩‍🚀 x\u{301}";
        let ids = tokenizer.encode(text);
        assert!(ids.iter().any(|id| std::str::from_utf8(tokenizer.token(*id).unwrap()).is_err()), "{ids:?}");
        for cut in 0..=ids.len() {
            let mut stream = DecodeStream::new(tokenizer.clone());
            let mut pieces: Vec<String> = ids[..cut].iter().map(|id| stream.push(*id).unwrap()).collect();
            assert!(text.starts_with(&pieces.concat()), "{pieces:?}");
            pieces.push(stream.finish());
            assert_eq!(pieces.concat(), String::from_utf8_lossy(&tokenizer.decode(&ids[..cut]).unwrap()));
        }
    }

    #[test]
    fn any_ids_give_what_the_whole_would() {
        let tokenizer = Tokenizer::gpt2().unwrap();
        // Every byte after every other covers all kinds of broken UTF-8.
        let ids: Vec<u16> = (0..256_u16).flat_map(|first| (0..256).flat_map(move |second| [first, second])).collect();
        let mut stream = DecodeStream::new(tokenizer.clone());
        let text: String = ids.iter().map(|id| stream.push(*id).unwrap()).collect();
        assert_eq!(text + &stream.finish(), String::from_utf8_lossy(&tokenizer.decode(&ids).unwrap()));
        assert_eq!(DecodeStream::new(tokenizer).push(50_257), None);
    }
}

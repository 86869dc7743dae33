//! Text repaired: entities that were escaped twice, and UTF-8 that was read as windows-1252.
//!
//! Repaired are `&amp;`, `&quot;`, `&apos;`, `&nbsp;` and numeric entities. `&lt;` and `&gt;` stay, because a text that has them
//! is most often about markup. A misread sequence is one that begins with `Â`, `Ã`, `â`, `ï` or `ð`, and whose characters are
//! the windows-1252 bytes of one UTF-8 sequence: `donâ€™t` becomes `don’t`. Control characters other than line feed and tab,
//! byte order marks and soft hyphens are removed, and no-break spaces become spaces.

use encoding_rs::WINDOWS_1252;

/// A text that was repaired.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mended {
    /// The text.
    pub text: String,
    /// Entities and misread sequences that were repaired.
    pub repairs: usize,
    /// Control characters, byte order marks and soft hyphens that were removed.
    pub removed: usize,
    /// No-break spaces that became spaces.
    pub spaces: usize,
}

/// Repairs a text.
pub fn mend(text: &str) -> Mended {
    let mut mended = Mended { text: String::with_capacity(text.len()), ..Mended::default() };
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let repaired = match first {
            '&' => entity(rest),
            'Â' | 'Ã' | 'â' | 'ï' | 'ð' => misread(rest),
            _ => None,
        };
        let (character, length) = repaired.unwrap_or((first, first.len_utf8()));
        mended.repairs += usize::from(repaired.is_some());
        rest = &rest[length..];
        match character {
            '\n' | '\t' => mended.text.push(character),
            '\u{A0}' => {
                mended.text.push(' ');
                mended.spaces += 1;
            }
            '\u{AD}' | '\u{FEFF}' => mended.removed += 1,
            _ if character.is_control() => mended.removed += 1,
            _ => mended.text.push(character),
        }
    }
    mended
}

/// The character that an entity at the start of the text stands for, and the entity's length.
fn entity(text: &str) -> Option<(char, usize)> {
    // Longest: `&#x10FFFF;`.
    let end = text.bytes().take(10).position(|byte| byte == b';')?;
    let character = match &text[1..end] {
        "amp" => '&',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => '\u{A0}',
        name => {
            let digits = name.strip_prefix('#')?;
            let code = match digits.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => digits.parse(),
            };
            // Numbers below 160 are windows-1252's, as browsers read them.
            match code.ok()? {
                code @ 0x80..0xA0 => windows_1252(u8::try_from(code).ok()?)?,
                code => char::from_u32(code)?,
            }
        }
    };
    Some((character, end + 1))
}

fn windows_1252(byte: u8) -> Option<char> {
    WINDOWS_1252.decode_without_bom_handling(&[byte]).0.chars().next()
}

/// The character that a misread sequence at the start of the text stands for, and the sequence's length.
fn misread(text: &str) -> Option<(char, usize)> {
    let first = text.chars().next()?;
    let count = match first {
        'Â' | 'Ã' => 2,
        'â' | 'ï' => 3,
        'ð' => 4,
        _ => return None,
    };
    let (mut bytes, mut length) = ([0; 4], 0);
    let mut characters = text.chars();
    for byte in bytes.iter_mut().take(count) {
        let character = characters.next()?;
        *byte = byte_of(character)?;
        length += character.len_utf8();
    }
    let character = std::str::from_utf8(&bytes[..count]).ok()?.chars().next()?;
    Some((character, length))
}

/// The windows-1252 byte of a character.
fn byte_of(character: char) -> Option<u8> {
    if let Ok(byte @ (0x80..=0xFF)) = u8::try_from(u32::from(character)) {
        return Some(byte);
    }
    let mut utf_8 = [0; 4];
    let (bytes, _, unmappable) = WINDOWS_1252.encode(character.encode_utf8(&mut utf_8));
    (!unmappable).then(|| bytes.first().copied()).flatten().filter(|byte| *byte >= 0x80)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str, repairs: usize) {
        assert_eq!(mend(text), Mended { text: expected.to_owned(), repairs, ..Mended::default() });
    }

    #[test]
    fn entities_that_were_escaped_twice_are_resolved() {
        check("AT&amp;T &quot;x&quot; it&#8217;s it&#x2019;s &#146;", "AT&T \"x\" it’s it’s ’", 6);
    }

    #[test]
    fn entities_for_markup_and_what_is_no_entity_stay() {
        check("&lt;b&gt; & &; &#; &#xD800; &#99999999; R&D;", "&lt;b&gt; & &; &#; &#xD800; &#99999999; R&D;", 0);
    }

    #[test]
    fn utf_8_that_was_read_as_windows_1252_is_read_again() {
        check("donâ€™t â€œquoteâ€\u{9d} cafÃ© Â£5 ðŸ˜€", "don’t “quote” café £5 😀", 6);
    }

    #[test]
    fn letters_that_only_look_misread_stay() {
        check("NÃO château Â CAFÉ® naïve ð", "NÃO château Â CAFÉ® naïve ð", 0);
    }

    #[test]
    fn characters_that_are_no_text_go_and_are_counted() {
        let text = "a\0b\u{7}c\u{AD}d\u{A0}e\u{FEFF}\tf&nbsp;\n";
        let expected = Mended { text: "abcd e\tf \n".to_owned(), repairs: 1, removed: 4, spaces: 2 };
        assert_eq!(mend(text), expected);
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics_and_ascii_without_entities_stays(text in "[ -%'-~\n\t]{0,60}", any in "(&#?x?|[Ãâðï€™]|\\PC){0,40}") {
            proptest::prop_assert_eq!(mend(&text).text, text);
            mend(&any);
        }
    }
}

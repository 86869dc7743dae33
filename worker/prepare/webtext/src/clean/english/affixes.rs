//! Marks that are cut off in front of words and behind them. spaCy: `TOKENIZER_PREFIXES` and `TOKENIZER_SUFFIXES` of
//! `lang/punctuation.py`, and the lists of `lang/char_classes.py`.

use crate::clean::unicode::{LETTER, OTHER_SYMBOL};

/// `LIST_PUNCT` and `LIST_ELLIPSES`, characters alone.
const PUNCTUATION: &str = "…,:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪";
/// `LIST_QUOTES`.
const QUOTES: &str = "'\"”“`‘´’‚,„»«「」『』（）〔〕【】《》〈〉⟦⟧";
/// `LIST_CURRENCY`, characters alone.
const CURRENCIES: &str = "$£€¥฿₽﷼₴₠₡₢₣₤₥₦₧₨₩₪₫₭₮₯₰₱₲₳₵₶₷₸₹₺₻₼₾₿";
/// `LIST_CURRENCY`, of several characters.
const LONG_CURRENCIES: [&str; 3] = ["US$", "C$", "A$"];
/// `LIST_UNITS`.
const UNITS: &str = " km km² km³ m m² m³ dm dm² dm³ cm cm² cm³ mm mm² mm³ ha µm nm yd in ft kg g mg µg t lb oz m/s km/h kmh mph \
    hPa Pa mbar mb MB kb KB gb GB tb TB T G M K % км км² км³ м м² м³ дм дм² дм³ см см² см³ мм мм² мм³ нм кг г мг м/с км/ч кПа \
    Па мбар Кб КБ кб Мб МБ мб Гб ГБ гб Тб ТБ тб ";

/// Bytes of the longest unit, with room.
const LONGEST_UNIT: usize = 8;

/// Characters by what they do in ASCII.
const PREFIX: u8 = 1;
const SUFFIX: u8 = 2;
const ASCII: [u8; 128] = {
    let mut table = [0; 128];
    let both = b",:;!?()[]{}<>_#*&'\"`";
    let mut at = 0;
    while at < both.len() {
        table[both[at] as usize] = PREFIX | SUFFIX;
        at += 1;
    }
    table[b'%' as usize] = PREFIX;
    table[b'=' as usize] = PREFIX;
    table[b'$' as usize] = PREFIX;
    table
};

pub(super) fn is_quote(c: char) -> bool {
    if c.is_ascii() { matches!(c, '\'' | '"' | '`' | ',') } else { QUOTES.contains(c) }
}

fn is_mark(c: char) -> bool {
    if c.is_ascii() {
        ASCII[c as usize] & SUFFIX != 0
    } else {
        !LETTER.contains(c)
            && (matches!(c, '—' | '–') || PUNCTUATION.contains(c) || is_quote(c) || OTHER_SYMBOL.contains(c))
    }
}

/// Returns the bytes of the mark at the front, 0 for none.
pub(super) fn prefix(word: &str) -> usize {
    let Some(first) = word.chars().next() else { return 0 };
    if first.is_ascii() {
        let bytes = word.as_bytes();
        return match first {
            '.' => Some(bytes.iter().take_while(|byte| **byte == b'.').count()).filter(|dots| *dots > 1).unwrap_or(0),
            '+' => usize::from(!bytes.get(1).is_some_and(u8::is_ascii_digit)),
            'U' | 'C' | 'A' => LONG_CURRENCIES.into_iter().find(|name| word.starts_with(name)).map_or(0, str::len),
            _ => usize::from(ASCII[first as usize] & PREFIX),
        };
    }
    let found = first == '§' || is_mark(first) || CURRENCIES.contains(first);
    if found { first.len_utf8() } else { 0 }
}

/// Returns the bytes of the longest mark at the end, 0 for none.
pub(super) fn suffix(word: &str) -> usize {
    let mut characters = word.chars().rev();
    let Some(last) = characters.next() else { return 0 };
    let before = characters.next();
    if last.is_ascii_alphanumeric() {
        return match (last, before) {
            ('s' | 'S', Some(quote @ ('\'' | '’'))) => 1 + quote.len_utf8(),
            _ if last.is_ascii_digit() => 0,
            _ => unit(word),
        };
    }
    match last {
        '.' => {
            let dots = word.len() - word.trim_end_matches('.').len();
            if dots > 1 { dots } else { usize::from(is_full_stop(before, characters.next())) }
        }
        '…' if before == Some('…') => 2 * '…'.len_utf8(),
        _ if is_mark(last) => last.len_utf8(),
        '+' => usize::from(before.is_some_and(|c| c.is_ascii_digit())),
        _ => unit(word),
    }
}

/// Returns whether a full stop behind `before`, which is behind `second`, ends more than an abbreviation.
fn is_full_stop(before: Option<char>, second: Option<char>) -> bool {
    let Some(before) = before else { return false };
    match before {
        '0'..='9' | 'a'..='z' | '%' | '²' | '-' | '+' | '|' => true,
        'F' | 'C' | 'K' if second == Some('°') => true,
        c if is_upper(c) => is_lower(c) || second.is_some_and(is_upper),
        c if is_lower(c) => true,
        c => PUNCTUATION.contains(c) || is_quote(c),
    }
}

/// Returns the bytes of a unit or a currency behind a digit.
fn unit(word: &str) -> usize {
    // Long runs of marks are cut one by one, so no more is looked at than the longest unit needs.
    let last = &word.as_bytes()[word.len().saturating_sub(LONGEST_UNIT + 1)..];
    let Some(digit) = last.iter().rposition(u8::is_ascii_digit) else { return 0 };
    let tail = &word[word.len() - last.len() + digit + 1..];
    let mut characters = tail.chars();
    let alone = characters.next().filter(|_| characters.next().is_none());
    let is_currency = alone.is_some_and(|c| CURRENCIES.contains(c)) || LONG_CURRENCIES.contains(&tail);
    let is_unit = || UNITS.contains(tail) && UNITS.split(' ').any(|unit| unit == tail);
    if !tail.is_empty() && (is_currency || is_unit()) { tail.len() } else { 0 }
}

/// Letters, `ALPHA`.
pub(super) fn is_letter(c: char) -> bool {
    LETTER.contains(c)
}

/// Letters of lower case, and those without case, `ALPHA_LOWER`.
pub(super) fn is_lower(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_lowercase() } else { LETTER.contains(c) && !c.is_uppercase() }
}

/// Letters of upper case, and those without case, `ALPHA_UPPER`.
pub(super) fn is_upper(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_uppercase() } else { LETTER.contains(c) && !c.is_lowercase() }
}

//! Operations on text with the results that Python's have, since lm-evaluation-harness is written in it.

/// Returns whether Python's `str.isspace` holds, which is also what `\s` matches: white space, and four separators.
fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

/// Python's `str.strip`.
pub fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// Python's `str.capitalize`: the first character in title case, the others in lower case.
pub fn capitalize(text: &str) -> String {
    let Some(first) = text.chars().next() else { return String::new() };
    // Lower case may depend on what is in front, as that of the Greek sigma does.
    let lower = text.to_lowercase();
    let rest = &lower[first.to_lowercase().map(char::len_utf8).sum::<usize>()..];
    title_case(first) + rest
}

/// Title case differs from upper case for letters that are several, such as dž or ß.
fn title_case(character: char) -> String {
    match character {
        '\u{1c4}'..='\u{1c6}' => "\u{1c5}".to_owned(),
        '\u{1c7}'..='\u{1c9}' => "\u{1c8}".to_owned(),
        '\u{1ca}'..='\u{1cc}' => "\u{1cb}".to_owned(),
        '\u{1f1}'..='\u{1f3}' => "\u{1f2}".to_owned(),
        _ => {
            let mut upper = character.to_uppercase();
            let first: String = upper.next().into_iter().collect();
            first + &upper.collect::<String>().to_lowercase()
        }
    }
}

/// Returns `len(re.split(r"\s+", text))`: one more than there are runs of white space.
pub fn count_split_by_space(text: &str) -> u64 {
    let mut count = 1;
    let mut in_space = false;
    for character in text.chars() {
        let space = is_space(character);
        count += u64::from(space && !in_space);
        in_space = space;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_pythons() {
        // Each was computed with Python 3.11.
        assert_eq!(capitalize("the MAN and Ǆ"), "The man and ǆ");
        assert_eq!(capitalize("ǆ ß"), "ǅ ß");
        assert_eq!(capitalize("ßA"), "Ssa");
        assert_eq!(capitalize(""), "");
        assert_eq!(capitalize("1 OF"), "1 of");
        assert_eq!(strip("\u{1f}\u{a0} a b\n"), "a b");
        assert_eq!(count_split_by_space(" a  b\n"), 4);
        assert_eq!(count_split_by_space(""), 1);
    }
}

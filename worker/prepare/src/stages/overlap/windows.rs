//! A text without the places at which it overlaps with evaluation sets, as GPT-3's appendix C has it.

use std::ops::Range;

/// Text between two remaining pieces.
const BETWEEN: &str = "\n\n";

/// What remains of a text.
#[derive(Debug, PartialEq, Eq)]
pub struct Remains {
    /// Remaining pieces, with a blank line between them; empty where nothing remains.
    pub text: String,
    /// Number of windows that were removed.
    pub windows: u64,
    /// Number of characters that were removed, with white space around them.
    pub characters: u64,
}

/// Removes `runs` from `text`, each with `characters` characters on both sides, and with the rest of the words at its ends. Runs are
/// in order by their beginnings and by their ends. Windows that touch are one. Pieces without a letter or digit do not remain.
pub fn without(text: &str, runs: impl IntoIterator<Item = Range<usize>>, characters: u64) -> Remains {
    let windows = windows(text, runs, characters as usize);
    let starts = std::iter::once(0).chain(windows.iter().map(|window| window.end));
    let ends = windows.iter().map(|window| window.start).chain([text.len()]);
    let pieces = starts.zip(ends).map(|(start, end)| text[start..end].trim());
    let pieces: Vec<&str> = pieces.filter(|piece| piece.contains(char::is_alphanumeric)).collect();
    let kept: usize = pieces.iter().map(|piece| piece.chars().count()).sum();
    let characters = (text.chars().count() - kept) as u64;
    Remains { text: pieces.join(BETWEEN), windows: windows.len() as u64, characters }
}

/// Returns the windows around `runs`: in order, and apart from each other.
fn windows(text: &str, runs: impl IntoIterator<Item = Range<usize>>, characters: usize) -> Vec<Range<usize>> {
    let mut windows: Vec<Range<usize>> = Vec::new();
    for run in runs {
        let end_before = windows.last().map_or(0, |window| window.end);
        let end = end_of(text, run.end, characters, end_before);
        // One that begins within the window before may end behind it.
        let start = text.get(end_before..run.start).map_or(end_before, |gap| end_before + start_in(gap, characters));
        match windows.last_mut() {
            Some(window) if start == end_before => window.end = end,
            _ => windows.push(start..end),
        }
    }
    windows
}

/// Returns where a window begins in the text `before` a run: `characters` before its end, and where that is within a word,
/// where the word begins.
fn start_in(before: &str, characters: usize) -> usize {
    let start = match characters {
        0 => before.len(),
        _ => before.char_indices().rev().nth(characters - 1).map_or(0, |(at, _)| at),
    };
    if before[start..].starts_with(char::is_whitespace) {
        return start;
    }
    let space = before[..start].char_indices().rev().find(|(_, c)| c.is_whitespace());
    space.map_or(0, |(at, c)| at + c.len_utf8())
}

/// Returns where the window of a run that ends at `run_end` ends: `characters` behind it, and where that is within a word,
/// where the word ends; at least at `least`, where a window before it ends.
fn end_of(text: &str, run_end: usize, characters: usize, least: usize) -> usize {
    let behind = &text[run_end..];
    let end = run_end + behind.char_indices().nth(characters).map_or(behind.len(), |(at, _)| at);
    if end <= least || text[..end].ends_with(char::is_whitespace) {
        return end.max(least);
    }
    text[end..].find(char::is_whitespace).map_or(text.len(), |at| end + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remains(text: &str, parts: &[&str], characters: u64) -> Remains {
        let mut at = 0;
        let mut place = |part: &&str| {
            let start = at + text[at..].find(part).unwrap();
            at = start + 1;
            start..start + part.len()
        };
        without(text, parts.iter().map(&mut place).collect::<Vec<_>>(), characters)
    }

    #[test]
    fn a_window_ends_where_words_do_and_pieces_are_joined_by_a_blank_line() {
        let text = "alpha beta gamma DELTA epsilon zeta eta";
        for (characters, expected, removed) in [
            (0, "alpha beta gamma\n\nepsilon zeta eta", 7),
            (1, "alpha beta gamma\n\nepsilon zeta eta", 7),
            (2, "alpha beta\n\nzeta eta", 21),
            (7, "alpha beta\n\nzeta eta", 21),
            (9, "alpha\n\nzeta eta", 26),
            (10, "alpha\n\neta", 31),
            (15, "", 39),
            (500, "", 39),
        ] {
            let remains = remains(text, &["DELTA"], characters);
            assert_eq!((&*remains.text, remains.windows, remains.characters), (expected, 1, removed), "{characters}");
        }
    }

    #[test]
    fn windows_that_touch_or_share_words_are_one() {
        let text = "a ONE b c TWO d e f g h i j THREE k";
        let windows = |parts: &[&str], characters| {
            let remains = remains(text, parts, characters);
            (remains.text, remains.windows)
        };
        assert_eq!(windows(&["ONE", "TWO", "THREE"], 0), ("a\n\nb c\n\nd e f g h i j\n\nk".into(), 3));
        assert_eq!(windows(&["ONE", "TWO", "THREE"], 3), ("e f g h i".into(), 2));
        assert_eq!(windows(&["ONE b c TWO", "b c TWO d"], 0), ("a\n\ne f g h i j THREE k".into(), 1));
        assert_eq!(windows(&["ONE", "TWO", "THREE"], 50), (String::new(), 1));
    }

    #[test]
    fn marks_at_a_run_go_with_it_and_pieces_without_words_do_not_remain() {
        let remains = remains("naïve (RUN), … RUN. 漢字", &["RUN", "RUN"], 0);
        assert_eq!(remains, Remains { text: "naïve\n\n漢字".into(), windows: 2, characters: 15 });
    }

    #[test]
    fn a_text_without_white_space_goes_as_a_whole_in_time_that_grows_with_its_length() {
        let text = "RUN-".repeat(300_000);
        let runs = (0..300_000).map(|number| 4 * number..4 * number + 3);
        let remains = without(&text, runs, 200);
        assert_eq!((remains.windows, remains.characters, remains.text.is_empty()), (1, 1_200_000, true));
    }
}

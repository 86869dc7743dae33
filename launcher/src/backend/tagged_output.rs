//! Reads what `mpirun --tag-output` prints: lines of several ranks on one stream.
//!
//! A line begins with its tag, `[1,0]<stderr>:text`, or `[1,0]<stderr>: text` by an mpirun of series 5; mpirun's own lines
//! have none. mpirun prints what it has read so far, whole lines or not. A line that reaches it in several reads has its tag
//! at each of them, and output of another rank may come in between.

use std::collections::BTreeMap;

use common::topology::Rank;

use super::open_mpi::Series;
use crate::event::Stream;

/// Longest beginning of a line that is kept; what exceeds it is dropped, up to the last piece.
const BEGUN_BYTES_MAX: usize = 64 << 10;

/// Puts the lines of each rank together.
#[derive(Debug)]
pub struct TaggedOutput {
    /// What follows the stream's name in a tag.
    end: &'static str,
    /// Beginnings of lines that are not complete yet.
    begun: BTreeMap<Rank, String>,
}

impl TaggedOutput {
    /// Starts with the first line of an mpirun of `series`.
    pub fn new(series: Series) -> Self {
        let end = match series {
            Series::Four => OF_SERIES_4,
            Series::Five => ">: ",
        };
        TaggedOutput { end, begun: BTreeMap::new() }
    }

    /// Returns the line that `line`, without its line end, completes: its rank, or `None` for mpirun itself, and its text.
    pub fn complete(&mut self, line: &str) -> (Option<Rank>, String) {
        let Some((start, mut rank, mut rest)) = next_tag(line, self.end) else { return (None, line.to_owned()) };
        if start > 0 {
            // mpirun's own words, up to where output of a rank came between them.
            self.begin(rank, rest);
            return (None, line[..start].to_owned());
        }
        while let Some((end, next, after)) = next_tag(rest, self.end) {
            self.begin(rank, &rest[..end]);
            (rank, rest) = (next, after);
        }
        (Some(rank), self.begun.remove(&rank).unwrap_or_default() + rest)
    }

    /// Appends to the incomplete line of `rank`, as far as there is room.
    fn begin(&mut self, rank: Rank, text: &str) {
        let begun = self.begun.entry(rank).or_default();
        let room = BEGUN_BYTES_MAX.saturating_sub(begun.len());
        begun.push_str(&text[..text.floor_char_boundary(room)]);
    }

    /// Returns the lines that were never completed, once all ranks have ended.
    pub fn rest(self) -> impl Iterator<Item = (Rank, String)> {
        self.begun.into_iter().filter(|(_, text)| !text.is_empty())
    }
}

/// Splits a whole line into its rank and its stream, if it has a tag, and its text.
pub fn split_tag(line: &str) -> (Option<(Rank, Stream)>, &str) {
    match next_tag(line, OF_SERIES_4) {
        Some((0, rank, text)) => {
            let tag = line.strip_suffix(text).unwrap_or(line);
            let stream = if tag.contains("]<stderr") { Stream::Err } else { Stream::Out };
            (Some((rank, stream)), text)
        }
        _ => (None, line),
    }
}

/// End of a tag of series 4.
const OF_SERIES_4: &str = ">:";

/// Finds the first tag in `text` that ends in `end`, and returns its position, its rank, and what follows it. Ranks are of
/// job 1, the only one that mpirun starts.
fn next_tag<'t>(text: &'t str, end: &str) -> Option<(usize, Rank, &'t str)> {
    let tag_at = |start: usize| {
        let (rank, rest) = text[start..].strip_prefix("[1,")?.split_once("]<std")?;
        let rest = rest.strip_prefix("out").or_else(|| rest.strip_prefix("err"))?;
        // Spaces at the end of a line are gone, also those of a tag before an empty text.
        let rest = rest.strip_prefix(end).or_else(|| (rest == end.trim_end()).then_some(""))?;
        Some((start, Rank(rank.parse().ok()?), rest))
    };
    text.match_indices("[1,").find_map(|(start, _)| tag_at(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(lines: &[&str]) -> Vec<(Option<u32>, String)> {
        complete_of(Series::Four, lines)
    }

    fn complete_of(series: Series, lines: &[&str]) -> Vec<(Option<u32>, String)> {
        let mut output = TaggedOutput::new(series);
        let completed = lines.iter().map(|line| output.complete(line));
        completed.map(|(rank, text)| (rank.map(|rank| rank.0), text)).collect()
    }

    #[test]
    fn tags_name_the_rank_and_go() {
        for (line, rank, text) in [
            ("[1,0]<stdout>:loss 3", 0, "loss 3"),
            ("[1,12]<stderr>:[2,3]<stdout>:x", 12, "[2,3]<stdout>:x"),
            ("[1,3]<stderr>:", 3, ""),
            ("[1,3]<stderr>:in [1,3]<stderr>:parts[1,3]<stderr>:", 3, "in parts"),
            ("[1,3]<stderr>:a list [1,2] of [1,x]<stderr>:", 3, "a list [1,2] of [1,x]<stderr>:"),
        ] {
            assert_eq!(complete(&[line]), [(Some(rank), text.to_owned())]);
        }
        for own in ["mpirun noticed that", "[vm:123] something", ""] {
            assert_eq!(complete(&[own]), [(None, own.to_owned())]);
        }
    }

    #[test]
    fn a_tag_of_series_5_ends_in_a_space_that_is_none_of_the_ranks() {
        let lines = [
            "[1,0]<stdout>: loss 3",
            "[1,1]<stderr>:   indented",
            "[1,1]<stderr>: thre[1,0]<stdout>: x",
            "[1,1]<stderr>: ads",
            "[1,0]<stdout>:",
        ];
        let expected = [(0, "loss 3"), (1, "  indented"), (0, "x"), (1, "threads"), (0, "")];
        assert_eq!(complete_of(Series::Five, &lines), expected.map(|(rank, text)| (Some(rank), text.to_owned())));
    }

    #[test]
    fn a_line_that_another_comes_between_is_whole_again() {
        let lines = ["[1,0]<stdout>:thre[1,1]<stdout>:threads of 1", "[1,0]<stdout>:ads of 0", "[1,0]<stdout>:next"];
        let expected = [(Some(1), "threads of 1"), (Some(0), "threads of 0"), (Some(0), "next")];
        assert_eq!(complete(&lines), expected.map(|(rank, text)| (rank, text.to_owned())));
        let lines = ["mpirun says[1,0]<stderr>:be", "[1,0]<stderr>:gun"];
        assert_eq!(complete(&lines), [(None, "mpirun says".to_owned()), (Some(0), "begun".to_owned())]);
    }

    #[test]
    fn a_line_that_is_never_completed_does_not_grow_for_ever() {
        let mut output = TaggedOutput::new(Series::Four);
        for _ in 0..100 {
            output.complete(&format!("mpirun says[1,0]<stdout>:{}", "µ".repeat(1000)));
        }
        let rest: Vec<_> = output.rest().collect();
        assert_eq!((rest[0].0, rest[0].1.len()), (Rank(0), BEGUN_BYTES_MAX));
    }

    #[test]
    fn what_never_ends_is_the_rest() {
        let mut output = TaggedOutput::new(Series::Four);
        output.complete("[1,0]<stdout>:last wor[1,1]<stdout>:x");
        assert_eq!(output.rest().collect::<Vec<_>>(), [(Rank(0), "last wor".to_owned())]);
    }
}

//! Units of work: sequences that are scored in one forward pass, and how units are spread over the ranks.
//!
//! One item has few tokens, and a pass of few tokens spends its time on reading weights: a pass takes several items. Which ones is
//! settled by the task and its settings alone. Its items are divided into blocks of [`BLOCK_ITEMS`], and a unit takes neighbours
//! of one block as long as they have at most [`PASS_ROWS`] rows. The digits of a score thus depend on its block: not on ranks,
//! limits, other tasks, or on what was scored before a job was killed. If a limit ends within a block, the rest of the block is scored, too,
//! and left out of the results.
//!
//! Choices of an item share their context, which the pass computes once.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::ops::Range;

use common::topology::{Rank, WorldSize};
use evaluation::{Key, Sequence};

use super::questions::{BLOCK_ITEMS, Questions};
use crate::model::packed::rows_of_group;

/// Rows that a pass of several items has at most. Another number changes digits, so it takes another
/// [`VERSION`](evaluation::part::VERSION) of saved scores.
const PASS_ROWS: usize = 1024;
/// Rows that a pass of several sequences of one item has at most: endings of a context that fills a pass share it all the same.
const ITEM_ROWS: usize = 2 * PASS_ROWS;

/// Sequences that are scored together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Index of the task.
    pub task: usize,
    /// Indices of the sequences among all of the task, those behind the limit included.
    pub sequences: Range<usize>,
    /// Tokens that the model is fed, and logits that are computed: what the unit costs.
    pub cost: u64,
}

/// Neighbouring sequences of one item, which share a beginning.
struct Group {
    item: usize,
    sequences: Range<usize>,
    rows: usize,
}

/// Divides the sequences of all tasks into units, without those that are wholly behind a limit.
pub fn units_of(questions: &[Questions]) -> Vec<Unit> {
    let of_task = |(task, questions): (usize, &Questions)| {
        let asked = questions.sequences.sequences.len();
        units(task, &questions.all()).into_iter().filter(move |unit| unit.sequences.start < asked)
    };
    questions.iter().enumerate().flat_map(of_task).collect()
}

/// Divides all sequences of task number `task` into units. Each has at most [`PASS_ROWS`] rows, or is of one item.
fn units(task: usize, all: &[&Sequence]) -> Vec<Unit> {
    let mut units: Vec<Range<usize>> = Vec::new();
    let mut last = Group { item: usize::MAX, sequences: 0..0, rows: 0 };
    for mut group in groups(all) {
        // Groups of one item did not fit into one.
        let is_neighbour = group.item != last.item && group.item / BLOCK_ITEMS == last.item / BLOCK_ITEMS;
        match units.last_mut() {
            Some(unit) if is_neighbour && last.rows + group.rows <= PASS_ROWS => {
                unit.end = group.sequences.end;
                group.rows += last.rows;
            }
            _ => units.push(group.sequences.clone()),
        }
        last = group;
    }
    units.into_iter().map(|sequences| Unit { task, cost: cost(&all[sequences.clone()]), sequences }).collect()
}

/// Divides sequences into groups of one item that have at most [`ITEM_ROWS`] rows, or are a single sequence.
fn groups(all: &[&Sequence]) -> Vec<Group> {
    let mut groups = Vec::new();
    let mut start = 0;
    while start < all.len() {
        let item = all[start].key.item;
        let mut end = start + 1;
        while end < all.len() && all[end].key.item == item && rows(&all[start..=end]) <= ITEM_ROWS {
            end += 1;
        }
        groups.push(Group { item: item as usize, sequences: start..end, rows: rows(&all[start..end]) });
        start = end;
    }
    groups
}

/// Returns the rows of sequences of one item in one group.
fn rows(group: &[&Sequence]) -> usize {
    rows_of_group(&group.iter().map(|sequence| sequence.input()).collect::<Vec<_>>())
}

/// Returns the rows and the targets of a unit's sequences.
fn cost(members: &[&Sequence]) -> u64 {
    let rows: usize = by_item(members).map(rows).sum();
    let targets: usize = members.iter().map(|sequence| sequence.targets().len()).sum();
    (rows + targets) as u64
}

/// Divides a unit's sequences into its groups.
pub fn by_item<'a, 's>(members: &'a [&'s Sequence]) -> impl Iterator<Item = &'a [&'s Sequence]> {
    members.chunk_by(|left, right| left.key.item == right.key.item)
}

/// Returns the indices of the units of which a sequence that is asked for has no score.
pub fn unscored(units: &[Unit], questions: &[Questions], scored: &[HashSet<Key>]) -> Vec<usize> {
    let is_scored = |unit: &Unit| {
        questions[unit.task].asked(&unit.sequences).all(|sequence| scored[unit.task].contains(&sequence.key))
    };
    (0..units.len()).filter(|index| !is_scored(&units[*index])).collect()
}

/// Returns which of the units `todo` this rank computes, ascending: dear ones first, each to the rank that has least so far.
pub fn share(units: &[Unit], todo: &[usize], rank: Rank, world_size: WorldSize) -> Vec<usize> {
    let mut by_cost = todo.to_vec();
    by_cost.sort_by_key(|index| (Reverse(units[*index].cost), *index));
    let mut loads: BinaryHeap<Reverse<(u64, usize)>> =
        (0..world_size.get() as usize).map(|r| Reverse((0, r))).collect();
    let mut mine = Vec::new();
    for index in by_cost {
        let Some(Reverse((load, least))) = loads.pop() else { break };
        if least == rank.index() {
            mine.push(index);
        }
        loads.push(Reverse((load + units[index].cost, least)));
    }
    mine.sort_unstable();
    mine
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn sequence(item: u32, request: u32, ids: &[u16]) -> Sequence {
        let key = Key { item, request, window: 0 };
        Sequence { key, ids: ids.to_vec(), first_scored: ids.len() - 1, barred: Arc::from([]) }
    }

    fn ids(beginning: u16, tokens: usize) -> Vec<u16> {
        (0..tokens as u16).map(|at| beginning + at).collect()
    }

    fn found(all: &[Sequence]) -> Vec<(Range<usize>, u64)> {
        units(3, &all.iter().collect::<Vec<_>>()).into_iter().map(|unit| (unit.sequences, unit.cost)).collect()
    }

    #[test]
    fn neighbours_of_a_block_share_a_unit_and_choices_their_beginning() {
        let all = [
            sequence(0, 0, &[1, 2, 3, 4]),
            sequence(0, 1, &[1, 2, 5]),
            sequence(0, 2, &[1, 2, 6, 7]),
            sequence(1, 0, &[1, 2]),
            sequence(15, 0, &[5, 6]),
            sequence(16, 0, &[1, 2]),
        ];
        // Inputs 1 2 3, 1 2 and 1 2 6: 1 is shared, for each keeps its last token.
        assert_eq!(found(&all), [(0..5, 6 + 3 + 1 + 1 + 1 + 1), (5..6, 1 + 1)]);
    }

    #[test]
    fn a_unit_has_no_more_rows_than_a_pass_and_an_item_that_fits_is_not_divided() {
        let all = [
            sequence(0, 0, &ids(0, 601)),
            sequence(1, 0, &ids(0, 301)),
            sequence(1, 1, &ids(1000, 301)),
            sequence(2, 0, &ids(0, 201)),
            // Two choices with a long context, and two that fit into no pass together.
            sequence(3, 0, &ids(0, 1001)),
            sequence(3, 1, &[ids(0, 990), ids(2000, 61)].concat()),
            sequence(4, 0, &ids(0, 1101)),
            sequence(4, 1, &ids(2000, 1001)),
            sequence(5, 0, &ids(0, 21)),
        ];
        let expected = [(0..1, 601), (1..4, 803), (4..6, 990 + 10 + 60 + 2), (6..7, 1101), (7..9, 1000 + 20 + 2)];
        assert_eq!(found(&all), expected);
    }

    #[test]
    fn an_item_has_the_same_neighbours_in_its_pass_whatever_comes_before_or_behind_its_block() {
        let all: Vec<Sequence> =
            (0..64).map(|item| sequence(item, 0, &ids(item as u16, 30 + item as usize * 37 % 400))).collect();
        let whole = found(&all);
        let by_block = all.chunks(BLOCK_ITEMS).enumerate().flat_map(|(block, all)| {
            let first = block * BLOCK_ITEMS;
            found(all).into_iter().map(move |(range, cost)| (range.start + first..range.end + first, cost))
        });
        assert_eq!(by_block.collect::<Vec<_>>(), whole);
        assert!(whole.len() < 40, "{whole:?}");
    }

    #[test]
    fn every_unit_has_one_rank_and_loads_differ_by_no_more_than_a_unit() {
        let unit = |cost| Unit { task: 0, sequences: 0..1, cost };
        let units: Vec<Unit> = [7, 1, 9, 3, 3, 8, 2, 40, 5].map(unit).to_vec();
        let todo: Vec<usize> = (0..units.len()).filter(|index| *index != 3).collect();
        for ranks in 1..=4 {
            let world = WorldSize::new(ranks).unwrap();
            let shares: Vec<_> = (0..ranks).map(|rank| share(&units, &todo, Rank(rank), world)).collect();
            let mut all = shares.concat();
            all.sort_unstable();
            assert_eq!(all, todo);
            let load = |share: &Vec<usize>| share.iter().map(|index| units[*index].cost).sum::<u64>();
            let loads: Vec<u64> = shares.iter().map(load).collect();
            assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 40, "{loads:?}");
        }
    }
}

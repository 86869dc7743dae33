//! Units of work: sequences that are scored in one forward pass, and how units are spread over the ranks.
//!
//! A unit is made of neighbouring sequences of one item, so its digits depend on that item alone: not on other items, ranks,
//! limits, or on what was scored before a job was killed. Choices of an item share their context, which the pass computes once.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::ops::Range;

use common::topology::{Rank, WorldSize};
use evaluation::{Key, Sequence};

use crate::model::packed::packed_rows;

/// Sequences that are scored together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Index of the task.
    pub task: usize,
    /// Indices of the sequences in their task.
    pub sequences: Range<usize>,
    /// Tokens that the model is fed, and logits that are computed: what the unit costs.
    pub cost: u64,
}

/// Divides the sequences of task number `task` into units. A unit has at most `rows_max` rows, unless it is one sequence.
pub fn units(task: usize, sequences: &[Sequence], rows_max: usize) -> Vec<Unit> {
    let mut units = Vec::new();
    let mut start = 0;
    while start < sequences.len() {
        let mut end = start + 1;
        while end < sequences.len()
            && sequences[end].key.item == sequences[start].key.item
            && rows(&sequences[start..=end]) <= rows_max
        {
            end += 1;
        }
        let members = &sequences[start..end];
        let targets: usize = members.iter().map(|sequence| sequence.targets().len()).sum();
        units.push(Unit { task, sequences: start..end, cost: (rows(members) + targets) as u64 });
        start = end;
    }
    units
}

fn rows(sequences: &[Sequence]) -> usize {
    packed_rows(&sequences.iter().map(Sequence::input).collect::<Vec<_>>())
}

/// Returns the indices of the units that hold a sequence without a score.
pub fn unscored(units: &[Unit], sequences: &[&[Sequence]], scored: &[HashSet<Key>]) -> Vec<usize> {
    let is_scored = |unit: &Unit| {
        let members = &sequences[unit.task][unit.sequences.clone()];
        members.iter().all(|sequence| scored[unit.task].contains(&sequence.key))
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

    /// An item of three choices, one of a single text, and one of two choices that are too long for one unit.
    fn sequences() -> Vec<Sequence> {
        vec![
            sequence(0, 0, &[1, 2, 3, 4]),
            sequence(0, 1, &[1, 2, 5]),
            sequence(0, 2, &[1, 2, 6, 7]),
            sequence(1, 0, &[1, 2]),
            sequence(2, 0, &[1, 2, 3, 4, 5, 6, 7]),
            sequence(2, 1, &[9, 2, 3, 4, 5, 6, 7]),
        ]
    }

    #[test]
    fn choices_of_an_item_are_one_unit_and_long_ones_are_not() {
        let found: Vec<_> = units(3, &sequences(), 8).into_iter().map(|unit| (unit.sequences, unit.cost)).collect();
        // Inputs 1 2 3, 1 2 and 1 2 6: 1 is shared, for each keeps its last token.
        assert_eq!(found, [(0..3, 6 + 3), (3..4, 1 + 1), (4..5, 6 + 1), (5..6, 6 + 1)]);
    }

    #[test]
    fn an_item_is_in_one_unit_whatever_comes_before_or_after_it() {
        let all = sequences();
        let alone = units(0, &all[0..3], 8);
        assert_eq!(alone, units(0, &all, 8)[..1]);
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

    #[test]
    fn a_unit_of_which_one_score_is_missing_is_computed_again() {
        let all = sequences();
        let units = units(0, &all, 8);
        let mut scored: HashSet<Key> = all.iter().map(|sequence| sequence.key).collect();
        assert_eq!(unscored(&units, &[&all], std::slice::from_ref(&scored)), [0_usize; 0]);
        scored.remove(&all[1].key);
        scored.remove(&all[5].key);
        assert_eq!(unscored(&units, &[&all], &[scored]), [0, 3]);
    }
}

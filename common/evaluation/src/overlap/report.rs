//! The overlap of a task's items with what a filter holds.

use serde::{Deserialize, Serialize};

use crate::item::Item;
use crate::overlap::{Filter, grams};

/// Overlap of an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemOverlap {
    /// Id of the item.
    pub id: String,
    /// Its grams. A text of fewer than eight words has none.
    pub grams: u64,
    /// Grams that the filter holds.
    pub found: u64,
}

/// Overlap of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskOverlap {
    /// Name of the task.
    pub task: String,
    /// Its items, in their order.
    pub items: Vec<ItemOverlap>,
}

/// Overlap of a task as a row of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OverlapSummary {
    /// Name of the task.
    pub task: String,
    /// URL of its data file.
    pub data: String,
    /// Training data, or the filter of it, as it was named.
    pub with: String,
    /// What identifies the training data by their contents: [`Filter::identity`] of their filter.
    pub filter_sha256: String,
    /// Number of items.
    pub items: usize,
    /// Number of items that are too short to be looked for.
    pub without_grams: usize,
    /// Number of items with a gram that was found.
    pub overlapping: usize,
    /// Grams of all items.
    pub grams: u64,
    /// Grams that were found.
    pub found: u64,
    /// Share of grams that were found, from 0 to 1; `None` of no grams.
    pub share: Option<f64>,
    /// Item of which the largest share was found, the first of several; `None` if nothing was found.
    pub largest: Option<ItemOverlap>,
}

impl ItemOverlap {
    /// Returns whether any gram was found. The paper leaves out such items of LAMBADA.
    pub fn overlaps(&self) -> bool {
        self.found > 0
    }

    /// Returns whether a larger share of this item was found than of `other`. Both must have grams.
    fn exceeds(&self, other: &ItemOverlap) -> bool {
        u128::from(self.found) * u128::from(other.grams) > u128::from(other.found) * u128::from(self.grams)
    }
}

impl TaskOverlap {
    /// Returns the number of grams of all items.
    pub fn grams(&self) -> u64 {
        self.items.iter().map(|item| item.grams).sum()
    }

    /// Returns the number of grams that were found.
    pub fn found(&self) -> u64 {
        self.items.iter().map(|item| item.found).sum()
    }

    /// Returns the share of grams that were found, which the paper's table has in per cent. There is none of no grams.
    pub fn share(&self) -> Option<f64> {
        (self.grams() > 0).then(|| self.found() as f64 / self.grams() as f64)
    }

    /// Returns the number of items with a gram that was found.
    pub fn overlapping(&self) -> usize {
        self.items.iter().filter(|item| item.overlaps()).count()
    }

    /// Returns the number of items that are too short to be looked for.
    pub fn without_grams(&self) -> usize {
        self.items.iter().filter(|item| item.grams == 0).count()
    }

    /// Returns the item of which the largest share was found, the first of several.
    pub fn largest(&self) -> Option<&ItemOverlap> {
        let overlapping = self.items.iter().filter(|item| item.overlaps());
        overlapping.reduce(|largest, item| if item.exceeds(largest) { item } else { largest })
    }

    /// Returns the row of the table, for the data file `data` and training data called `with` of the identity `filter_sha256`.
    pub fn summary(&self, data: &str, (with, filter_sha256): (&str, &str)) -> OverlapSummary {
        OverlapSummary {
            task: self.task.clone(),
            data: data.to_owned(),
            with: with.to_owned(),
            filter_sha256: filter_sha256.to_owned(),
            items: self.items.len(),
            without_grams: self.without_grams(),
            overlapping: self.overlapping(),
            grams: self.grams(),
            found: self.found(),
            share: self.share(),
            largest: self.largest().cloned(),
        }
    }
}

/// Looks for the grams of each item, with its right choice, in `filter`.
pub fn overlap_of(task: &str, items: &[Item], filter: &Filter) -> TaskOverlap {
    let item = |item: &Item| {
        let (mut all, mut found) = (0, 0);
        grams(&item.text(), filter.seed(), |gram| {
            all += 1;
            found += u64::from(filter.contains(gram));
        });
        ItemOverlap { id: item.id.clone(), grams: all, found }
    };
    TaskOverlap { task: task.to_owned(), items: items.iter().map(item).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::{Judgement, Length, Request};

    fn item(id: &str, context: &str) -> Item {
        let requests = ["wrong", "right"].map(|choice| Request::continuation(context, format!(" {choice}"))).to_vec();
        let lengths = ["wrong", "right"].map(Length::of).to_vec();
        Item { id: id.to_owned(), requests, judgement: Judgement::Choice { gold: 1, lengths } }
    }

    #[test]
    fn overlap_is_counted_by_item_with_its_right_choice() {
        let mut filter = Filter::new(100, 1).unwrap();
        filter.insert_text(
            "It was said: One two, three four FIVE six seven right. Two three four five six seven eight wrong",
        );
        let items = [
            item("1", "one two three four five six seven"),
            item("2", "two three four five six seven eight"),
            item("3", "too short"),
            item("4", "zero one two three four five six seven"),
        ];
        let overlap = overlap_of("cbt_cn", &items, &filter);
        let counts: Vec<(u64, u64)> = overlap.items.iter().map(|item| (item.grams, item.found)).collect();
        assert_eq!(counts, [(1, 1), (1, 0), (0, 0), (2, 1)]);
        assert_eq!((overlap.share(), overlap.overlapping(), overlap.without_grams()), (Some(0.5), 2, 1));
        assert_eq!(overlap_of("cbt_cn", &items[2..3], &filter).share(), None);
    }

    #[test]
    fn the_row_of_a_task_names_the_item_of_the_largest_share_and_the_first_of_equals() {
        let item = |id: &str, grams, found| ItemOverlap { id: id.to_owned(), grams, found };
        let mut overlap = TaskOverlap {
            task: "ptb".to_owned(),
            items: vec![item("1", 0, 0), item("2", 40, 10), item("3", 4, 2), item("4", 8, 4), item("5", 9, 0)],
        };
        let summary = overlap.summary("file:///d", ("web", "5ea"));
        assert_eq!(summary.largest, Some(item("3", 4, 2)));
        assert_eq!((summary.with.as_str(), summary.filter_sha256.as_str()), ("web", "5ea"));
        assert_eq!((summary.items, summary.without_grams, summary.overlapping), (5, 1, 3));
        assert_eq!((summary.grams, summary.found), (61, 16));
        overlap.items.retain(|item| item.found == 0);
        assert_eq!(overlap.summary("file:///d", ("web", "5ea")).largest, None);
    }
}

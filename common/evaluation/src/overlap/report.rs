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

impl ItemOverlap {
    /// Returns whether any gram was found. The paper leaves out such items of LAMBADA.
    pub fn overlaps(&self) -> bool {
        self.found > 0
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
}

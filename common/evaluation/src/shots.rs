//! Shots: other items of a task in front of an item, with their right answers.
//!
//! The shots of item i are `random.Random(seed + i).sample(others, shots)` of Python, where the others are all items of the file
//! but this one, in their order: nanochat draws them so, with a seed of 1234. Each is its text, context and right continuation,
//! and two line ends.

use crate::item::{Continuation, Item, Request};
use crate::python::PythonRandom;

/// Seed that nanochat has.
pub const SEED: u64 = 1234;

/// Most shots: what a context of any model here could hold.
const SHOTS_MAX: usize = 1000;

/// Why an item cannot have its shots.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShotsError {
    /// There are too few other items.
    #[error("{shots} shots for each item: expected at most {most}, with {items} items")]
    TooMany {
        /// Shots that were asked for.
        shots: usize,
        /// Shots that are possible.
        most: usize,
        /// Items in the file.
        items: usize,
    },
}

/// Puts `shots` other items in front of the context of each. Takes all items of the file: those that are left out by a limit
/// are others, too.
///
/// # Errors
/// Returns an error if there are too few other items.
pub fn with_shots(items: Vec<Item>, shots: usize, seed: u64) -> Result<Vec<Item>, ShotsError> {
    if shots == 0 {
        return Ok(items);
    }
    let others = items.len().saturating_sub(1);
    let most = others.min(SHOTS_MAX);
    let population = u32::try_from(others).ok().filter(|_| shots <= most);
    let Some(population) = population else {
        return Err(ShotsError::TooMany { shots, most, items: items.len() });
    };
    let texts: Vec<String> = items.iter().map(Item::text).collect();
    let with = |(index, mut item): (usize, Item)| {
        let drawn = PythonRandom::new(seed.wrapping_add(index as u64)).sample(population, shots as u32);
        let other = |drawn: u32| drawn as usize + usize::from(drawn as usize >= index);
        let front: String = drawn.into_iter().map(|drawn| format!("{}\n\n", texts[other(drawn)])).collect();
        for request in &mut item.requests {
            if let Request::Continuation(Continuation { context, .. }) = request {
                context.insert_str(0, &front);
            }
        }
        item
    };
    Ok(items.into_iter().enumerate().map(with).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::{Judgement, Length};

    fn items(count: usize) -> Vec<Item> {
        let item = |index: usize| Item {
            id: index.to_string(),
            requests: ["no", "yes"]
                .map(|choice| Request::continuation(format!("{index}?"), format!(" {choice}")))
                .to_vec(),
            judgement: Judgement::Choice { gold: 1, lengths: ["no", "yes"].map(Length::of).to_vec() },
        };
        (0..count).map(item).collect()
    }

    #[test]
    fn shots_are_other_items_with_their_right_answers() {
        let shown = with_shots(items(4), 2, SEED).unwrap();
        // [[i for i in range(4) if i != n][j] for j in random.Random(1234 + n).sample(range(3), 2)]
        let expected = [[2, 1], [3, 2], [3, 1], [0, 1]];
        for (item, others) in shown.iter().zip(expected) {
            let front: String = others.map(|other| format!("{other}? yes\n\n")).concat();
            let requests =
                ["no", "yes"].map(|choice| Request::continuation(format!("{front}{}?", item.id), format!(" {choice}")));
            assert_eq!(item.requests, requests);
        }
    }

    #[test]
    fn an_item_is_no_shot_of_its_own_and_none_is_drawn_twice() {
        for (index, item) in with_shots(items(30), 7, 3).unwrap().iter().enumerate() {
            let Request::Continuation(request) = &item.requests[0] else { panic!("{item:?}") };
            let mut others: Vec<&str> = request.context.split("? yes\n\n").collect();
            assert_eq!(others.pop(), Some(&*format!("{index}?")));
            assert!(!others.contains(&&*index.to_string()));
            others.sort_unstable();
            others.dedup();
            assert_eq!(others.len(), 7);
        }
    }

    #[test]
    fn no_shots_change_nothing_and_too_many_are_refused() {
        assert_eq!(with_shots(items(1), 0, SEED).unwrap(), items(1));
        let error = with_shots(items(3), 3, SEED).unwrap_err();
        assert_eq!(error, ShotsError::TooMany { shots: 3, most: 2, items: 3 });
        assert!(with_shots(items(0), usize::MAX, SEED).is_err());
    }
}

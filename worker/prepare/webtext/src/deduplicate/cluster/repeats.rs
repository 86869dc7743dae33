//! Paragraphs that are there before.

use crate::deduplicate::record::{Occurrence, Repeat};

/// Paragraphs whose key an earlier document has, or an earlier place in their own, in the order of keys. What is first stays.
pub struct Repeats<I> {
    occurrences: I,
    first: Option<Occurrence>,
}

impl<I> Repeats<I> {
    /// Begins with occurrences that are sorted by key, document and place.
    pub fn new(occurrences: I) -> Self {
        Repeats { occurrences, first: None }
    }
}

impl<I: Iterator<Item = Result<Occurrence, E>>, E> Iterator for Repeats<I> {
    type Item = Result<Repeat, E>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Occurrence { key, id, number } = match self.occurrences.next()? {
                Ok(occurrence) => occurrence,
                Err(error) => return Some(Err(error)),
            };
            match self.first {
                Some(first) if first.key == key => {
                    let repeat = Repeat { id, number, first_id: first.id, first_number: first.number };
                    return Some(Ok(repeat));
                }
                _ => self.first = Some(Occurrence { key, id, number }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_paragraphs_is_named_and_is_no_repeat_itself() {
        let occurrence = |(key, id, number)| Ok::<_, String>(Occurrence { key, id, number });
        let occurrences = [(1, 0, 0), (2, 0, 3), (2, 0, 5), (2, 4, 1), (3, 4, 0), (4, 1, 1), (4, 2, 0)].map(occurrence);
        let repeats: Vec<Repeat> = Repeats::new(occurrences.into_iter()).map(Result::unwrap).collect();
        let repeat = |(id, number, first_id, first_number)| Repeat { id, number, first_id, first_number };
        assert_eq!(repeats, [(0, 5, 0, 3), (4, 1, 0, 3), (2, 0, 1, 1)].map(repeat));
    }
}

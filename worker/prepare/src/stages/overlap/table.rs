//! The grams of evaluation sets: which they are, and which item each is of.

use evaluation::overlap::Gram;

/// Grams to a bucket, about.
const BUCKET_GRAMS: usize = 4;

/// A number for each gram, from 0 on, in the order of the grams.
#[derive(Debug)]
pub struct GramTable {
    /// Grams in ascending order.
    grams: Vec<u128>,
    /// Number of the first item that has the gram.
    items: Vec<u32>,
    /// Bits of a gram, from the highest, that are the number of its bucket.
    bits: u32,
    /// For each bucket the number of its first gram, and the number of all grams at the end.
    starts: Vec<u32>,
}

impl GramTable {
    /// Makes the table of `pairs` of a gram and the number of an item that has it. There are fewer than 2^32.
    pub fn new(mut pairs: Vec<(u128, u32)>) -> Self {
        pairs.sort_unstable();
        pairs.dedup_by_key(|(gram, _)| *gram);
        let bits = (pairs.len() / BUCKET_GRAMS).max(1).ilog2();
        let (grams, items): (Vec<u128>, Vec<u32>) = pairs.into_iter().unzip();
        let starts_at = |bucket: u128| grams.partition_point(|gram| bucket_of(*gram, bits) < bucket) as u32;
        let starts = (0..=1_u128 << bits).map(starts_at).collect();
        GramTable { grams, items, bits, starts }
    }

    /// Returns the number of grams.
    pub fn len(&self) -> usize {
        self.grams.len()
    }

    /// Returns the number of a gram; `None` where no item has it.
    pub fn number(&self, gram: Gram) -> Option<u32> {
        let bucket = bucket_of(gram.0, self.bits) as usize;
        let (start, end) = (self.starts[bucket] as usize, self.starts[bucket + 1] as usize);
        let at = self.grams[start..end].binary_search(&gram.0).ok()?;
        Some((start + at) as u32)
    }

    /// Returns the number of the first item that has the gram of this number.
    pub fn item(&self, number: u32) -> u32 {
        self.items[number as usize]
    }
}

/// Returns the number that the highest `bits` of a gram are.
fn bucket_of(gram: u128, bits: u32) -> u128 {
    gram.checked_shr(u128::BITS - bits).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_gram_is_found_with_its_first_item_and_no_other_is() {
        for count in [0_u32, 1, 2, 7, 8, 9, 1000] {
            // Odd ones are there, twice.
            let gram = |number: u32| u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
            let pairs = (0..count).flat_map(|n| [(gram(2 * n + 1), n + 5), (gram(2 * n + 1), n)]).collect();
            let table = GramTable::new(pairs);
            assert_eq!(table.len(), count as usize);
            let mut numbers = Vec::new();
            for number in 0..count {
                let found = table.number(Gram(gram(2 * number + 1))).unwrap();
                assert_eq!(table.item(found), number);
                assert_eq!(table.number(Gram(gram(2 * number))), None);
                numbers.push(found);
            }
            numbers.sort_unstable();
            assert!(numbers.into_iter().eq(0..count));
        }
        let ends = GramTable::new(vec![(0, 1), (u128::MAX, 2)]);
        assert_eq!(
            (ends.number(Gram(0)), ends.number(Gram(u128::MAX)), ends.number(Gram(1))),
            (Some(0), Some(1), None)
        );
    }
}

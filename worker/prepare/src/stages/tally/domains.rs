//! Counts of domains in bounded memory, as Misra and Gries count, in the form that can be merged (Agarwal and others, "Mergeable
//! Summaries", 2012).
//!
//! Counts are exact while there are at most [`COUNTED_MAX`] domains. When there are more, the count of the highest after the first
//! [`KEPT`] is subtracted from all, and domains of which nothing is left are forgotten. That takes this number from more than
//! [`KEPT`] counts. So all subtractions together, by which a count may be too low, are less than a share of `1 / KEPT` of all
//! documents.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Most domains that are counted at once, and so the most that a unit's record has.
pub const COUNTED_MAX: usize = 1 << 15;
/// Most domains that are left when some are forgotten.
const KEPT: usize = COUNTED_MAX / 2;
/// Bounds of all counts outside tests.
const BOUNDS: Bounds = Bounds { counted_max: COUNTED_MAX, kept: KEPT };

/// Numbers of domains.
#[derive(Clone, Copy)]
struct Bounds {
    /// Most that are counted at once.
    counted_max: usize,
    /// Most that are left when some are forgotten.
    kept: usize,
}

/// Number of documents by domain.
///
/// Sums of exact counts are exact, in any order. Once domains are forgotten, a sum depends on the order of its parts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domains {
    /// Counts. None is too high, and none is too low by more than `uncounted`. A domain that is not listed counts as 0.
    #[serde(rename = "domains")]
    counts: BTreeMap<String, u64>,
    /// Number of documents that a domain may have beyond its count; 0 where counts are exact.
    #[serde(rename = "domains_uncounted", default, skip_serializing_if = "is_zero")]
    uncounted: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Domains {
    /// Counts a document of `domain`.
    pub fn count(&mut self, domain: String) {
        self.count_within(domain, BOUNDS);
    }

    /// Adds the counts of `other`.
    pub fn add(&mut self, other: Domains) {
        self.add_within(other, BOUNDS);
    }

    /// Returns the number of documents that a domain may have beyond its count.
    pub fn uncounted(&self) -> u64 {
        self.uncounted
    }

    /// Returns every number in this.
    pub fn numbers(&self) -> impl Iterator<Item = u64> {
        self.counts.values().copied().chain([self.uncounted])
    }

    /// Returns the `most` domains of the highest counts, beginning with the highest; of equal counts, the first by name.
    pub fn most_frequent(&self, most: usize) -> Vec<(String, u64)> {
        let mut domains: Vec<(&String, &u64)> = self.counts.iter().collect();
        domains.sort_by(|(a, a_count), (b, b_count)| b_count.cmp(a_count).then_with(|| a.cmp(b)));
        domains.into_iter().take(most).map(|(domain, count)| (domain.clone(), *count)).collect()
    }

    /// Leaves the `most` domains of the highest counts, with these counts. To be done last: what is left cannot be added to
    /// others, since it does not say how frequent domains are that are not listed.
    pub fn keep_most_frequent(&mut self, most: usize) {
        if self.counts.len() > most {
            self.counts = self.most_frequent(most).into_iter().collect();
        }
    }

    fn count_within(&mut self, domain: String, bounds: Bounds) {
        self.put(domain, 1);
        self.forget(bounds);
    }

    fn add_within(&mut self, other: Domains, bounds: Bounds) {
        self.uncounted += other.uncounted;
        other.counts.into_iter().for_each(|(domain, count)| self.put(domain, count));
        self.forget(bounds);
    }

    fn put(&mut self, domain: String, count: u64) {
        *self.counts.entry(domain).or_default() += count;
    }

    /// Leaves few domains where there are too many.
    fn forget(&mut self, Bounds { counted_max, kept }: Bounds) {
        if self.counts.len() <= counted_max {
            return;
        }
        let mut counts: Vec<u64> = self.counts.values().copied().collect();
        let (_, after_kept, _) = counts.select_nth_unstable_by(kept, |a, b| b.cmp(a));
        let lost = *after_kept;
        self.uncounted += lost;
        self.counts.retain(|_, count| {
            *count = count.saturating_sub(lost);
            *count > 0
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bounds at which domains are forgotten soon.
    const SMALL: Bounds = Bounds { counted_max: 8, kept: 4 };

    fn counted(numbers: &[u64]) -> Domains {
        let mut domains = Domains::default();
        numbers.iter().for_each(|number| domains.count_within(format!("{number:03}.example"), SMALL));
        domains
    }

    fn sum(one: &Domains, other: &Domains) -> Domains {
        let mut sum = one.clone();
        sum.add_within(other.clone(), SMALL);
        sum
    }

    fn exact(numbers: &[u64]) -> BTreeMap<String, u64> {
        let mut exact = BTreeMap::new();
        numbers.iter().for_each(|number| *exact.entry(format!("{number:03}.example")).or_default() += 1);
        exact
    }

    /// Few frequent numbers, and many rare ones.
    fn any_number() -> impl Strategy<Value = u64> {
        prop_oneof![0_u64..3, 0_u64..12, 0_u64..400]
    }

    proptest! {
        #[test]
        fn counts_are_within_their_bounds_however_parts_are_added(
            numbers in prop::collection::vec(any_number(), 0..300),
            cuts in prop::collection::vec(0_usize..300, 0..8),
        ) {
            let exact = exact(&numbers);
            let cuts = cuts.into_iter().map(|cut| cut.min(numbers.len()));
            let mut ends: Vec<usize> = cuts.chain([0, numbers.len()]).collect();
            ends.sort_unstable();
            let parts: Vec<Domains> = ends.windows(2).map(|ends| counted(&numbers[ends[0]..ends[1]])).collect();
            let from_left = parts.iter().fold(Domains::default(), |all, part| sum(&all, part));
            let from_right = parts.iter().rev().fold(Domains::default(), |all, part| sum(&all, part));
            let mut tree = parts.clone();
            while tree.len() > 1 {
                tree = tree.chunks(2).map(|pair| pair[1..].iter().fold(pair[0].clone(), |a, b| sum(&a, b))).collect();
            }
            for domains in [from_left, from_right, tree[0].clone(), counted(&numbers)] {
                prop_assert!(domains.counts.len() <= SMALL.counted_max);
                prop_assert!(domains.uncounted * (SMALL.kept as u64 + 1) <= numbers.len() as u64);
                for (domain, count) in &exact {
                    let counted = domains.counts.get(domain).copied().unwrap_or_default();
                    let bounds = counted..=counted + domains.uncounted;
                    prop_assert!(bounds.contains(count), "{} {} {:?}", domain, count, domains);
                }
                prop_assert!(domains.counts.keys().all(|domain| exact.contains_key(domain)));
                if exact.len() <= SMALL.counted_max {
                    prop_assert_eq!(&domains.counts, &exact);
                    prop_assert_eq!(domains.uncounted, 0);
                }
            }
        }
    }

    #[test]
    fn a_frequent_domain_is_found_among_more_rare_ones_than_are_counted() {
        // Two units, in each of which the frequent domain comes before and after the rare ones.
        let unit = |first: usize| {
            let mut domains = Domains::default();
            for number in first..first + 100_000 {
                domains.count(format!("{number}.example"));
                assert!(domains.counts.len() <= COUNTED_MAX);
                if number % 50 == 0 {
                    domains.count("frequent.example".to_owned());
                }
            }
            domains
        };
        let mut domains = unit(0);
        domains.add(unit(60_000));
        let (most, count) = domains.most_frequent(1).remove(0);
        assert_eq!(most, "frequent.example");
        assert!(domains.uncounted > 0 && domains.uncounted <= 204_000 / (KEPT as u64 + 1), "{}", domains.uncounted);
        assert!((count..=count + domains.uncounted).contains(&4000), "{count} {}", domains.uncounted);
    }

    #[test]
    fn the_most_frequent_domains_stay_with_their_counts() {
        let mut domains = Domains::default();
        (0..3000).for_each(|number| domains.put(format!("{number:04}.example"), number / 2 + 1));
        let expected = [("2998.example", 1500), ("2999.example", 1500), ("2996.example", 1499)];
        assert_eq!(domains.most_frequent(3), expected.map(|(domain, count)| (domain.to_owned(), count)));
        domains.keep_most_frequent(3);
        assert_eq!(domains.counts, BTreeMap::from(expected.map(|(domain, count)| (domain.to_owned(), count))));
        assert_eq!(domains.uncounted, 0);
    }

    #[test]
    fn exact_counts_are_stored_as_such() {
        let exact = counted(&[1, 1, 2]);
        let json = serde_json::to_string(&exact).unwrap();
        assert_eq!(json, r#"{"domains":{"001.example":2,"002.example":1}}"#);
        assert_eq!(serde_json::from_str::<Domains>(&json).unwrap(), exact);
        let bounded = counted(&(0..20).chain([0, 0, 0]).collect::<Vec<_>>());
        assert!(bounded.uncounted > 0);
        let json = serde_json::to_string(&bounded).unwrap();
        assert!(json.contains(&format!("\"domains_uncounted\":{}", bounded.uncounted)), "{json}");
        assert_eq!(serde_json::from_str::<Domains>(&json).unwrap(), bounded);
    }
}

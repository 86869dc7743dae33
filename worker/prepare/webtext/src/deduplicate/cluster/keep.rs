//! Which document of a cluster stays.

use std::iter::Peekable;

use serde::{Deserialize, Serialize};

use crate::deduplicate::record::{Cluster, Decision, Member};

/// Which document of a cluster stays. Of several that are equally good, the earliest does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// The one with the smallest number.
    #[default]
    Earliest,
    /// The one with the most bytes of text.
    Longest,
    /// The one with the largest number in this field. One without a number there is worse than all others.
    Best(String),
}

impl Keep {
    /// Returns the value of a document: of a cluster, the one with the largest stays. `number` returns the number that the document has
    /// in a field.
    pub fn value(&self, text_bytes: usize, number: impl FnOnce(&str) -> Option<f64>) -> u64 {
        match self {
            Keep::Earliest => 0,
            Keep::Longest => text_bytes as u64,
            Keep::Best(field) => number(field).map_or(0, ordered),
        }
    }
}

/// Returns a positive number that is the larger, the larger `number` is, so that any numbers can be compared as bits. Returns 0 for
/// NaN.
fn ordered(number: f64) -> u64 {
    const SIGN: u64 = 1 << 63;
    if number.is_nan() {
        return 0;
    }
    // Zero has two signs and is one number.
    let bits = (number + 0.0).to_bits();
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}

/// Clusters with the document that stays, sorted by cluster.
pub struct Clusters<I: Iterator> {
    members: Peekable<I>,
    first_new: u64,
}

impl<E, I: Iterator<Item = Result<Member, E>>> Clusters<I> {
    /// Begins with members that are sorted by cluster and number.
    ///
    /// Documents whose number is below `first_new` are of a corpus that is there already, and always stay. The first of them in a cluster
    /// is the one that is recorded as kept. 0 if there is no such corpus.
    pub fn new(members: I, first_new: u64) -> Self {
        Clusters { members: members.peekable(), first_new }
    }
}

impl<E, I: Iterator<Item = Result<Member, E>>> Iterator for Clusters<I> {
    type Item = Result<Cluster, E>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut best = match self.members.next()? {
            Ok(member) => member,
            Err(error) => return Some(Err(error)),
        };
        let (cluster, is_open) = (best.cluster, best.id >= self.first_new);
        let mut documents = 1;
        let is_next = |next: &Result<Member, E>| next.as_ref().map_or(true, |next| next.cluster == cluster);
        while let Some(member) = self.members.next_if(is_next) {
            let member = match member {
                Ok(member) => member,
                Err(error) => return Some(Err(error)),
            };
            documents += 1;
            if is_open && member.value > best.value {
                best = member;
            }
        }
        Some(Ok(Cluster { cluster, kept: best.id, documents }))
    }
}

/// Why members and clusters cannot be joined.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinError<E> {
    /// Clusters are not those of the members.
    #[error("document {id}: no cluster {cluster} among the clusters; make them anew from these members")]
    NoCluster {
        /// Number of the document.
        id: u64,
        /// Name of the cluster.
        cluster: u64,
    },
    /// Members or clusters cannot be read.
    #[error(transparent)]
    Read(E),
}

/// What becomes of every member, sorted by cluster and number.
pub struct Decisions<M, C> {
    members: M,
    clusters: C,
    cluster: Option<Cluster>,
}

impl<M, C> Decisions<M, C> {
    /// Begins with members, and with the clusters that [`Clusters`] found of them.
    pub fn new(members: M, clusters: C) -> Self {
        Decisions { members, clusters, cluster: None }
    }
}

impl<E, M, C> Decisions<M, C>
where
    M: Iterator<Item = Result<Member, E>>,
    C: Iterator<Item = Result<Cluster, E>>,
{
    fn decide(&mut self, member: Member) -> Result<Decision, JoinError<E>> {
        let Member { cluster, id, .. } = member;
        while self.cluster.is_none_or(|current| current.cluster < cluster) {
            let Some(next) = self.clusters.next() else { return Err(JoinError::NoCluster { id, cluster }) };
            self.cluster = Some(next.map_err(JoinError::Read)?);
        }
        match self.cluster {
            Some(Cluster { cluster: found, kept, documents }) if found == cluster => {
                Ok(Decision { id, cluster, kept, documents })
            }
            _ => Err(JoinError::NoCluster { id, cluster }),
        }
    }
}

impl<E, M, C> Iterator for Decisions<M, C>
where
    M: Iterator<Item = Result<Member, E>>,
    C: Iterator<Item = Result<Cluster, E>>,
{
    type Item = Result<Decision, JoinError<E>>;

    fn next(&mut self) -> Option<Self::Item> {
        let member = self.members.next()?.map_err(JoinError::Read);
        Some(member.and_then(|member| self.decide(member)))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    fn members(members: &[(u64, u64, u64)]) -> Vec<Result<Member, Infallible>> {
        members.iter().map(|(cluster, id, value)| Ok(Member { cluster: *cluster, id: *id, value: *value })).collect()
    }

    fn kept(members: &[Result<Member, Infallible>], first_new: u64) -> Vec<(u64, u64, u64)> {
        let clusters = Clusters::new(members.iter().copied(), first_new).map(Result::unwrap);
        clusters.map(|cluster| (cluster.cluster, cluster.kept, cluster.documents)).collect()
    }

    #[test]
    fn the_largest_value_stays_and_of_several_the_earliest() {
        let members = members(&[(1, 1, 5), (1, 4, 7), (1, 6, 7), (2, 2, 0), (2, 3, 0), (8, 8, 2), (8, 9, 1)]);
        assert_eq!(kept(&members, 0), [(1, 4, 3), (2, 2, 2), (8, 8, 2)]);
        assert!(kept(&[], 0).is_empty());
    }

    #[test]
    fn what_is_there_already_stays_whatever_its_value() {
        let members = members(&[(1, 1, 5), (1, 4, 7), (2, 2, 0), (2, 3, 9), (8, 8, 2), (8, 9, 3)]);
        assert_eq!(kept(&members, 2), [(1, 1, 2), (2, 3, 2), (8, 9, 2)]);
        assert_eq!(kept(&members, 8), [(1, 1, 2), (2, 2, 2), (8, 9, 2)]);
    }

    #[test]
    fn every_member_is_decided_and_members_of_other_clusters_are_refused() {
        let members = members(&[(1, 1, 5), (1, 4, 7), (2, 2, 0), (2, 3, 0)]);
        let clusters = || Clusters::new(members.iter().copied(), 0);
        let decisions: Vec<Decision> =
            Decisions::new(members.iter().copied(), clusters()).map(Result::unwrap).collect();
        let decided: Vec<(u64, u64, u64)> = decisions.iter().map(|d| (d.id, d.kept, d.documents)).collect();
        assert_eq!(decided, [(1, 4, 2), (4, 4, 2), (2, 2, 2), (3, 2, 2)]);
        let mut refused = Decisions::new(members.iter().copied(), clusters().skip(1));
        assert_eq!(refused.next(), Some(Err(JoinError::NoCluster { id: 1, cluster: 1 })));
        let mut refused = Decisions::new(members.iter().copied(), clusters().take(1)).skip(2);
        let error = refused.next().unwrap().unwrap_err().to_string();
        assert!(error.starts_with("document 2: no cluster 2 among the clusters;"), "{error}");
    }

    #[test]
    fn a_rule_has_a_value_for_each_document() {
        let karma = |field: &str| (field == "karma").then_some(3.5);
        assert_eq!(Keep::Earliest.value(9, karma), 0);
        assert_eq!(Keep::Longest.value(9, karma), 9);
        assert_eq!(Keep::Best("karma".to_owned()).value(9, karma), ordered(3.5));
        assert_eq!(Keep::Best("date".to_owned()).value(9, karma), 0);
        for (json, keep) in [
            (r#""earliest""#, Keep::Earliest),
            (r#""longest""#, Keep::Longest),
            (r#"{"best":"karma"}"#, Keep::Best("karma".to_owned())),
        ] {
            assert_eq!(serde_json::from_str::<Keep>(json).unwrap(), keep);
            assert_eq!(serde_json::to_string(&keep).unwrap(), json);
        }
    }

    proptest! {
        #[test]
        fn numbers_are_ordered_as_they_are(one in any::<f64>(), other in any::<f64>()) {
            prop_assert_eq!(one.partial_cmp(&other), Some(ordered(one).cmp(&ordered(other))));
        }
    }

    #[test]
    fn zeros_are_equal_and_infinities_and_nan_have_their_place() {
        assert_eq!(ordered(0.0), ordered(-0.0));
        let numbers = [f64::NAN, f64::NEG_INFINITY, -1.0, 0.0, f64::MIN_POSITIVE, 1.0, f64::INFINITY];
        assert!(numbers.map(ordered).is_sorted_by(|one, other| one < other));
    }
}

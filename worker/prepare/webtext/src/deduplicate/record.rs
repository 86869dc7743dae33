//! Records of fixed width that are sorted, exchanged and written. Their bytes sort as they do: numbers are big-endian.

use crate::deduplicate::sketch::{SKETCH_BYTES, Sketch};

/// A record of fixed width.
pub trait Record: Copy + Ord {
    /// Its width.
    const BYTES: usize;

    /// Appends its bytes, [`BYTES`](Self::BYTES) of them.
    fn append_to(&self, bytes: &mut Vec<u8>);

    /// Returns the record that has these bytes. Returns `None` if they are not as many as its width.
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

/// A field of a record.
trait Field: Sized {
    /// Its width.
    const BYTES: usize;

    fn append_to(&self, bytes: &mut Vec<u8>);

    fn take(bytes: &mut &[u8]) -> Option<Self>;
}

macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl Field for $number {
            const BYTES: usize = size_of::<$number>();

            fn append_to(&self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_be_bytes());
            }

            fn take(bytes: &mut &[u8]) -> Option<Self> {
                take(bytes).map(<$number>::from_be_bytes)
            }
        }
    )*};
}

numbers! { u32 u64 u128 }

impl Field for Sketch {
    const BYTES: usize = SKETCH_BYTES;

    fn append_to(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.0);
    }

    fn take(bytes: &mut &[u8]) -> Option<Self> {
        take(bytes).map(Sketch)
    }
}

macro_rules! records {
    ($($(#[$of_record:meta])* $record:ident { $($(#[$of_field:meta])* $field:ident: $number:ty,)* })*) => {$(
        $(#[$of_record])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $record {
            $($(#[$of_field])* pub $field: $number,)*
        }

        impl Record for $record {
            const BYTES: usize = 0 $(+ <$number as Field>::BYTES)*;

            fn append_to(&self, bytes: &mut Vec<u8>) {
                $(Field::append_to(&self.$field, bytes);)*
            }

            fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
                $(let $field = <$number as Field>::take(&mut bytes)?;)*
                bytes.is_empty().then_some($record { $($field,)* })
            }
        }
    )*};
}

records! {
    /// A document under a key: of a band, a text or a URL.
    Keyed {
        /// Key, by [`Signature::band_keys`](crate::deduplicate::Signature::band_keys) or [`exact`](crate::deduplicate::exact).
        key: u128,
        /// Number of the document.
        id: u64,
    }

    /// A paragraph of a document under its key.
    Occurrence {
        /// Key, by [`paragraphs`](crate::deduplicate::exact::paragraphs).
        key: u128,
        /// Number of the document.
        id: u64,
        /// Number of the paragraph in the document.
        number: u32,
    }

    /// A paragraph that is in the corpus before.
    Repeat {
        /// Number of the document.
        id: u64,
        /// Number of the paragraph in the document.
        number: u32,
        /// Document that has it first.
        first_id: u64,
        /// Number of the paragraph in that document.
        first_number: u32,
    }

    /// Two documents that are a pair, seen from one of them.
    Edge {
        /// Number of the one document.
        from: u64,
        /// Number of the other.
        to: u64,
    }

    /// The cluster of a document. A document that is alone has none.
    Membership {
        /// Number of the document.
        id: u64,
        /// Name of the cluster: the smallest number of its documents.
        cluster: u64,
    }

    /// A document of a cluster, with what decides whether it stays.
    Member {
        /// Name of the cluster.
        cluster: u64,
        /// Number of the document.
        id: u64,
        /// The document with the largest value stays.
        value: u64,
    }

    /// A cluster of at least two documents.
    Cluster {
        /// Name of the cluster: the smallest number of its documents.
        cluster: u64,
        /// Document that stays.
        kept: u64,
        /// Number of its documents.
        documents: u64,
    }

    /// What is known of a document without its text.
    Facts {
        /// Number of the document.
        id: u64,
        /// Id of the document outside of the deduplication.
        name: u128,
        /// Key of the text; 0 without one.
        text: u128,
        /// Key of the URL; 0 without one.
        url: u128,
        /// Of a cluster, the document with the largest value stays.
        value: u64,
        /// Sketch of the signature.
        sketch: Sketch,
    }

    /// A document of a cluster, sorted by the one that stays in its place.
    Question {
        /// Document that stays.
        kept: u64,
        /// Number of the document. It stays if it is `kept`.
        id: u64,
        /// Number of documents of the cluster.
        documents: u64,
    }

    /// What becomes of a document of a cluster, with what is known of the one that stays.
    Verdict {
        /// Number of the document. It stays if it is `kept`.
        id: u64,
        /// Document that stays.
        kept: u64,
        /// Number of documents of the cluster.
        documents: u64,
        /// Id of the document that stays, outside of the deduplication.
        name: u128,
        /// Key of its text; 0 without one.
        text: u128,
        /// Key of its URL; 0 without one.
        url: u128,
        /// Sketch of its signature.
        sketch: Sketch,
    }

    /// What becomes of a document of a cluster.
    Decision {
        /// Number of the document. It stays if it is `kept`.
        id: u64,
        /// Name of the cluster.
        cluster: u64,
        /// Document that stays.
        kept: u64,
        /// Number of documents of the cluster.
        documents: u64,
    }
}

/// Takes the first bytes.
fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes<T: Record>(record: T) -> Vec<u8> {
        let mut bytes = Vec::new();
        record.append_to(&mut bytes);
        bytes
    }

    #[test]
    fn widths_are_those_of_the_numbers() {
        assert_eq!((Keyed::BYTES, Occurrence::BYTES, Edge::BYTES, Member::BYTES), (24, 28, 16, 24));
        assert_eq!((Facts::BYTES, Question::BYTES, Verdict::BYTES), (128, 24, 136));
        assert_eq!(bytes(Keyed { key: 1 << 120, id: 258 }), [&[1][..], &[0; 21], &[1, 2]].concat());
        assert_eq!(Edge::from_bytes(&[0; 15]), None);
        assert_eq!(Edge::from_bytes(&[0; 17]), None);
    }

    proptest! {
        #[test]
        fn records_come_back_from_their_bytes_and_are_sorted_as_they_are(
            one in any::<(u128, u64, u32)>(), other in any::<(u128, u64, u32)>(), is_near in any::<bool>()
        ) {
            let record = |(key, id, number)| Occurrence { key, id, number };
            let (one, mut other) = (record(one), record(other));
            if is_near {
                other.key = one.key;
            }
            prop_assert_eq!(Occurrence::from_bytes(&bytes(one)), Some(one));
            prop_assert_eq!(bytes(one).len(), Occurrence::BYTES);
            prop_assert_eq!(bytes(one).cmp(&bytes(other)), one.cmp(&other));
        }
    }
}

//! MinHash signatures of documents, in bands (Broder, On the resemblance and containment of documents, 1997).
//!
//! The share of hashes that two signatures have in common estimates the Jaccard similarity of the documents' sets of shingles.
//! Documents that share a band are a pair; [`MinHashOptions`] says how likely that is.

use xxhash_rust::xxh3::xxh3_128;

use crate::clean::english::English;
use crate::clean::options::OptionsError;
use crate::clean::split::Split;
use crate::deduplicate::normalise::Normaliser;
use crate::deduplicate::options::MinHashOptions;
use crate::deduplicate::permutations::Permutations;
use crate::deduplicate::shingles::Shingles;

/// Signature of a document: the hashes of all bands, those of the first band first.
///
/// Of less than 64 bits, they are the lowest of the hash (Li and König, b-bit minwise hashing, 2010).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature(Vec<u64>);

impl Signature {
    /// Returns the signature that has these hashes, such as one from a file.
    pub fn of_hashes(hashes: Vec<u64>) -> Self {
        Signature(hashes)
    }

    /// Returns all hashes.
    pub fn hashes(&self) -> &[u64] {
        &self.0
    }

    /// Estimates the Jaccard similarity of two documents, from 0 to 1, by signatures of the same options.
    ///
    /// It is the share m of equal hashes, less those that are equal by chance: (m - c) / (1 - c) with c = 2^-bits. Its standard error
    /// is about sqrt(s (1 - s) / hashes), which is 0.04 for 112 hashes and s = 0.8.
    pub fn similarity(&self, other: &Signature, options: &MinHashOptions) -> f64 {
        let hashes = self.0.len().max(other.0.len());
        if hashes == 0 {
            return 0.0;
        }
        let equal = self.0.iter().zip(&other.0).filter(|(one, other)| one == other).count();
        let chance = options.chance();
        ((equal as f64 / hashes as f64 - chance) / (1.0 - chance)).clamp(0.0, 1.0)
    }

    /// Returns the key of each band: XXH3 of 128 bits, without a seed, of the band's hashes in as many little-endian bytes as their
    /// bits take. Documents whose keys of a band are equal are a pair.
    ///
    /// Among 1,000,000,000 documents, two different bands have one key with a probability of 1e-21.
    pub fn band_keys(&self, options: &MinHashOptions) -> impl Iterator<Item = u128> {
        let bytes = options.hash_bytes();
        let mut band = Vec::with_capacity(options.rows as usize * bytes);
        self.0.chunks((options.rows as usize).max(1)).map(move |hashes| {
            band.clear();
            hashes.iter().for_each(|hash| band.extend_from_slice(&hash.to_le_bytes()[..bytes]));
            xxh3_128(&band)
        })
    }
}

/// Makes signatures. It keeps nothing of documents, so one serves many threads.
pub struct Signer {
    options: MinHashOptions,
    permutations: Permutations,
    split: Box<dyn Split>,
}

/// Memory that a thread uses again from document to document. It stays as large as its largest document needed.
#[derive(Debug, Default)]
pub struct Scratch {
    normaliser: Normaliser,
    shingles: Shingles,
}

impl Signer {
    /// Makes ready to sign, with [`English`] words.
    ///
    /// # Errors
    /// Returns all faults of the options.
    pub fn new(options: MinHashOptions) -> Result<Self, OptionsError> {
        options.check()?;
        let permutations = Permutations::seeded(options.seed, options.hashes());
        Ok(Signer { options, permutations, split: Box::new(English::new()) })
    }

    /// Takes words from `split`.
    #[must_use]
    pub fn with_split(self, split: Box<dyn Split>) -> Self {
        Signer { split, ..self }
    }

    /// Takes `permutations`, which may be datatrove's, in place of those of the seed. There have to be bands x rows of them.
    #[must_use]
    pub fn with_permutations(self, permutations: Permutations) -> Self {
        Signer { permutations, ..self }
    }

    /// Returns the options.
    pub fn options(&self) -> &MinHashOptions {
        &self.options
    }

    /// Returns the signature of a text. Returns `None` if it has fewer words than a shingle, as datatrove gives such a document no
    /// signature: it has no near duplicates.
    pub fn sign(&self, text: &str, scratch: &mut Scratch) -> Option<Signature> {
        let shingles = self.shingles(text, scratch);
        self.sign_shingles(shingles)
    }

    /// Returns the shingles of a text: those of the words of the normalised text.
    pub fn shingles<'s>(&self, text: &str, scratch: &'s mut Scratch) -> &'s [u64] {
        let normal = scratch.normaliser.normalise(text);
        let mut words = Vec::with_capacity(normal.len() / 5);
        self.split.words(normal, &mut words);
        scratch.shingles.of_words(&words, self.options.words as usize)
    }

    /// Returns the signature of a document by its shingles. Returns `None` if there are none.
    pub fn sign_shingles(&self, shingles: &[u64]) -> Option<Signature> {
        if shingles.is_empty() {
            return None;
        }
        let mut hashes = self.permutations.minima(shingles);
        let mask = self.options.mask();
        hashes.iter_mut().for_each(|hash| *hash &= mask);
        Some(Signature(hashes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(options: MinHashOptions, text: &str) -> Option<Signature> {
        Signer::new(options).unwrap().sign(text, &mut Scratch::default())
    }

    #[test]
    fn documents_that_are_normalised_alike_have_one_signature() {
        let options = MinHashOptions::default();
        let one = signed(options, "The keeper of lighthouse 12 wrote, that evening, a letter.").unwrap();
        let other = signed(options, "the KEEPER of lighthouse 7\r\nwrote that evening a letter").unwrap();
        assert_eq!(one, other);
        assert_eq!((one.hashes().len(), one.similarity(&other, &options)), (112, 1.0));
        assert!(one.hashes().windows(2).all(|pair| pair[0] != pair[1]));
        let keys: Vec<u128> = one.band_keys(&options).collect();
        assert!(keys.len() == 14 && keys.iter().eq(&other.band_keys(&options).collect::<Vec<_>>()));
    }

    #[test]
    fn a_document_of_fewer_words_than_a_shingle_has_no_signature() {
        let options = MinHashOptions::default();
        for text in ["", "one", "only four words here", "— ! — ! — ! —"] {
            assert_eq!(signed(options, text), None, "{text:?}");
        }
        assert!(signed(options, "exactly five words are here").is_some());
        assert!(signed(MinHashOptions { words: 1, ..options }, "one").is_some());
    }

    #[test]
    fn fewer_bits_are_the_lowest_bits() {
        let options = MinHashOptions::default();
        let text = "The keeper of the old lighthouse wrote a letter to her sister in the evening.";
        let whole = signed(options, text).unwrap();
        for bits in [8, 16, 32] {
            let few = MinHashOptions { bits, ..options };
            let signature = signed(few, text).unwrap();
            let lowest: Vec<u64> = whole.hashes().iter().map(|hash| hash % (1_u64 << bits)).collect();
            assert_eq!(signature.hashes(), lowest);
            assert_ne!(signature.band_keys(&few).next(), whole.band_keys(&options).next());
        }
    }

    #[test]
    fn signatures_of_other_seeds_and_other_documents_have_nothing_in_common() {
        let options = MinHashOptions::default();
        let one = signed(options, "the keeper of the old lighthouse wrote a letter").unwrap();
        let seeded = signed(MinHashOptions { seed: 2, ..options }, "the keeper of the old lighthouse wrote a letter");
        assert_eq!(one.similarity(&seeded.unwrap(), &options), 0.0);
        let other = signed(options, "nobody else has ever seen any of these five boats").unwrap();
        assert_eq!(one.similarity(&other, &options), 0.0);
        let none = Signature::of_hashes(Vec::new());
        assert_eq!((none.similarity(&none, &options), none.band_keys(&options).count()), (0.0, 0));
    }
}

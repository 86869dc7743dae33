//! The filter of training data, made by all ranks: each reads its units, and what they have found is put together.
//!
//! The texts are read twice. The first time, grams are counted, so that the filter is as large as they need and no larger; its
//! size does not depend on the number of ranks.

use evaluation::overlap::{Filter, Gram, GramStream};
use tch::Tensor;

use super::texts::{Part, Texts};
use crate::collectives::{Collectives, Label, ReduceOp};
use crate::error::JobError;
use crate::evaluate::error::EvaluateError;
use crate::evaluate::progress::Progress;

/// Seed of filters: grams of another one cannot be looked up in a filter.
const SEED: u64 = 1;
/// Words of a filter that ranks exchange at once: 8 MiB.
const WORDS_AT_ONCE: usize = 1 << 20;
/// Grams after which progress is told, also within a unit.
const GRAMS_BETWEEN: u64 = 1 << 16;

/// Returns the filter of `texts`, on every rank. All ranks must call this together.
pub fn fill(texts: &dyn Texts, ranks: &dyn Collectives, progress_lines: bool) -> Result<Filter, JobError> {
    let units = texts.units();
    let (rank, world) = (ranks.rank().index(), ranks.world_size().get() as usize);
    let mine: Vec<(usize, u64)> = units.into_iter().enumerate().skip(rank).step_by(world).collect();
    let total = 2 * mine.iter().map(|(_, bytes)| bytes).sum::<u64>();
    let mut progress = Progress::begin_overlap(progress_lines, total);
    let mut count = 0_u64;
    each_gram(texts, &mine, &mut progress, |_| count += 1)?;
    let capacity: u64 = ranks.gather("counts of 8-grams", &count)?.iter().sum();
    let refused = |error| EvaluateError::NoFilter { grams: capacity, error };
    let bytes = Filter::bytes(capacity).map_err(refused)?;
    if ranks.rank().is_zero() {
        tracing::info!("the filter of {capacity} 8-grams takes {bytes} bytes on each rank");
    }
    let mut filter = Filter::new(capacity, SEED).map_err(refused)?;
    each_gram(texts, &mine, &mut progress, |gram| filter.insert(gram))?;
    if world > 1 {
        put_together(&mut filter, ranks, &mut progress)?;
    }
    Ok(filter)
}

/// Calls `see` with each gram of the units `mine`, which are numbers and sizes.
fn each_gram(
    texts: &dyn Texts,
    mine: &[(usize, u64)],
    progress: &mut Progress,
    mut see: impl FnMut(Gram),
) -> Result<(), JobError> {
    let mut stream = GramStream::new(SEED);
    let mut seen = 0_u64;
    for (unit, bytes) in mine {
        let mut see_and_tell = |gram| {
            see(gram);
            seen += 1;
            if seen.is_multiple_of(GRAMS_BETWEEN) {
                progress.beat();
            }
        };
        texts.read(*unit, &mut |part| match part {
            Part::Piece(piece) => stream.push(piece, &mut see_and_tell),
            Part::End => stream.end(&mut see_and_tell),
        })?;
        progress.add(*bytes);
    }
    Ok(())
}

/// Gives every rank the bits of all, piece by piece.
fn put_together(filter: &mut Filter, ranks: &dyn Collectives, progress: &mut Progress) -> Result<(), JobError> {
    for start in (0..filter.words().len()).step_by(WORDS_AT_ONCE) {
        let end = filter.words().len().min(start + WORDS_AT_ONCE);
        let ours: Vec<i64> = filter.words()[start..end].iter().map(|word| *word as i64).collect();
        let tensor = Tensor::from_slice(&ours);
        ranks.all_reduce(&tensor, ReduceOp::BitOr, Label::new("an overlap filter")).wait()?;
        let all: Vec<u64> = Vec::<i64>::try_from(tensor)?.into_iter().map(|word| word as u64).collect();
        filter.merge_words(start, &all);
        progress.beat();
    }
    let inserted: u64 = ranks.gather("counts of 8-grams in a filter", &filter.inserted())?.iter().sum();
    filter.set_inserted(inserted);
    Ok(())
}

#[cfg(test)]
mod tests {
    use evaluation::overlap::grams;

    use super::*;
    use crate::collectives::single::Single;

    /// Texts of two units.
    struct Fixed([&'static [&'static str]; 2]);

    impl Texts for Fixed {
        fn units(&self) -> Vec<u64> {
            vec![5, 7]
        }

        fn read(&self, unit: usize, see: &mut dyn FnMut(Part<'_>)) -> Result<(), JobError> {
            for text in self.0[unit] {
                let (first, second) = text.split_at(text.len() / 2);
                see(Part::Piece(first));
                see(Part::Piece(second));
                see(Part::End);
            }
            Ok(())
        }
    }

    #[test]
    fn a_filter_holds_the_grams_of_all_texts_and_is_made_for_as_many_as_there_are() {
        let texts = Fixed([&["a b c d e f g h i", "too short"], &["one two three four five six seven eight"]]);
        let filter = fill(&texts, &Single::default(), false).unwrap();
        assert_eq!((filter.capacity(), filter.inserted()), (3, 3));
        let holds = |text: &str| {
            let mut all = Vec::new();
            grams(text, filter.seed(), |gram| all.push(filter.contains(gram)));
            all
        };
        assert_eq!(holds("B C d e f g h i j"), [true, false]);
        assert_eq!(holds("one two three, four five six seven eight"), [true]);
        assert_eq!(holds("h i too short one two three four"), [false]);
    }
}

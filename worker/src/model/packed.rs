//! Several sequences in one forward pass. What sequences of a group share at their beginning is computed once.
//!
//! The rows of a group are those of the shared beginning, and behind them the rest of each sequence. Groups follow each other:
//!
//! ```text
//! rows        | beginning, P tokens | rest of sequence 0 | rest of sequence 1 | beginning of the next group | ...
//! positions   | 0 ... P-1           | P ...              | P ...              | 0 ...                       |
//! sequence 0  |=====================|====================|
//! sequence 1  |=====================|                    |====================|
//! ```
//!
//! Every part of the model but attention works on rows by themselves. Attention takes the rows of one sequence at a time.
//! A pass therefore depends on nothing but its own sequences, and with an unchanged number of threads it repeats bit for bit.
//! Its last digits may change with the sequences that share the pass: products of other sizes add in another order.
//!
//! Legend: T sequence, P shared beginning, N rows of the pass, C width, V vocabulary.

use std::ops::Range;

use tch::{TchError, Tensor};

use super::layer_norm::Stream;
use super::{Gpt2, ops};

/// Tokens of several sequences, those at the beginning that all of a group share taken once.
#[derive(Default)]
pub struct Packed {
    ids: Vec<i64>,
    positions: Vec<i64>,
    sequences: Vec<Rows>,
}

/// Rows of one sequence.
struct Rows {
    /// Those at the beginning, which the sequences of the group share.
    beginning: Range<usize>,
    /// The sequence's own rows.
    rest: Range<usize>,
}

impl Rows {
    /// Returns the rows, if they lie together: those of a group's first sequence, and those of one that shares nothing.
    fn together(&self) -> Option<Range<usize>> {
        let Rows { beginning, rest } = self;
        match beginning.is_empty() {
            true => Some(rest.clone()),
            false => (beginning.end == rest.start).then_some(beginning.start..rest.end),
        }
    }
}

impl Packed {
    /// Adds a group of `sequences`, none of them empty. Each keeps at least its last token for itself.
    pub fn add(&mut self, sequences: &[&[u16]]) {
        let Some(first) = sequences.first() else { return };
        let shared = shared(sequences);
        let beginning = self.append(&first[..shared], 0);
        for sequence in sequences {
            let rest = self.append(&sequence[shared..], shared);
            self.sequences.push(Rows { beginning: beginning.clone(), rest });
        }
    }

    fn append(&mut self, tokens: &[u16], first_position: usize) -> Range<usize> {
        let start = self.ids.len();
        self.ids.extend(tokens.iter().map(|id| i64::from(*id)));
        self.positions.extend((first_position..).take(tokens.len()).map(|position| position as i64));
        start..self.ids.len()
    }

    /// Returns N, the number of rows.
    pub fn rows(&self) -> usize {
        self.ids.len()
    }

    /// Returns the row of token `position` of sequence `sequence`, counted over all groups.
    pub fn row(&self, sequence: usize, position: usize) -> usize {
        let Rows { beginning, rest } = &self.sequences[sequence];
        let shared = beginning.len();
        if position < shared { beginning.start + position } else { rest.start + position - shared }
    }

    /// Applies `attend`, which maps the rows of one sequence `[T, 3C]` to `[T, C]`, to all sequences of `qkv [N, 3C]`.
    pub(super) fn attend(
        &self,
        qkv: &Tensor,
        attend: impl Fn(&Tensor) -> Result<Tensor, TchError>,
    ) -> Result<Tensor, TchError> {
        let narrow = |rows: &Range<usize>| qkv.narrow(0, rows.start as i64, rows.len() as i64);
        let mut parts = Vec::with_capacity(self.sequences.len());
        for rows in &self.sequences {
            let Rows { beginning, rest } = rows;
            // The beginning's rows are the first sequence's: the others see as much of it.
            parts.push(match rows.together() {
                Some(rows) => attend(&narrow(&rows))?, // [T, C]
                None => {
                    let attended = attend(&Tensor::cat(&[narrow(beginning), narrow(rest)], 0))?; // [T, C]
                    attended.narrow(0, beginning.len() as i64, rest.len() as i64) // [T - P, C]
                }
            });
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Tensor::cat(&parts, 0) }) // [N, C]
    }
}

/// Returns the number of tokens at the beginning that all `sequences` share, each without its last one.
fn shared(sequences: &[&[u16]]) -> usize {
    let [first, others @ ..] = sequences else { return 0 };
    if others.is_empty() {
        return 0;
    }
    let most = sequences.iter().map(|sequence| sequence.len().saturating_sub(1)).min().unwrap_or(0);
    (0..most).take_while(|at| others.iter().all(|other| other[*at] == first[*at])).count()
}

/// Returns the number of rows that a group of these sequences has.
pub fn rows_of_group(sequences: &[&[u16]]) -> usize {
    let all: usize = sequences.iter().map(|sequence| sequence.len()).sum();
    all - shared(sequences) * sequences.len().saturating_sub(1)
}

impl Gpt2 {
    /// Returns the stream that the head reads, `[N, C]`, for the rows of `packed`. Its ids must be below the vocabulary, and its
    /// positions within the context.
    pub fn packed_stream(&self, packed: &Packed) -> Result<Tensor, TchError> {
        let w = &self.weights;
        let select = |table: &Tensor, rows: &[i64]| {
            table.f_index_select(0, &Tensor::from_slice(rows).to_device(table.device())) // [N, C]
        };
        let x = select(&w.token_embedding, &packed.ids)? + select(&w.position_embedding, &packed.positions)?; // [N, C]
        let mut stream = Stream { x, branch: None };
        for block in &w.blocks {
            stream = block.forward_packed(stream, packed, self.config.heads as i64)?; // [N, C]
        }
        Ok(w.final_norm.forward(stream, false)?.0) // [N, C]
    }

    /// Returns the logits `[n, V padded]` of `rows [n, C]` of the stream that the head reads. Only the first V columns count.
    pub fn head(&self, rows: &Tensor) -> Tensor {
        ops::product_with_transpose(rows, &self.weights.token_embedding) // [n, V padded]
    }
}

#[cfg(test)]
mod tests {
    use common::config::ModelConfig;
    use tch::{Device, Kind};

    use super::*;

    const CONFIG: ModelConfig = ModelConfig { layers: 3, width: 48, heads: 3, context_tokens: 64, vocabulary: 500 };

    /// Returns a model whose values are not as initialised, which would make biases 0.
    fn model(kind: Kind) -> Gpt2 {
        let model = Gpt2::zeros(&CONFIG, kind, Device::Cpu);
        let elements = model.flat.numel() as i64;
        let values: Vec<f64> = (0..elements).map(|i| (i as f64 * 0.618_033_988_7).fract() * 0.4 - 0.2).collect();
        model.flat.shallow_clone().copy_(&Tensor::from_slice(&values).to_kind(kind));
        let padding = model.weights.token_embedding.narrow(0, 500, 12);
        let _ = padding.shallow_clone().zero_();
        model
    }

    fn sequence(seed: usize, tokens: usize) -> Vec<u16> {
        (0..tokens).map(|i| ((seed * 7919 + i * i * 31 + i) % 500) as u16).collect()
    }

    fn packed(groups: &[&[&[u16]]]) -> Packed {
        let mut packed = Packed::default();
        groups.iter().for_each(|group| packed.add(group));
        packed
    }

    #[test]
    fn rows_are_the_beginning_once_and_the_rests() {
        let group: &[&[u16]] = &[&[1, 2, 3, 4], &[1, 2, 9], &[1, 2, 3, 5]];
        let packed = packed(&[group, &[&[7, 8]]]);
        assert_eq!(packed.ids, [1, 2, 3, 4, 9, 3, 5, 7, 8]);
        assert_eq!(packed.positions, [0, 1, 2, 3, 2, 2, 3, 0, 1]);
        assert_eq!((packed.row(0, 1), packed.row(1, 2), packed.row(2, 2), packed.row(2, 3)), (1, 4, 5, 6));
        assert_eq!((packed.row(3, 0), packed.row(3, 1), packed.rows()), (7, 8, 9));
        assert_eq!(rows_of_group(group), 7);
    }

    #[test]
    fn equal_sequences_and_those_with_nothing_in_common_keep_their_last_tokens() {
        let equal = packed(&[&[&[1, 2], &[1, 2]]]);
        assert_eq!((equal.ids.as_slice(), equal.row(0, 1), equal.row(1, 1)), (&[1, 2, 2][..], 1, 2));
        assert_eq!(packed(&[&[&[1, 2], &[3]]]).ids, [1, 2, 3]);
        assert_eq!(packed(&[&[&[7, 8, 9]]]).rows(), 3);
        assert_eq!(rows_of_group(&[]), 0);
    }

    #[test]
    fn packed_sequences_have_the_logits_of_each_alone_in_float64() {
        let _no_grad = tch::no_grad_guard();
        let (wide, narrow) = (model(Kind::Double), model(Kind::Float));
        let beginning = sequence(1, 20);
        let choices: Vec<Vec<u16>> =
            (0..4).map(|seed| [beginning.clone(), sequence(seed + 2, 3 + 5 * seed)].concat()).collect();
        let (alone, nothing_shared) = (sequence(9, 40), [sequence(10, 7), sequence(11, 9)]);
        let groups = [choices, vec![alone], nothing_shared.to_vec()];
        let mut packed = Packed::default();
        groups.iter().for_each(|group| packed.add(&group.iter().map(Vec::as_slice).collect::<Vec<_>>()));
        let ours = narrow.head(&narrow.packed_stream(&packed).unwrap()).narrow(1, 0, 500).to_kind(Kind::Double);
        for (number, sequence) in groups.iter().flatten().enumerate() {
            let ids: Vec<i64> = sequence.iter().map(|id| i64::from(*id)).collect();
            let alone = wide.logits(&Tensor::from_slice(&ids).unsqueeze(0)).unwrap().get(0); // [T, V]
            let rows: Vec<i64> = (0..ids.len()).map(|at| packed.row(number, at) as i64).collect();
            let error = (ours.index_select(0, &Tensor::from_slice(&rows)) - &alone).abs().max().double_value(&[]);
            let largest = alone.abs().max().double_value(&[]);
            assert!(error < 1e-5 * largest, "sequence {number}: off by {error:e} of {largest}");
        }
    }
}

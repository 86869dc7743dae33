//! Several sequences that begin alike in one forward pass, which computes what they share once.
//!
//! The rows are those of the shared beginning, and behind them the rest of each sequence:
//!
//! ```text
//! rows        | beginning, P tokens | rest of sequence 0 | rest of sequence 1 | ...
//! positions   | 0 ... P-1           | P ...              | P ...              | ...
//! sequence 0  |=====================|====================|
//! sequence 1  |=====================|                    |====================|
//! ```
//!
//! Every part of the model but attention works on rows by themselves. Attention takes the rows of one sequence at a time.
//! A pass therefore depends on nothing but its own sequences, and with an unchanged number of threads it repeats bit for bit.
//!
//! Legend: T sequence, P shared beginning, N rows of the pass, C width, V vocabulary.

use std::ops::Range;

use tch::{TchError, Tensor};

use super::layer_norm::Stream;
use super::{Gpt2, ops};

/// Tokens of several sequences, those at the beginning that all share taken once.
pub struct Packed {
    ids: Vec<i64>,
    positions: Vec<i64>,
    /// P, the number of tokens that all sequences share.
    shared: usize,
    /// Rows of each sequence behind the shared ones.
    rests: Vec<Range<usize>>,
}

impl Packed {
    /// Packs `sequences`, at least one and none empty. Each keeps at least its last token for itself.
    pub fn new(sequences: &[&[u16]]) -> Self {
        let shared = shared(sequences);
        let (first, rests) = match sequences {
            [] => (&[][..], &[][..]),
            [first, ..] => (&first[..shared], sequences),
        };
        let mut packed = Packed { ids: Vec::new(), positions: Vec::new(), shared, rests: Vec::new() };
        packed.extend(first, 0);
        for sequence in rests {
            let start = packed.ids.len();
            packed.extend(&sequence[shared..], shared);
            packed.rests.push(start..packed.ids.len());
        }
        packed
    }

    fn extend(&mut self, tokens: &[u16], first_position: usize) {
        self.ids.extend(tokens.iter().map(|id| i64::from(*id)));
        self.positions.extend((first_position..).take(tokens.len()).map(|position| position as i64));
    }

    /// Returns N, the number of rows.
    pub fn rows(&self) -> usize {
        self.ids.len()
    }

    /// Returns the row of token `position` of sequence `sequence`.
    pub fn row(&self, sequence: usize, position: usize) -> usize {
        if position < self.shared { position } else { self.rests[sequence].start + position - self.shared }
    }

    /// Applies `attend`, which maps the rows of one sequence `[T, 3C]` to `[T, C]`, to all sequences of `qkv [N, 3C]`.
    pub(super) fn attend(
        &self,
        qkv: &Tensor,
        attend: impl Fn(&Tensor) -> Result<Tensor, TchError>,
    ) -> Result<Tensor, TchError> {
        if self.rests.len() <= 1 {
            return attend(qkv); // [N, C]
        }
        let beginning = qkv.narrow(0, 0, self.shared as i64); // [P, 3C]
        let mut parts = Vec::with_capacity(self.rests.len());
        for rest in &self.rests {
            let own = qkv.narrow(0, rest.start as i64, rest.len() as i64); // [T - P, 3C]
            let attended = attend(&Tensor::cat(&[&beginning, &own], 0))?; // [T, C]
            // The beginning's rows are the first sequence's: the others see as much of it.
            let skipped = if parts.is_empty() { 0 } else { self.shared as i64 };
            parts.push(attended.narrow(0, skipped, attended.size()[0] - skipped));
        }
        Ok(Tensor::cat(&parts, 0)) // [N, C]
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

/// Returns the number of rows that [`Packed::new`] gives these sequences.
pub fn packed_rows(sequences: &[&[u16]]) -> usize {
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
        // Drawn without libtorch's one generator, from which other tests draw at the same time.
        let values: Vec<f64> = (0..elements).map(|i| (i as f64 * 0.618_033_988_7).fract() * 0.4 - 0.2).collect();
        model.flat.shallow_clone().copy_(&Tensor::from_slice(&values).to_kind(kind));
        let padding = model.weights.token_embedding.narrow(0, 500, 12);
        let _ = padding.shallow_clone().zero_();
        model
    }

    fn sequence(seed: usize, tokens: usize) -> Vec<u16> {
        (0..tokens).map(|i| ((seed * 7919 + i * i * 31 + i) % 500) as u16).collect()
    }

    #[test]
    fn rows_are_the_beginning_once_and_the_rests() {
        let packed = Packed::new(&[&[1, 2, 3, 4], &[1, 2, 9], &[1, 2, 3, 5]]);
        assert_eq!(packed.ids, [1, 2, 3, 4, 9, 3, 5]);
        assert_eq!(packed.positions, [0, 1, 2, 3, 2, 2, 3]);
        assert_eq!((packed.row(0, 1), packed.row(1, 2), packed.row(2, 2), packed.row(2, 3)), (1, 4, 5, 6));
        assert_eq!(packed.rows(), 7);
        assert_eq!(packed_rows(&[&[1, 2, 3, 4], &[1, 2, 9], &[1, 2, 3, 5]]), 7);
    }

    #[test]
    fn equal_sequences_and_those_with_nothing_in_common_keep_their_last_tokens() {
        let packed = Packed::new(&[&[1, 2], &[1, 2]]);
        assert_eq!((packed.ids.as_slice(), packed.row(0, 1), packed.row(1, 1)), (&[1, 2, 2][..], 1, 2));
        assert_eq!(Packed::new(&[&[1, 2], &[3]]).ids, [1, 2, 3]);
        assert_eq!(Packed::new(&[&[7, 8, 9]]).rows(), 3);
        assert_eq!(packed_rows(&[]), 0);
    }

    #[test]
    fn packed_sequences_have_the_logits_of_each_alone_in_float64() {
        let _no_grad = tch::no_grad_guard();
        let (wide, narrow) = (model(Kind::Double), model(Kind::Float));
        let beginning = sequence(1, 20);
        let sequences: Vec<Vec<u16>> =
            (0..4).map(|seed| [beginning.clone(), sequence(seed + 2, 3 + 5 * seed)].concat()).collect();
        let inputs: Vec<&[u16]> = sequences.iter().map(Vec::as_slice).collect();
        let packed = Packed::new(&inputs);
        let ours = narrow.head(&narrow.packed_stream(&packed).unwrap()).narrow(1, 0, 500).to_kind(Kind::Double);
        for (number, sequence) in sequences.iter().enumerate() {
            let ids: Vec<i64> = sequence.iter().map(|id| i64::from(*id)).collect();
            let alone = wide.logits(&Tensor::from_slice(&ids).unsqueeze(0)).unwrap().get(0); // [T, V]
            let rows: Vec<i64> = (0..ids.len()).map(|at| packed.row(number, at) as i64).collect();
            let error = (ours.index_select(0, &Tensor::from_slice(&rows)) - &alone).abs().max().double_value(&[]);
            let largest = alone.abs().max().double_value(&[]);
            assert!(error < 1e-5 * largest, "sequence {number}: off by {error:e} of {largest}");
        }
    }
}

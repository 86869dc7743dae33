//! Scores the sequences of a unit by one forward pass.
//!
//! Logits are computed of the rows that predict something, and of no others. The chunks in which they are computed depend on the
//! unit alone, as the pass does.
//!
//! Legend: N rows of the pass, n rows with targets, V vocabulary, C width.

use evaluation::{Score, Sequence};
use tch::{Kind, TchError, Tensor};

use crate::kernels::cross_entropy::cross_entropy;
use crate::model::Gpt2;
use crate::model::head::chunk_rows;
use crate::model::packed::Packed;

use super::units::by_item;

/// What the model says of one target.
struct Predicted {
    /// Logarithm of its probability, in nats.
    log_probability: f64,
    /// Whether it is the likeliest token, of equal ones the one with the lowest id.
    is_likeliest: bool,
    /// Whether it is likeliest if the barred ids are left out. Only for the first target of a sequence that bars some.
    is_likeliest_of_the_rest: Option<bool>,
}

/// Row of the pass that predicts a target.
struct Row<'a> {
    row: i64,
    target: i64,
    /// Ids to leave out of a second comparison; empty for none.
    barred: &'a [u16],
}

/// Returns the score of each of a unit's `sequences`, whose inputs fit into the model's context.
pub fn score(model: &Gpt2, sequences: &[&Sequence]) -> Result<Vec<Score>, TchError> {
    let mut packed = Packed::default();
    for group in by_item(sequences) {
        packed.add(&group.iter().map(|sequence| sequence.input()).collect::<Vec<_>>());
    }
    let stream = model.packed_stream(&packed)?; // [N, C]
    let rows: Vec<Row<'_>> =
        sequences.iter().enumerate().flat_map(|(number, sequence)| rows(&packed, number, sequence)).collect();
    let mut predicted = Vec::with_capacity(rows.len());
    for chunk in rows.chunks(chunk_rows(stream.device()) as usize) {
        predict(model, &stream, chunk, &mut predicted)?;
    }
    let mut predicted = predicted.into_iter();
    Ok(sequences.iter().map(|sequence| total(predicted.by_ref().take(sequence.targets().len()))).collect())
}

fn rows<'a>(packed: &Packed, number: usize, sequence: &'a Sequence) -> Vec<Row<'a>> {
    let row = |(index, target): (usize, &u16)| Row {
        row: packed.row(number, sequence.first_row() + index) as i64,
        target: i64::from(*target),
        barred: if index == 0 { &sequence.barred } else { &[] },
    };
    sequence.targets().iter().enumerate().map(row).collect()
}

/// Appends what the model says of the targets of `rows`.
fn predict(model: &Gpt2, stream: &Tensor, rows: &[Row<'_>], to: &mut Vec<Predicted>) -> Result<(), TchError> {
    let vocabulary = model.config.vocabulary as i64;
    let device = stream.device();
    let places = Tensor::from_slice(&rows.iter().map(|row| row.row).collect::<Vec<_>>()).to_device(device); // [n]
    let targets = Tensor::from_slice(&rows.iter().map(|row| row.target).collect::<Vec<_>>()).to_device(device); // [n]
    let logits = model.head(&stream.f_index_select(0, &places)?); // [n, V padded]
    let counting = logits.narrow(1, 0, vocabulary); // [n, V]
    let likeliest = Vec::<i64>::try_from(counting.f_argmax(-1, false)?)?; // [n]
    let of_the_rest: Vec<Option<bool>> = rows
        .iter()
        .enumerate()
        .map(|(index, row)| is_likeliest_of_the_rest(&counting.get(index as i64), row))
        .collect::<Result<_, _>>()?;
    // May overwrite the logits.
    let (losses, _) = cross_entropy(logits, &targets, vocabulary, 0.0)?; // [n]
    let losses = Vec::<f64>::try_from(losses)?;
    for (index, row) in rows.iter().enumerate() {
        to.push(Predicted {
            log_probability: -losses[index],
            is_likeliest: likeliest[index] == row.target,
            is_likeliest_of_the_rest: of_the_rest[index],
        });
    }
    Ok(())
}

/// Compares the target of `row` with all ids that are not barred, by its logits `[V]`; `None` where none is barred.
fn is_likeliest_of_the_rest(logits: &Tensor, row: &Row<'_>) -> Result<Option<bool>, TchError> {
    if row.barred.is_empty() {
        return Ok(None);
    }
    let barred: Vec<i64> = row.barred.iter().map(|id| i64::from(*id)).collect();
    let barred = Tensor::from_slice(&barred).to_device(logits.device());
    let rest = logits.f_index_fill(0, &barred, f64::NEG_INFINITY)?; // [V]
    let is_barred = row.barred.iter().any(|id| i64::from(*id) == row.target);
    Ok(Some(!is_barred && rest.f_argmax(-1, false)?.int64_value(&[]) == row.target))
}

fn total(predicted: impl Iterator<Item = Predicted>) -> Score {
    let one = |predicted: Predicted| Score {
        log_likelihood: predicted.log_probability,
        tokens: 1,
        is_greedy: predicted.is_likeliest,
        is_greedy_with_stop_words_barred: predicted.is_likeliest_of_the_rest.unwrap_or(predicted.is_likeliest),
    };
    predicted.map(one).fold(Score::NONE, Score::and)
}

/// Kind in which weights are evaluated: float32, in which checkpoints store them.
pub const KIND: Kind = Kind::Float;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use common::config::ModelConfig;
    use evaluation::Key;
    use tch::Device;

    use super::*;

    const CONFIG: ModelConfig = ModelConfig { layers: 2, width: 32, heads: 2, context_tokens: 64, vocabulary: 300 };

    fn model(kind: Kind) -> Gpt2 {
        let model = Gpt2::zeros(&CONFIG, kind, Device::Cpu);
        let elements = model.layout.elements();
        let values: Vec<f64> = (0..elements).map(|i| (i as f64 * 0.754_877_666_2).fract() - 0.5).collect();
        // Of float32, so that both kinds hold equal weights.
        let values = Tensor::from_slice(&values).to_kind(Kind::Float).to_kind(kind);
        for parameter in &model.layout.parameters {
            parameter.of(&model.flat).copy_(&parameter.of(&values));
        }
        model
    }

    fn sequence(request: u32, ids: &[u16], first_scored: usize, barred: &[u16]) -> Sequence {
        let key = Key { item: 0, request, window: 0 };
        Sequence { key, ids: ids.to_vec(), first_scored, barred: Arc::from(barred) }
    }

    fn scored(model: &Gpt2, sequences: &[Sequence]) -> Vec<Score> {
        score(model, &sequences.iter().collect::<Vec<_>>()).unwrap()
    }

    /// The score by all logits of one sequence, in float64, with no code in common.
    fn expected(model: &Gpt2, sequence: &Sequence) -> (f64, bool) {
        let ids: Vec<i64> = sequence.ids.iter().map(|id| i64::from(*id)).collect();
        let logits = model.logits(&Tensor::from_slice(&ids[..ids.len() - 1]).unsqueeze(0)).unwrap().get(0); // [T, V]
        let mut sum = 0.0;
        let mut is_greedy = true;
        for (at, target) in ids.iter().enumerate().skip(sequence.first_scored) {
            let row = Vec::<f64>::try_from(logits.get(at as i64 - 1)).unwrap();
            let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let log_sum = most + row.iter().map(|x| (x - most).exp()).sum::<f64>().ln();
            sum += row[*target as usize] - log_sum;
            is_greedy &= row.iter().position(|x| *x == most) == Some(*target as usize);
        }
        (sum, is_greedy)
    }

    fn ids(seed: usize, count: usize) -> Vec<u16> {
        (0..count).map(|i| ((seed * 7919 + i * i * 31 + i) % 300) as u16).collect()
    }

    #[test]
    fn log_likelihoods_are_those_of_float64_by_one_sequence_at_a_time() {
        let _no_grad = tch::no_grad_guard();
        let (wide, narrow) = (model(Kind::Double), model(KIND));
        let context = ids(3, 30);
        let mut sequences: Vec<Sequence> = (0..4)
            .map(|request| {
                let all = [context.clone(), ids(10 + request, 2 + 3 * request)].concat();
                sequence(request as u32, &all, 30, &[])
            })
            .collect();
        // Two of a second item in the same pass.
        sequences[2..].iter_mut().for_each(|sequence| sequence.key.item = 1);
        let mut greedy = 0;
        for (sequence, score) in sequences.iter().zip(scored(&narrow, &sequences)) {
            let (log_likelihood, is_greedy) = expected(&wide, sequence);
            let error = (score.log_likelihood - log_likelihood).abs();
            assert!(error < 1e-4_f64.max(1e-6 * log_likelihood.abs()), "off by {error:e} of {log_likelihood}");
            assert_eq!((score.is_greedy, score.tokens as usize), (is_greedy, sequence.targets().len()));
            greedy += u32::from(is_greedy);
        }
        assert!(greedy < 4, "the model does not expect what is arbitrary");
    }

    #[test]
    fn a_continuation_that_the_model_makes_itself_is_greedy_and_another_is_not() {
        let _no_grad = tch::no_grad_guard();
        let model = model(KIND);
        let mut text = ids(5, 12);
        for _ in 0..3 {
            let inputs: Vec<i64> = text.iter().map(|id| i64::from(*id)).collect();
            let logits = model.logits(&Tensor::from_slice(&inputs).unsqueeze(0)).unwrap();
            text.push(logits.get(0).get(-1).argmax(-1, false).int64_value(&[]) as u16);
        }
        let other = [&text[..14], &[(text[14] + 1) % 300]].concat();
        let first = text[12];
        let scores = [
            scored(&model, &[sequence(0, &text, 12, &[])]),
            scored(&model, &[sequence(0, &other, 12, &[])]),
            scored(&model, &[sequence(0, &text, 12, &[first])]),
        ]
        .concat();
        assert_eq!(scores.iter().map(|score| score.is_greedy).collect::<Vec<_>>(), [true, false, true]);
        let barred: Vec<_> = scores.iter().map(|score| score.is_greedy_with_stop_words_barred).collect();
        assert_eq!(barred, [true, false, false], "a target that is barred itself is not greedy");
        assert_eq!(scores[0].log_likelihood, scores[2].log_likelihood, "barring changes no likelihood");
    }

    #[test]
    fn the_second_likeliest_is_greedy_where_the_likeliest_is_barred() {
        let logits = Tensor::from_slice(&[0.0_f32, 3.0, 2.0, 2.0]);
        let row = |target, barred| Row { row: 0, target, barred };
        assert_eq!(
            is_likeliest_of_the_rest(&logits, &row(2, &[1])).unwrap(),
            Some(true),
            "of equal ones the lowest id"
        );
        assert_eq!(is_likeliest_of_the_rest(&logits, &row(3, &[1])).unwrap(), Some(false));
        assert_eq!(is_likeliest_of_the_rest(&logits, &row(1, &[])).unwrap(), None);
    }

    /// The trap of one harness after another: scores that differ with the batch.
    #[test]
    fn an_items_score_has_the_same_digits_whatever_is_scored_before_it() {
        let _no_grad = tch::no_grad_guard();
        let model = model(KIND);
        let item = |seed: usize, count: usize| -> Vec<Sequence> {
            let context = ids(seed, count);
            (0..3)
                .map(|r| sequence(r, &[context.clone(), ids(seed + 40 + r as usize, 4)].concat(), count, &[]))
                .collect()
        };
        let items: Vec<Vec<Sequence>> = (0..6).map(|seed| item(seed, 5 + 7 * seed)).collect();
        let forwards: Vec<_> = items.iter().map(|item| scored(&model, item)).collect();
        let mut backwards: Vec<_> = items.iter().rev().map(|item| scored(&model, item)).collect();
        backwards.reverse();
        assert_eq!(forwards, backwards);
    }
}

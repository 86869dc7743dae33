//! The head: logits against the token embedding, the loss and its gradient. Shapes: see the legend in the parent module.
//!
//! Rows are taken in chunks, so that the logits of all of them never exist at once.

use tch::{Kind, Tensor};

/// Rows whose logits exist at once.
const CHUNK_ROWS: i64 = 512;

/// The logits [N, V padded] of `x` [N, C].
pub(super) fn logits(x: &Tensor, embedding: &Tensor) -> Tensor {
    x.mm(&embedding.tr())
}

/// Log-probabilities [n, V padded] of a chunk of rows `x` [n, C]; those of padding are -inf.
fn log_probabilities(x: &Tensor, embedding: &Tensor, vocabulary: i64) -> Tensor {
    let logits = logits(x, embedding);
    let padding = logits.size()[1] - vocabulary;
    let _ = logits.narrow(1, vocabulary, padding).fill_(f64::NEG_INFINITY);
    logits.log_softmax(-1, None::<Kind>)
}

/// The sum of the targets' cross-entropies, a float64 scalar.
fn nll_sum(log_probabilities: &Tensor, targets: &Tensor) -> Tensor {
    -log_probabilities.gather(1, &targets.unsqueeze(1), false).sum(Kind::Double)
}

/// Row ranges of at most [`CHUNK_ROWS`].
fn chunks(rows: i64) -> impl Iterator<Item = (i64, i64)> {
    (0..rows).step_by(CHUNK_ROWS as usize).map(move |start| (start, CHUNK_ROWS.min(rows - start)))
}

/// The summed loss of `x` [N, C] against `targets` [N], in nats: a float64 scalar.
pub(super) fn loss_sum(x: &Tensor, targets: &Tensor, embedding: &Tensor, vocabulary: i64) -> Tensor {
    let mut loss = Tensor::zeros([], (Kind::Double, x.device()));
    for (start, rows) in chunks(x.size()[0]) {
        let chunk = log_probabilities(&x.narrow(0, start, rows), embedding, vocabulary);
        loss += nll_sum(&chunk, &targets.narrow(0, start, rows));
    }
    loss
}

/// The summed loss, and the gradient of `scale` times it: returned for `x` [N, C], added for the embedding.
pub(super) fn loss_and_gradient(
    x: &Tensor,
    targets: &Tensor,
    embedding: &Tensor,
    dembedding: &mut Tensor,
    vocabulary: i64,
    scale: f64,
) -> (Tensor, Tensor) {
    let mut loss = Tensor::zeros([], (Kind::Double, x.device()));
    let dx = x.empty_like();
    for (start, rows) in chunks(x.size()[0]) {
        let (x, targets) = (x.narrow(0, start, rows), targets.narrow(0, start, rows));
        let mut chunk = log_probabilities(&x, embedding, vocabulary); // [n, V padded]
        loss += nll_sum(&chunk, &targets);
        // d loss / d logits = softmax - one-hot.
        let mut dlogits = chunk.exp_();
        let minus_one = Tensor::full([rows, 1], -1.0, (x.kind(), x.device()));
        let _ = dlogits.scatter_add_(1, &targets.unsqueeze(1), &minus_one);
        // The scale goes to the narrow operands, which are C wide and not V.
        let _ = dembedding.addmm_(&dlogits.tr(), &(&x * scale));
        let mut dx = dx.narrow(0, start, rows);
        let _ = dlogits.mm_out(&dx, embedding);
        let _ = dx.g_mul_scalar_(scale);
    }
    (loss, dx)
}

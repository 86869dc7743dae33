//! The head: logits against the token embedding, the loss and its gradient.
//!
//! Rows are taken in chunks, so that the logits of all of them never exist at once.
//!
//! Legend: B batch, T sequence, N = B T rows, C width, H heads, D = C / H head size, L layers, V vocabulary.
//! A chunk has n rows.

use tch::{Device, Kind, TchError, Tensor};

use super::ops;
use crate::kernels::cross_entropy::{cross_entropy, is_in_place};

/// Rows whose logits exist at once: enough for the matrix units, and few for the memory.
pub fn chunk_rows(device: Device) -> i64 {
    if device.is_cuda() { 8192 } else { 512 }
}

/// Bytes that a logit takes while its loss and gradient are computed: itself, and, where there is no kernel that works in
/// its place, its log-probability in float32 and its gradient.
pub fn logit_bytes(device: Device, kind: Kind) -> u64 {
    let own = kind.elt_size_in_bytes() as u64;
    if is_in_place(device, kind) { own } else { 2 * own + 4 }
}

/// Ranges of rows of one chunk each, as their start and their number.
fn chunks(x: &Tensor) -> impl Iterator<Item = (i64, i64)> + use<> {
    let (rows, chunk) = (x.size()[0], chunk_rows(x.device()));
    (0..rows).step_by(chunk as usize).map(move |start| (start, chunk.min(rows - start)))
}

/// The summed loss of `x [N, C]` against `targets [N]`, by `embedding [V padded, C]`, in nats: a float64 scalar.
pub(super) fn loss_sum(x: &Tensor, targets: &Tensor, embedding: &Tensor, vocabulary: i64) -> Result<Tensor, TchError> {
    let mut loss = Tensor::zeros([], (Kind::Double, x.device())); // []
    for (start, rows) in chunks(x) {
        let logits = ops::product_with_transpose(&x.narrow(0, start, rows), embedding); // [n, V padded]
        let (losses, _) = cross_entropy(logits, &targets.narrow(0, start, rows), vocabulary, 0.0)?; // [n]
        loss += losses.sum(Kind::Double); // []
    }
    Ok(loss)
}

/// The summed loss, and the gradient of `scale` times it: returned for `x [N, C]`, and in `dembedding` for the embedding,
/// with what is there if `accumulate`.
pub(super) fn loss_and_gradient(
    x: &Tensor,
    targets: &Tensor,
    (embedding, dembedding): (&Tensor, &Tensor),
    vocabulary: i64,
    scale: f64,
    accumulate: bool,
) -> Result<(Tensor, Tensor), TchError> {
    let mut loss = Tensor::zeros([], (Kind::Double, x.device())); // []
    let dx = x.empty_like(); // [N, C]
    for (start, rows) in chunks(x) {
        let x = x.narrow(0, start, rows); // [n, C]
        let logits = ops::product_with_transpose(&x, embedding); // [n, V padded]
        let targets = targets.narrow(0, start, rows); // [n]
        let (losses, dlogits) = cross_entropy(logits, &targets, vocabulary, scale)?; // [n], [n, V padded]
        loss += losses.sum(Kind::Double); // []
        ops::add_product(dembedding, &dlogits.tr(), &x, accumulate || start > 0)?; // [V padded, C]
        ops::add_product(&dx.narrow(0, start, rows), &dlogits, embedding, false)?; // [n, C]
    }
    Ok((loss, dx))
}

//! The head: logits by the token embedding, the loss and its gradient.
//!
//! Rows are taken in chunks, so that the logits of all rows never exist at once.
//!
//! Legend: B batch, T sequence, N = B T rows, C width, H heads, D = C / H head size, L layers, V vocabulary.
//! A chunk has n rows.

use tch::{Device, Kind, TchError, Tensor};

use super::ops;
use crate::kernels::cross_entropy::{cross_entropy, is_in_place};

/// Returns the number of rows whose logits exist at once: enough for the matrix units, and few enough for the memory.
pub fn chunk_rows(device: Device) -> i64 {
    if device.is_cuda() { 8192 } else { 512 }
}

/// Returns the bytes that a logit takes while its loss and gradient are computed: its own, and, without a kernel that
/// works in place, those of its log-probability in float32 and its gradient.
pub fn logit_bytes(device: Device, kind: Kind) -> u64 {
    let own = kind.elt_size_in_bytes() as u64;
    if is_in_place(device, kind) { own } else { 2 * own + 4 }
}

/// Returns the chunks of the rows of `x`, each as its first row and its number of rows.
fn chunks(x: &Tensor) -> impl Iterator<Item = (i64, i64)> + use<> {
    let (rows, chunk) = (x.size()[0], chunk_rows(x.device()));
    (0..rows).step_by(chunk as usize).map(move |start| (start, chunk.min(rows - start)))
}

/// Returns the summed loss of `x [N, C]` against `targets [N]`, by `embedding [V padded, C]`, in nats: a float64
/// scalar.
pub(super) fn loss_sum(x: &Tensor, targets: &Tensor, embedding: &Tensor, vocabulary: i64) -> Result<Tensor, TchError> {
    let mut loss = Tensor::zeros([], (Kind::Double, x.device())); // []
    for (start, rows) in chunks(x) {
        let logits = ops::product_with_transpose(&x.narrow(0, start, rows), embedding); // [n, V padded]
        let (losses, _) = cross_entropy(logits, &targets.narrow(0, start, rows), vocabulary, 0.0)?; // [n]
        loss += losses.sum(Kind::Double); // []
    }
    Ok(loss)
}

/// Returns the summed loss, and the gradient of `scale` times it for `x [N, C]`. Puts the gradient for the embedding
/// into `dembedding`, added to its present values if `accumulate`.
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

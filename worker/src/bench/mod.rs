//! Benchmarks of `make bench`, which compares Convoy with its peers.
//!
//! - [`step`]: the training step alone, on made-up tokens.
//! - [`stream`]: the token stream alone, without training.
//! - [`checkpoint`]: saving and restoring alone.

pub mod checkpoint;
pub mod step;
pub mod stream;

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

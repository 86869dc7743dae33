//! Requests as token sequences for a model: what is encoded, split, cut into windows, and made to fit.

mod encode;
mod error;
mod limits;
mod sequence;
mod windows;

pub use encode::{Encode, encode_items};
pub use error::EncodeError;
pub use limits::{Limits, OnLong};
pub use sequence::{Key, Sequence, Sequences};
pub use windows::{Window, windows};

//! Text and random numbers as Python has them, in which other harnesses are written.

mod random;
mod text;

pub use random::PythonRandom;
pub use text::{capitalize, count_split_by_space, strip};

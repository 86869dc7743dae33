//! Texts of training data, in units that ranks share.

use crate::error::JobError;

/// Part of the texts of a unit, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'t> {
    /// Piece of a text.
    Piece(&'t str),
    /// End of a text.
    End,
}

/// Texts in units, which ranks share. The texts of all units are those of the training data, each once.
pub trait Texts {
    /// Returns the size of each unit, in bytes of the training data as they are stored.
    fn units(&self) -> Vec<u64>;

    /// Calls `see` with the texts of unit number `unit`.
    fn read(&self, unit: usize, see: &mut dyn FnMut(Part<'_>)) -> Result<(), JobError>;
}

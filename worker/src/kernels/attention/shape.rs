//! Shape of the rows of attention.

use tch::Tensor;

/// Shape of the rows of attention, N = B T of them.
#[derive(Clone, Copy)]
pub struct Shape {
    /// B, the number of sequences.
    pub batch: i64,
    /// T, the number of tokens in a sequence.
    pub sequence: i64,
    /// H, the number of heads.
    pub heads: i64,
}

impl Shape {
    /// Panics unless `rows` are N contiguous rows of `parts` widths, each divisible by the number of heads. The check
    /// is here because a panic in a task would end the process.
    pub(super) fn assert_rows(&self, rows: &Tensor, parts: i64) {
        let (size, fit) = (rows.size(), parts * self.heads);
        let fits = size.len() == 2 && size[0] == self.batch * self.sequence && size[1] % fit == 0;
        assert!(fits && rows.is_contiguous(), "no rows for {} heads: {size:?}", self.heads);
    }
}

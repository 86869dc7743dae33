//! What the rows of attention are.

use tch::Tensor;

/// What the rows of attention are: N = B T of them.
#[derive(Clone, Copy)]
pub struct Shape {
    /// B
    pub batch: i64,
    /// T
    pub sequence: i64,
    /// H
    pub heads: i64,
}

impl Shape {
    /// Panics if `rows` are not N rows without gaps, of `parts` widths that all heads share alike: here, and not in a task, where
    /// it would end the process.
    pub(super) fn assert_rows(&self, rows: &Tensor, parts: i64) {
        let (size, fit) = (rows.size(), parts * self.heads);
        let fits = size.len() == 2 && size[0] == self.batch * self.sequence && size[1] % fit == 0;
        assert!(fits && rows.is_contiguous(), "no rows for {} heads: {size:?}", self.heads);
    }
}

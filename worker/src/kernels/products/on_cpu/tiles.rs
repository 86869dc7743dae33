//! How results of products are cut into tiles, of which a thread takes one at a time.

use crate::kernels::cpu::threads::each_in_turn;

/// What tiles may be.
#[derive(Clone, Copy, Debug)]
pub struct Tiles {
    /// Rows and columns of one, at most.
    pub most: (usize, usize),
    /// Both are multiples of this: whole registers, or whole panels.
    pub unit: usize,
}

/// Calls `task` with the first row and column of each tile of a result, and its rows and columns.
pub fn each_tile(rows: usize, columns: usize, tiles: Tiles, task: impl Fn([usize; 2], [usize; 2]) + Sync) {
    let (height, width) = tile(rows, columns, tch::get_num_threads() as usize, tiles);
    let across = columns.div_ceil(width);
    each_in_turn(rows.div_ceil(height) * across, &|number| {
        let (top, left) = (number / across * height, number % across * width);
        task([top, left], [height.min(rows - top), width.min(columns - left)]);
    });
}

/// Rows and columns of a tile: even, and fewer where threads would have to wait long for the one with the last tile.
pub fn tile(rows: usize, columns: usize, threads: usize, tiles: Tiles) -> (usize, usize) {
    let (mut most_rows, mut most_columns) = tiles.most;
    loop {
        let tile = (even_part(rows, most_rows, tiles.unit), even_part(columns, most_columns, tiles.unit));
        let count = rows.div_ceil(tile.0) * columns.div_ceil(tile.1);
        if count.is_multiple_of(threads) || count >= 3 * threads || tile.0.max(tile.1) <= LEAST_SIDE {
            return tile;
        }
        match tile.0 > tile.1 {
            true => most_rows = tile.0 / 2,
            false => most_columns = tile.1 / 2,
        }
    }
}

/// Rows or columns of a tile that are not halved again.
pub const LEAST_SIDE: usize = 64;

/// The length of even parts of `all`, of which none is much longer than `most`; a multiple of `unit`.
pub fn even_part(all: usize, most: usize, unit: usize) -> usize {
    all.div_ceil(all.div_ceil(most)).next_multiple_of(unit)
}

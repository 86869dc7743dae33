//! Division of a product's result into tiles, which threads take one at a time.

use crate::kernels::cpu::threads::each_in_turn;

/// Limits of a tile's size.
#[derive(Clone, Copy, Debug)]
pub struct Tiles {
    /// Limits of the rows and columns in a tile.
    pub most: (usize, usize),
    /// Unit of a tile's rows and columns: whole registers, or whole panels.
    pub unit: usize,
}

/// Calls `task` with the first row and column of each tile of a result, and with its numbers of rows and columns.
pub fn each_tile(rows: usize, columns: usize, tiles: Tiles, task: impl Fn([usize; 2], [usize; 2]) + Sync) {
    let (height, width) = tile(rows, columns, tch::get_num_threads() as usize, tiles);
    let across = columns.div_ceil(width);
    each_in_turn(rows.div_ceil(height) * across, &|number| {
        let (top, left) = (number / across * height, number % across * width);
        task([top, left], [height.min(rows - top), width.min(columns - left)]);
    });
}

/// Returns the rows and columns of a tile: evenly divided, and fewer if threads would wait long for the one with the
/// last tile.
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

/// Number of rows or columns up to which a tile is not halved again.
pub const LEAST_SIDE: usize = 64;

/// Returns the length of even parts of `all`, of which none is much longer than `most`: a multiple of `unit`.
pub fn even_part(all: usize, most: usize, unit: usize) -> usize {
    all.div_ceil(all.div_ceil(most)).next_multiple_of(unit)
}

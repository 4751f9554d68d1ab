//! Twin of `shaders/alpha_dropout.wgsl`.

use crate::AlphaDropout;

/// Computes `y = a·x + b` if an element is kept, else `a·α' + b`; both `[rows, cols]`.
pub fn alpha_dropout(x: &[f32], y: &mut [f32], cols: usize, dropout: &AlphaDropout) {
    if dropout.is_identity() {
        return y.copy_from_slice(x);
    }
    for (row, (x, y)) in x.chunks(cols.max(1)).zip(y.chunks_mut(cols.max(1))).enumerate() {
        for (group, (x, y)) in x.chunks(8).zip(y.chunks_mut(8)).enumerate() {
            let keep = dropout.mask.keep8(row, 8 * group);
            x.iter()
                .zip(y)
                .enumerate()
                .for_each(|(j, (&x, y))| *y = dropout.apply(x, keep >> j & 1 == 1));
        }
    }
}

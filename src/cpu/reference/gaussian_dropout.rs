//! Twin of `shaders/gaussian_dropout.wgsl`.

use crate::GaussianDropout;
use crate::gaussian::quantile;

/// Computes `y = x·(1 + σ·n)`, both `[rows, cols]`.
pub fn gaussian_dropout(x: &[f32], y: &mut [f32], cols: usize, dropout: &GaussianDropout) {
    if dropout.is_identity() {
        return y.copy_from_slice(x);
    }
    for (row, (x, y)) in x.chunks(cols.max(1)).zip(y.chunks_mut(cols.max(1))).enumerate() {
        for (group, (x, y)) in x.chunks(8).zip(y.chunks_mut(8)).enumerate() {
            let draws = dropout.mask().draws8(row, 8 * group);
            x.iter()
                .zip(y)
                .zip(draws)
                .for_each(|((x, y), draw)| *y = x * (1.0 + dropout.scale() * quantile(draw)));
        }
    }
}

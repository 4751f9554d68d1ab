//! Twin of `shaders/batch_norm.wgsl`.

use super::{activate_row, drop_row};
use crate::Dropout;

/// Computes `Y = M·s·relu(γ·(X − mean)/√(variance + ε) + β)`. `x` and `y` are `[rows, cols]`;
/// `statistics` (mean, variance) and `affine` (γ, β) are `[2, cols]`.
#[allow(clippy::too_many_arguments)]
pub fn batch_norm(
    x: &[f32],
    statistics: &[f32],
    affine: &[f32],
    y: &mut [f32],
    cols: usize,
    epsilon: f32,
    relu: bool,
    dropout: &Dropout,
) {
    let inverse = inverse_deviations(statistics, cols, epsilon);
    for (index, (y, x)) in y.chunks_mut(cols.max(1)).zip(x.chunks(cols.max(1))).enumerate() {
        normalize_row(x, &statistics[..cols], &inverse, affine, y);
        activate_row(y, None, relu);
        drop_row(y, index, dropout);
    }
}

/// Returns `1/√(variance + ε)` of each column.
pub(crate) fn inverse_deviations(statistics: &[f32], cols: usize, epsilon: f32) -> Vec<f32> {
    statistics[cols..].iter().map(|variance| 1.0 / (variance + epsilon).sqrt()).collect()
}

/// Computes `γ·(x − mean)·inverse + β` for a row.
pub(crate) fn normalize_row(
    x: &[f32],
    means: &[f32],
    inverse: &[f32],
    affine: &[f32],
    y: &mut [f32],
) {
    let (gamma, beta) = affine.split_at(x.len());
    let columns = means.iter().zip(inverse).zip(gamma.iter().zip(beta));
    for ((y, x), ((mean, inverse), (gamma, beta))) in y.iter_mut().zip(x).zip(columns) {
        *y = gamma * ((x - mean) * inverse) + beta;
    }
}

//! Twin of `shaders/batch_norm_grad.wgsl`.

use super::batch_norm::inverse_deviations;
use super::through_relu;

/// Computes `dγ`, `dβ` and `dX` of a batch normalization with the statistics of `x`. `x`, `grad_y`
/// and `grad_x` are `[rows, cols]`, the others `[2, cols]`; `grad_affine` holds `dγ`, then `dβ`.
///
/// With `through` (a scale), `x` was the output of a ReLU and a dropout, and `dX` passes back
/// through them.
#[allow(clippy::too_many_arguments)]
pub fn batch_norm_grad(
    x: &[f32],
    statistics: &[f32],
    affine: &[f32],
    grad_y: &[f32],
    grad_affine: &mut [f32],
    grad_x: &mut [f32],
    cols: usize,
    epsilon: f32,
    through: Option<f32>,
) {
    let inverse = inverse_deviations(statistics, cols, epsilon);
    let (means, width) = (&statistics[..cols], cols.max(1));
    let (gamma, beta) = grad_affine.split_at_mut(cols);
    gamma.fill(0.0);
    beta.fill(0.0);
    for (x, grad) in x.chunks(width).zip(grad_y.chunks(width)) {
        for (col, (x, g)) in x.iter().zip(grad).enumerate() {
            gamma[col] += g * ((x - means[col]) * inverse[col]);
            beta[col] += g;
        }
    }
    let share = (width as f64 / x.len() as f64) as f32;
    for ((x, grad), out) in x.chunks(width).zip(grad_y.chunks(width)).zip(grad_x.chunks_mut(width))
    {
        for (col, ((out, x), g)) in out.iter_mut().zip(x).zip(grad).enumerate() {
            let slope = affine[col] * inverse[col];
            *out = slope
                * (g - beta[col] * share - (x - means[col]) * inverse[col] * (gamma[col] * share));
        }
        if let Some(scale) = through {
            through_relu(out, x, scale);
        }
    }
}

//! Twin of `shaders/sparsity_grad.wgsl`.

/// Means are clamped to `LEAST` … 1 − `LEAST`, so that the gradient stays finite.
const LEAST: f32 = 1e-6;

/// Adds the gradient of `weight·Σ KL(target ‖ mean)` to `grad_y [B, cols]`. The means are the first
/// `cols` values of `statistics`.
pub fn sparsity_grad(
    statistics: &[f32],
    grad_y: &mut [f32],
    cols: usize,
    target: f32,
    weight: f32,
) {
    let scale = (f64::from(weight) / (grad_y.len() / cols.max(1)).max(1) as f64) as f32;
    for row in grad_y.chunks_mut(cols.max(1)) {
        for (grad, mean) in row.iter_mut().zip(statistics) {
            let mean = mean.clamp(LEAST, 1.0 - LEAST);
            *grad += scale * ((1.0 - target) / (1.0 - mean) - target / mean);
        }
    }
}

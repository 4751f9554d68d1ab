//! Twin of `shaders/layer_norm.wgsl`.

/// Computes `y = γ·(x − mean)/√(variance + ε) + β` for each row of `x [rows, cols]`, with
/// `affine [2, cols]` (γ, β). Stores the mean and `1/√(variance + ε)` in `statistics [rows, 2]`.
/// All sums are in ascending order.
pub fn layer_norm(
    x: &[f32],
    affine: &[f32],
    y: &mut [f32],
    statistics: &mut [f32],
    cols: usize,
    epsilon: f32,
) {
    let inverse_cols = (1.0 / cols as f64) as f32;
    let (gamma, beta) = affine.split_at(cols);
    let rows = x.chunks_exact(cols.max(1)).zip(y.chunks_exact_mut(cols.max(1)));
    for ((x, y), statistics) in rows.zip(statistics.chunks_exact_mut(2)) {
        let mean = x.iter().fold(0.0, |sum, x| sum + x) * inverse_cols;
        let squares = x.iter().fold(0.0, |sum, x| sum + (x - mean) * (x - mean));
        let inverse = 1.0 / (squares * inverse_cols + epsilon).sqrt();
        for (((y, x), gamma), beta) in y.iter_mut().zip(x).zip(gamma).zip(beta) {
            *y = gamma * ((x - mean) * inverse) + beta;
        }
        statistics.copy_from_slice(&[mean, inverse]);
    }
}

//! Twin of `shaders/squared_error.wgsl`.

/// Computes the loss `½·Σ_c (y − t)²` of each row and the gradient of the mean loss. `y` is the
/// logistic function of `z` if `logistic`, else `z` itself.
///
/// `z`, `targets` and `grad_z` are `[B, C]`. A row of `losses [B, 2]` holds the loss and 0.
pub fn squared_error(
    z: &[f32],
    targets: &[f32],
    grad_z: &mut [f32],
    losses: &mut [f32],
    cols: usize,
    logistic: bool,
) {
    let share = (1.0 / (losses.len() / 2) as f64) as f32;
    for (row, loss) in losses.chunks_mut(2).enumerate() {
        let span = row * cols..(row + 1) * cols;
        let mut sum = 0.0;
        for ((dz, &z), &target) in
            grad_z[span.clone()].iter_mut().zip(&z[span.clone()]).zip(&targets[span])
        {
            let (y, slope) = match logistic {
                true => {
                    let y = self::logistic(z);
                    (y, y * (1.0 - y))
                }
                false => (z, 1.0),
            };
            let difference = y - target;
            sum += difference * difference;
            *dz = difference * slope * share;
        }
        loss.copy_from_slice(&[0.5 * sum, 0.0]);
    }
}

/// Computes `1 / (1 + exp(-z))` from the exponential of `-|z|`, which cannot overflow.
pub fn logistic(z: f32) -> f32 {
    let e = (-z.abs()).exp();
    (if z >= 0.0 { 1.0 } else { e }) / (1.0 + e)
}

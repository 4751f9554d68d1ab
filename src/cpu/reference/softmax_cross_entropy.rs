//! Twin of `shaders/softmax_cross_entropy.wgsl`.

/// Computes the loss of each row and the gradient of the mean over `batch` losses.
///
/// `logits` and `grad_logits` are `[B, C]`, `labels [B]`, `losses [B, 2]`. A row of `losses` holds
/// the loss in nats, and 1 if the prediction is correct, else 0. A label past the classes gives a
/// loss of NaN.
pub fn softmax_cross_entropy(
    logits: &[f32],
    labels: &[u32],
    grad_logits: &mut [f32],
    losses: &mut [f32],
    classes: usize,
    batch: usize,
) {
    let share = (1.0 / batch as f64) as f32;
    for (row, &label) in labels.iter().enumerate() {
        let span = row * classes..(row + 1) * classes;
        let (z, dz) = (&logits[span.clone()], &mut grad_logits[span]);
        // The prediction is the first of equal largest logits.
        let argmax = (1..classes).fold(0, |best, c| if z[c] > z[best] { c } else { best });
        let largest = z.get(argmax).copied().unwrap_or(f32::NAN);
        let mut sum = 0.0;
        for (dz, &z) in dz.iter_mut().zip(z) {
            *dz = (z - largest).exp();
            sum += *dz;
        }
        for (c, dz) in dz.iter_mut().enumerate() {
            let target = if c == label as usize { 1.0 } else { 0.0 };
            *dz = (*dz / sum - target) * share;
        }
        losses[2 * row] = z.get(label as usize).map_or(f32::NAN, |z| sum.ln() - (z - largest));
        losses[2 * row + 1] = if argmax == label as usize { 1.0 } else { 0.0 };
    }
}

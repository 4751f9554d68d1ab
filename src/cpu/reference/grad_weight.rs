//! Twin of `shaders/grad_weight.wgsl`.

/// Computes `dW = Xᵀ·dZ` and `db = Σ_rows dZ`; `X [B, I]`, `dZ [B, O]`, `dW [I, O]`, `db [O]`, and
/// `shape` is `[I, O]`.
///
/// Each element sums over the batch in ascending order.
pub fn grad_weight(
    x: &[f32],
    grad_z: &[f32],
    grad_weight: &mut [f32],
    grad_bias: &mut [f32],
    shape: [usize; 2],
) {
    let [inputs, outputs] = shape;
    grad_weight.fill(0.0);
    grad_bias.fill(0.0);
    for (index, dz) in grad_z.chunks(outputs.max(1)).enumerate() {
        let x = &x[index * inputs..(index + 1) * inputs];
        for (&x, dw) in x.iter().zip(grad_weight.chunks_mut(outputs.max(1))) {
            dw.iter_mut().zip(dz).for_each(|(dw, &dz)| *dw += x * dz);
        }
        grad_bias.iter_mut().zip(dz).for_each(|(db, &dz)| *db += dz);
    }
}

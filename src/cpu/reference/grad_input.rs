//! Twin of `shaders/grad_input.wgsl`.

/// Computes `dX = dZ·Wᵀ`; `dZ [B, O]`, `W [I, O]`, `dX [B, I]`, and `shape` is `[I, O]`. Each
/// element sums over `O` in ascending order, in one chain or in the parts that
/// [`order::part`](crate::order::part) gives.
///
/// With `through` (`X [B, I]` and its scale `s`), the backward pass continues through the preceding
/// ReLU and dropout: `dX·s` if `X > 0`, else 0.
pub fn grad_input(
    grad_z: &[f32],
    weight: &[f32],
    grad_input: &mut [f32],
    shape: [usize; 2],
    through: Option<(&[f32], f32)>,
) {
    let [inputs, outputs] = shape;
    // With Wᵀ, the innermost loop runs along a row, as in linear_forward.
    let mut transposed = vec![0.0; weight.len()];
    for (i, row) in weight.chunks(outputs.max(1)).enumerate() {
        row.iter().enumerate().for_each(|(o, &w)| transposed[o * inputs + i] = w);
    }
    super::linear_forward(
        grad_z,
        &transposed,
        None,
        grad_input,
        [outputs, inputs],
        false,
        &crate::Dropout::NONE,
    );
    if let Some((x, scale)) = through {
        super::through_relu(grad_input, x, scale);
    }
}

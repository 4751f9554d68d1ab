//! Twin of `shaders/linear_forward.wgsl`.

use crate::Dropout;

/// `Y = M·s·relu(X·W + b)`; `X [B, I]`, `W [I, O]`, `b [O]`, `Y [B, O]`, `shape` is `[I, O]`.
///
/// Each element sums over `I` in ascending order in one chain, then adds the bias.
pub fn linear_forward(
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    y: &mut [f32],
    shape: [usize; 2],
    relu: bool,
    dropout: &Dropout,
) {
    let [inputs, outputs] = shape;
    y.fill(0.0);
    for (index, y) in y.chunks_mut(outputs.max(1)).enumerate() {
        let x = &x[index * inputs..(index + 1) * inputs];
        // The innermost loop runs along a row of W, so that a compiler can vectorise it without touching the order of a sum.
        for (&x, weight) in x.iter().zip(weight.chunks(outputs.max(1))) {
            y.iter_mut().zip(weight).for_each(|(y, &w)| *y += x * w);
        }
        super::activate_row(y, bias, relu);
        super::drop_row(y, index, dropout);
    }
}

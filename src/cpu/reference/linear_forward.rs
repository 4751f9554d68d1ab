//! Twin of `shaders/linear_forward.wgsl`.

use crate::{Dropout, order};

/// Computes `Y = M·s·relu(X·W + b)`; `X [B, I]`, `W [I, O]`, `b [O]`, `Y [B, O]`, and `shape` is
/// `[I, O]`.
///
/// Each element sums over `I` in ascending order, in one chain or in the parts that [`order::part`]
/// gives, then adds the bias.
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
    let part = order::part(y.len() / outputs.max(1), outputs, inputs).unwrap_or(inputs).max(1);
    let mut sums = vec![0.0; outputs];
    y.fill(0.0);
    for (index, y) in y.chunks_mut(outputs.max(1)).enumerate() {
        let x = &x[index * inputs..(index + 1) * inputs];
        // The innermost loop runs along a row of W, so that a compiler can vectorize it without
        // changing the order of any sum.
        for (x, weight) in x.chunks(part).zip(weight.chunks(part * outputs.max(1))) {
            sums.fill(0.0);
            for (&x, weight) in x.iter().zip(weight.chunks(outputs.max(1))) {
                sums.iter_mut().zip(weight).for_each(|(sum, &w)| *sum += x * w);
            }
            y.iter_mut().zip(&sums).for_each(|(y, &sum)| *y += sum);
        }
        super::activate_row(y, bias, relu);
        super::drop_row(y, index, dropout);
    }
}

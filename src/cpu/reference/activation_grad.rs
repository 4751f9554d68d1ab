//! Twin of `shaders/activation_grad.wgsl`.

use super::activation::back;
use crate::Dropout;
use crate::rules::Activation;

/// Computes `dZ = M·s·act'(Z)·dY`, all `[rows, cols]`.
pub fn activation_grad(
    grad_output: &[f32],
    z: &[f32],
    grad_z: &mut [f32],
    cols: usize,
    activation: Activation,
    dropout: &Dropout,
) {
    for (index, row) in grad_z.chunks_mut(cols.max(1)).enumerate() {
        let from = index * cols;
        for ((grad, dy), &z) in row.iter_mut().zip(&grad_output[from..]).zip(&z[from..]) {
            *grad = back(activation, z, *dy);
        }
        super::drop_row(row, index, dropout);
    }
}

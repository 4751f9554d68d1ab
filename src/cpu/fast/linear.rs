//! `linear_forward`, `grad_input` and `grad_weight` on all threads: a matrix product, and the rest of the layer in one pass over its rows.
//!
//! Sums are in another order than the reference's, so results agree within rounding; masks are the same bits.

use super::matmul::{Factor, matmul};
use super::{Isa, segment};
use crate::Dropout;
use crate::call::SgdRule;
use crate::cpu::reference::{activate_row, sgd, through_relu};
use rayon::prelude::*;

/// Elements below which a second thread costs more than it brings.
const JOB: usize = 1 << 14;

/// `Y = M·s·relu(X·W + b)`; `shape` is `[I, O]`.
#[allow(clippy::too_many_arguments)]
pub fn linear_forward(
    isa: Isa,
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    y: &mut [f32],
    shape: [usize; 2],
    relu: bool,
    dropout: &Dropout,
) {
    let [inputs, outputs] = shape;
    if outputs == 0 {
        return;
    }
    let batch = y.len() / outputs;
    matmul(Factor::new(x, batch, inputs), Factor::new(weight, inputs, outputs), y);
    each_row(y, outputs, |row, y| {
        activate_row(y, bias, relu);
        segment(isa, None, y, row, 0, dropout, false);
    });
}

/// `dZ` from `dY`; see [`crate::cpu::reference::gradient`].
pub fn gradient(isa: Isa, grad_output: &[f32], output: Option<&[f32]>, cols: usize, dropout: &Dropout) -> Vec<f32> {
    let mut grad_z = grad_output.to_vec();
    each_row(&mut grad_z, cols, |row, dz| match output {
        Some(output) => through_relu(dz, &output[row * cols..(row + 1) * cols], dropout.scale),
        None => segment(isa, None, dz, row, 0, dropout, false),
    });
    grad_z
}

/// `dX = dZ·Wᵀ`, or with `through` (`X` and its scale) `dX·s` where `X > 0`; `shape` is `[I, O]`.
pub fn grad_input(grad_z: &[f32], weight: &[f32], grad_input: &mut [f32], shape: [usize; 2], through: Option<(&[f32], f32)>) {
    let [inputs, outputs] = shape;
    let batch = grad_input.len() / inputs.max(1);
    if inputs > 0 {
        matmul(Factor::new(grad_z, batch, outputs), Factor::new(weight, inputs, outputs).transposed(), grad_input);
    }
    if let Some((x, scale)) = through {
        each_row(grad_input, inputs, |row, dx| {
            through_relu(dx, &x[row * inputs..(row + 1) * inputs], scale);
        });
    }
}

/// `dW = Xᵀ·dZ` and `db = Σ_rows dZ`; `shape` is `[I, O]`.
pub fn grad_weight(x: &[f32], grad_z: &[f32], grad_weight: &mut [f32], grad_bias: &mut [f32], shape: [usize; 2]) {
    let [inputs, outputs] = shape;
    let batch = grad_z.len() / outputs.max(1);
    if outputs > 0 {
        matmul(Factor::new(x, batch, inputs).transposed(), Factor::new(grad_z, batch, outputs), grad_weight);
    }
    grad_bias.fill(0.0);
    for dz in grad_z.chunks(outputs.max(1)) {
        grad_bias.iter_mut().zip(dz).for_each(|(db, &dz)| *db += dz);
    }
}

/// One update with `dW = Xᵀ·dZ` and `db = Σ_rows dZ`; see [`crate::cpu::reference::grad_weight_sgd`]. `shape` is `[I, O]`.
pub fn grad_weight_sgd(
    x: &[f32],
    grad_z: &[f32],
    weight: &mut [f32],
    bias: &mut [f32],
    velocity: Option<(&mut [f32], &mut [f32])>,
    shape: [usize; 2],
    rule: &SgdRule,
) {
    let (mut dw, mut db) = (vec![0.0; weight.len()], vec![0.0; bias.len()]);
    grad_weight(x, grad_z, &mut dw, &mut db, shape);
    let (weight_velocity, bias_velocity) = velocity.unzip();
    sgd(&dw, weight, weight_velocity, shape[1], rule);
    sgd(&db, bias, bias_velocity, shape[1], &rule.for_bias());
}

/// Runs `f` on every row with its index, several rows a job.
fn each_row(values: &mut [f32], cols: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
    let cols = cols.max(1);
    let rows = (JOB / cols).max(1);
    values.par_chunks_mut(rows * cols).enumerate().for_each(|(job, values)| {
        for (row, values) in values.chunks_mut(cols).enumerate() {
            f(job * rows + row, values);
        }
    });
}

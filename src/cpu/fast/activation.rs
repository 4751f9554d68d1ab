//! `linear_activation` and `activation_grad` on all threads. The epilogue is applied to each row
//! while it is in the first-level cache.

use super::dropout::each_part_of;
use super::product::{Factor, Lanes, Output, activate, product};
use super::row::Site;
use super::{Isa, segment};
use crate::Dropout;
use crate::cpu::reference;
use crate::rules::Activation;

/// Elements per job of a gradient.
const JOB: usize = 1 << 14;

/// Computes `Y = R + M·s·act(Z)` with `Z = X·W + b`; `shape` is `[I, O]`. Stores `Z` if `z` is
/// given.
#[allow(clippy::too_many_arguments)]
pub fn linear_activation(
    isa: Isa,
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    residual: Option<&[f32]>,
    z: Option<&mut [f32]>,
    y: &mut [f32],
    shape: [usize; 2],
    activation: Activation,
    dropout: &Dropout,
) {
    let [inputs, outputs] = shape;
    let shape = [y.len() / outputs.max(1), inputs, outputs];
    let x = Factor::new(x, inputs, Lanes::Rows);
    let weight = Factor::new(weight, outputs, Lanes::Cols);
    let site = Site::new(dropout);
    let finish = |row: usize, col: usize, y: &mut [f32], z: Option<&mut [f32]>| {
        if let Some(bias) = bias {
            activate(isa, y, Some(&bias[col..col + y.len()]), false);
        }
        if let Some(z) = z {
            z.copy_from_slice(y);
        }
        match activation {
            Activation::None => {}
            Activation::Relu => activate(isa, y, None, true),
            _ => y.iter_mut().for_each(|y| *y = reference::activate(activation, *y)),
        }
        segment(isa, None, y, row, col, &site, false);
        if let Some(residual) = residual {
            y.iter_mut().zip(&residual[row * outputs + col..]).for_each(|(y, r)| *y += r);
        }
    };
    match z {
        Some(z) => product(isa, shape, x, weight, Output::Matrix(y), [z], |row, col, y, [z]| {
            finish(row, col, y, Some(z))
        }),
        None => product(isa, shape, x, weight, Output::Matrix(y), [], |row, col, y, []| {
            finish(row, col, y, None)
        }),
    }
}

/// Computes `dZ = M·s·act'(Z)·dY`, all `[rows, cols]`.
pub fn activation_grad(
    isa: Isa,
    grad_output: &[f32],
    z: &[f32],
    grad_z: &mut [f32],
    cols: usize,
    activation: Activation,
    dropout: &Dropout,
) {
    let site = Site::new(dropout);
    each_part_of(JOB, grad_z, cols, |grad, row, col| {
        let from = row * cols + col;
        for ((grad, dy), &z) in grad.iter_mut().zip(&grad_output[from..]).zip(&z[from..]) {
            *grad = reference::back(activation, z, *dy);
        }
        segment(isa, None, grad, row, col, &site, false);
    });
}

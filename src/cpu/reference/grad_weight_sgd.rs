//! Twin of `shaders/grad_weight_sgd.wgsl`.

use super::{grad_weight, sgd};
use crate::rules::SgdRule;

/// Updates the weights and bias once by [`SgdRule`] with `dW = Xᵀ·dZ` and `db = Σ_rows dZ`;
/// `X [B, I]`, `dZ [B, O]`, `W [I, O]`, `b [O]`, and `shape` is `[I, O]`.
///
/// Each gradient sums over the batch in ascending order.
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

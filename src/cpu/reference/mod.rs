//! One readable twin per shader, with the same file stem and the same order of summation.
//!
//! The functions take row-major slices whose lengths the caller must have checked, as
//! [`Cpu`](crate::Cpu) does. They panic on other lengths. If a device multiplies and adds with
//! two roundings, as these functions do, the results are equal bit for bit. If it contracts the two
//! operations, they agree within rounding.

mod activation;
mod activation_grad;
mod adamw;
mod alpha_dropout;
mod attention;
mod attention_grad;
mod batch_loss;
mod batch_norm;
mod batch_norm_grad;
mod batch_statistics;
mod dropout;
mod dropout_bits;
mod dropout_broadcast;
mod gather;
mod gaussian_dropout;
mod grad_input;
mod grad_weight;
mod grad_weight_sgd;
mod gradient;
mod layer_norm;
mod linear_activation;
mod linear_forward;
mod mask_bits;
mod mask_bytes;
mod moments;
mod patches;
mod patches_grad;
mod philox_words;
mod pool;
mod pool_grad;
mod sgd;
mod softmax_cross_entropy;
mod sparsity_grad;
mod squared_error;
mod subnetworks;

pub(crate) use activation::{activate, back};
pub use activation_grad::activation_grad;
pub use adamw::adamw;
pub use alpha_dropout::alpha_dropout;
pub use attention::AttentionFactors;
pub(crate) use attention::attention;
pub use attention_grad::AttentionResults;
pub(crate) use attention_grad::attention_grad;
pub use batch_loss::batch_loss;
pub use batch_norm::batch_norm;
pub(crate) use batch_norm::{inverse_deviations, normalize_row};
pub use batch_norm_grad::batch_norm_grad;
pub use batch_statistics::batch_statistics;
pub use dropout::{dropout, dropout_in_place};
pub use dropout_bits::dropout_bits;
pub use dropout_broadcast::dropout_broadcast;
pub use gather::gather;
pub use gaussian_dropout::gaussian_dropout;
pub use grad_input::grad_input;
pub use grad_weight::grad_weight;
pub use grad_weight_sgd::grad_weight_sgd;
pub use gradient::gradient;
pub use layer_norm::layer_norm;
pub use linear_activation::linear_activation;
pub use linear_forward::linear_forward;
pub use mask_bits::mask_bits;
pub use mask_bytes::mask_bytes;
pub use moments::moments;
pub(crate) use moments::{join_row, softmax};
pub use patches::patches;
pub use patches_grad::patches_grad;
pub use philox_words::philox_words;
pub use pool::pool;
pub use pool_grad::pool_grad;
pub use sgd::sgd;
pub(crate) use sgd::{descend, shrink};
pub use softmax_cross_entropy::softmax_cross_entropy;
pub use sparsity_grad::sparsity_grad;
pub use squared_error::{logistic, squared_error};
pub use subnetworks::subnetworks;

use crate::Dropout;

/// `row = relu(row + bias)`; the bias and the ReLU are each optional.
#[inline(always)]
pub(crate) fn activate_row(row: &mut [f32], bias: Option<&[f32]>, relu: bool) {
    if let Some(bias) = bias {
        row.iter_mut().zip(bias).for_each(|(y, &b)| *y += b);
    }
    if relu {
        // A comparison instead of max(), so that relu(NaN) is NaN.
        row.iter_mut().for_each(|y| *y = if *y <= 0.0 { 0.0 } else { *y });
    }
}

/// The backward pass through dropout and ReLU: `grad = grad·scale` if the ReLU's output is above 0,
/// else 0.
#[inline(always)]
pub(crate) fn through_relu(grad: &mut [f32], output: &[f32], scale: f32) {
    // A NaN in the output is not <= 0, so the gradient passes.
    grad.iter_mut()
        .zip(output)
        .for_each(|(grad, &y)| *grad = if y <= 0.0 { 0.0 } else { *grad * scale });
}

/// Computes `row[c] = M·s·row[c]` in place, for local row `index` of the masked tensor.
pub(crate) fn drop_row(row: &mut [f32], index: usize, dropout: &Dropout) {
    for (group, strip) in row.chunks_mut(8).enumerate() {
        let keep = dropout.mask.keep8(index, 8 * group);
        for (j, value) in strip.iter_mut().enumerate() {
            // By selection, so that a dropped NaN or infinity becomes 0.
            *value = if keep >> j & 1 == 1 { *value * dropout.scale } else { 0.0 };
        }
    }
}

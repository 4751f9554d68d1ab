//! The operations on backends other than wgpu's, such as Burn's CPU backends: masks drawn by the
//! CPU path of wgpu-dropout, applied by Burn's own operations.

use burn::tensor::activation::relu;
use burn::tensor::{Bool, Tensor, TensorData};
use wgpu_dropout::{Backend, Cpu, Dropout, Mask, Result};

use crate::ops::rows_cols;

/// Computes `y = M·s·x`, by selection, for a tensor whose mask has passed its check.
pub(crate) fn dropout<const D: usize>(x: Tensor<D>, dropout: Dropout) -> Result<Tensor<D>> {
    if dropout == Dropout::NONE {
        return Ok(x);
    }
    let shape = x.shape();
    let [rows, cols] = rows_cols(&shape);
    let kept = if dropout.mask.rate == Mask::KEEP_ALL.rate {
        x
    } else {
        let kept = Cpu::new().read_mask(dropout.mask, rows, cols)?;
        let dropped: Vec<bool> = kept.into_iter().map(|kept| kept == 0).collect();
        let dropped = Tensor::<D, Bool>::from_data(TensorData::new(dropped, shape), &x.device());
        x.mask_fill(dropped, 0.0)
    };
    Ok(kept.mul_scalar(dropout.scale))
}

/// Computes `Y = M·s·relu(X·W + b)` for operands whose shapes have passed their check.
pub(crate) fn linear_relu_dropout<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    dropout: Dropout,
) -> Result<Tensor<D>> {
    let mut shape = x.shape();
    let [rows, inputs] = rows_cols(&shape);
    shape[D - 1] = weight.dims()[1];
    let sums = x.reshape([rows, inputs]).matmul(weight);
    let sums = match bias {
        Some(bias) => sums + bias.unsqueeze::<2>(),
        None => sums,
    };
    self::dropout(relu(sums).reshape(shape), dropout)
}

//! The operations as functions of tensors: mask and scale are the caller's.

use crate::engine::Engine;
use crate::ops::{DropoutOps, rows_cols};
use burn::backend::Dispatch;
use burn::tensor::{DType, Tensor};
use wgpu_dropout::{Dropout, Error, Result};

/// `y = M·s·x` for a tensor of any rank, differentiable in `x`.
///
/// Rows of the mask are the product of the leading dimensions, columns the last one. A dropped
/// element is 0 whatever it was, NaN and infinity included.
///
/// # Errors
/// [`Error::Adapter`] where the tensor's device is unknown ([`open`](crate::open),
/// [`adopt`](crate::adopt)), [`Error::Invalid`] where its numbers are neither f32 nor, on devices
/// with `SHADER_F16`, f16, [`Error::TooLarge`] where its shape leaves the contract's coordinates.
pub fn dropout<const D: usize>(x: Tensor<D>, dropout: Dropout) -> Result<Tensor<D>> {
    check(&x)?;
    let [rows, cols] = rows_cols(&x.shape());
    dropout.mask.check(rows, cols)?;
    Ok(Tensor::from_dispatch(Dispatch::contract_dropout(x.into_dispatch(), dropout)))
}

/// `Y = M·s·relu(X·W + b)` in one kernel for `X [.., I]`, `W [I, O]`, `b [O]` or none,
/// differentiable in all three.
///
/// With [`Dropout::NONE`] it is `relu(X·W + b)`, for prediction.
///
/// # Errors
/// As [`dropout`], and [`Error::Shape`] where the shapes don't fit.
pub fn linear_relu_dropout<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    dropout: Dropout,
) -> Result<Tensor<D>> {
    let ([rows, cols], [inputs, outputs]) = (rows_cols(&x.shape()), weight.dims());
    let bias = bias.unwrap_or_else(|| Tensor::empty([0], (&weight.device(), weight.dtype())));
    check(&x)?;
    for (name, device, dtype) in
        [("W", weight.device(), weight.dtype()), ("b", bias.device(), bias.dtype())]
    {
        if (&device, dtype) != (&x.device(), x.dtype()) {
            let what = format!(
                "X is of {:?} on {:?}, {name} of {dtype:?} on {device:?}: must be the same",
                x.dtype(),
                x.device()
            );
            return Err(Error::Invalid { what });
        }
    }
    let [biases] = bias.dims();
    if cols != inputs || biases != outputs && biases != 0 {
        let what = format!(
            "X has {cols} columns, W is {inputs} × {outputs}, b has {biases} elements: must be I, I × O and O"
        );
        return Err(Error::Shape { kernel: "linear_relu_dropout", what });
    }
    dropout.mask.check(rows, outputs)?;
    let y = Dispatch::linear_relu_dropout(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        dropout,
    );
    Ok(Tensor::from_dispatch(y))
}

/// Whether the kernels can take the tensor.
fn check<const D: usize>(tensor: &Tensor<D>) -> Result<()> {
    let engine = Engine::on(&tensor.device())?;
    match tensor.dtype() {
        DType::F32 => Ok(()),
        DType::F16 if engine.kernels.planner().half => Ok(()),
        DType::F16 => {
            Err(Error::Invalid { what: "a tensor of F16: the device lacks SHADER_F16".to_owned() })
        }
        dtype => Err(Error::Invalid {
            what: format!("a tensor of {dtype:?}: the kernels take F32 and F16"),
        }),
    }
}

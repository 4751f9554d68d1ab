//! The operations as functions of tensors. The caller provides mask and scale.

use crate::engine::Engine;
use crate::ops::{DropoutOps, rows_cols};
use burn::backend::Dispatch;
use burn::tensor::{DType, Tensor};
use wgpu_dropout::{Dropout, Error, Result};

/// Computes `y = M·s·x` for a tensor of any rank, differentiable in `x`.
///
/// The rows of the mask are the product of the leading dimensions, the columns are the last one. A
/// dropped element becomes 0 whatever its value, including NaN and infinity.
///
/// # Errors
/// - [`Error::Adapter`] if the tensor's device is not registered ([`open`](crate::open),
///   [`adopt`](crate::adopt)).
/// - [`Error::Invalid`] if its type is neither f32 nor, on devices with `SHADER_F16`, f16.
/// - [`Error::TooLarge`] if its shape exceeds the contract's coordinates.
pub fn dropout<const D: usize>(x: Tensor<D>, dropout: Dropout) -> Result<Tensor<D>> {
    check(&x)?;
    let [rows, cols] = rows_cols(&x.shape());
    dropout.mask.check(rows, cols)?;
    Ok(Tensor::from_dispatch(Dispatch::contract_dropout(x.into_dispatch(), dropout)))
}

/// Computes `Y = M·s·relu(X·W + b)` in one kernel, differentiable in all three operands.
///
/// Shapes: `X [.., I]`, `W [I, O]`, `b [O]` or none, `Y [.., O]`. With [`Dropout::NONE`] it is
/// `relu(X·W + b)`, for prediction.
///
/// # Errors
/// The errors of [`dropout`], [`Error::Invalid`] if the operands differ in type or device, and
/// [`Error::Shape`] if the shapes do not match.
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

/// Returns an error if the kernels cannot use the tensor.
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

//! The operations as functions of tensors. The caller provides mask and scale.

use crate::engine::Engine;
use crate::host;
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
/// - [`Error::Adapter`] if the tensor lies on a wgpu device that is not registered
///   ([`open`](crate::open), [`adopt`](crate::adopt)).
/// - [`Error::Invalid`] if the device is wgpu's and the type is neither f32 nor, with `SHADER_F16`,
///   f16. Burn's other backends take each of their types.
/// - [`Error::TooLarge`] if its shape exceeds the contract's coordinates.
pub fn dropout<const D: usize>(x: Tensor<D>, dropout: Dropout) -> Result<Tensor<D>> {
    let on_wgpu = check(&x)?;
    let [rows, cols] = rows_cols(&x.shape());
    dropout.mask.check(rows, cols)?;
    if !on_wgpu {
        return host::dropout(x, dropout);
    }
    Ok(Tensor::from_dispatch(Dispatch::contract_dropout(x.into_dispatch(), dropout)))
}

/// Computes `Y = M·s·relu(X·W + b)` in one kernel, differentiable in all three operands.
///
/// Shapes: `X [.., I]`, `W [I, O]`, `b [O]` or none, `Y [.., O]`. With [`Dropout::NONE`] it is
/// `relu(X·W + b)`, for prediction. On backends other than wgpu's, Burn's own product computes it.
///
/// An operand on the plain device of an autodiff device is a constant: it gets no gradient.
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
    let on_wgpu = check(&x)?;
    let b = bias.as_ref().map(|bias| ("b", bias.device(), bias.dtype()));
    for (name, device, dtype) in [("W", weight.device(), weight.dtype())].into_iter().chain(b) {
        if (&device, dtype) != (&x.device(), x.dtype()) {
            let what = format!(
                "X is of {:?} on {:?}, {name} of {dtype:?} on {device:?}: must be the same",
                x.dtype(),
                x.device()
            );
            return Err(Error::Invalid { what });
        }
    }
    let misfit = |what| Err(Error::Shape { kernel: "linear_relu_dropout", what });
    if cols != inputs {
        return misfit(format!(
            "X has {cols} columns, W is {inputs}×{outputs}: X must have {inputs}"
        ));
    }
    if let Some(biases) = bias.as_ref().map(|bias| bias.dims()[0]).filter(|&b| b != outputs) {
        return misfit(format!(
            "b has {biases} elements, W is {inputs}×{outputs}: b must have {outputs}"
        ));
    }
    dropout.mask.check(rows, outputs)?;
    if !on_wgpu {
        return host::linear_relu_dropout(x, weight, bias, dropout);
    }
    let bias = bias.unwrap_or_else(|| Tensor::empty([0], (&weight.device(), weight.dtype())));
    let y = Dispatch::linear_relu_dropout(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        dropout,
    );
    Ok(Tensor::from_dispatch(y))
}

/// Returns true if the kernels compute on the tensor, and false if Burn's own operations do, on
/// another backend.
///
/// # Errors
/// If the tensor lies on a wgpu device and the kernels cannot use it.
fn check<const D: usize>(tensor: &Tensor<D>) -> Result<bool> {
    let Some(engine) = Engine::on(&tensor.device())? else { return Ok(false) };
    let takes = match tensor.dtype() {
        DType::F32 => return Ok(true),
        DType::F16 if engine.kernels.planner().half => return Ok(true),
        DType::F16 => "the device lacks SHADER_F16",
        _ => "the kernels take F32 and F16",
    };
    let dtype = tensor.dtype();
    let what = format!("a tensor of {dtype:?}: {takes}; cast it before, x.cast(DType::F32)");
    Err(Error::Invalid { what })
}

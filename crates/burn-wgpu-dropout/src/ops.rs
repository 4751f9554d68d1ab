//! The operations on Burn's backends. They are implemented here for CubeCL's tensors, by Burn's
//! macro for fusion, and in `autodiff` for autodiff.

use crate::engine::{Engine, Operand};
use burn::backend::tensor::FloatTensor;
use burn::backend::wgpu::{CubeBackend, CubeTensor, into_contiguous};
use burn::backend::{Backend, TensorMetadata, backend_extension};
use burn::tensor::Shape;
use wgpu_dropout::call::{DropoutCall, GradInput, GradWeight, LinearForward};
use wgpu_dropout::{Dropout, Result};

/// Dropout on tensors of any rank. Rows are the product of the leading dimensions; columns are the
/// last one.
#[backend_extension(Autodiff, Cube, Fusion: cfg(feature = "fusion"))]
pub trait DropoutOps: Backend {
    /// Computes `y = M·s·x`.
    #[fusion(dtype = x, shape = x, id = "wgpu_dropout")]
    fn contract_dropout(x: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self>;

    /// Computes `Y = M·s·relu(X·W + b)` for `X [.., I]`, `W [I, O]`, `b [O]`. A `b` without
    /// elements means no bias.
    #[fusion(dtype = x, shape = with_last(x, weight[1]), id = "wgpu_dropout_linear")]
    fn linear_relu_dropout(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        dropout: Dropout,
    ) -> FloatTensor<Self>;
}

/// Backward passes of the fused layer. The backward pass of dropout is dropout itself.
#[backend_extension(Cube, Fusion: cfg(feature = "fusion"))]
pub trait DropoutGradients: Backend {
    /// Computes `dX = dZ·Wᵀ` with `dZ = dY·s` where `Y > 0`, else 0.
    #[fusion(dtype = grad, shape = with_last(grad, weight[0]), id = "wgpu_dropout_grad_input")]
    fn linear_grad_input(
        grad: FloatTensor<Self>,
        output: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        dropout: Dropout,
    ) -> FloatTensor<Self>;

    /// Computes `dW = Xᵀ·dZ` and `db = Σ dZ` over the rows.
    #[fusion(meta = grad_weight_specs, id = "wgpu_dropout_grad_weight")]
    fn linear_grad_weight(
        x: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        output: FloatTensor<Self>,
        dropout: Dropout,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

impl DropoutOps for CubeBackend {
    fn contract_dropout(x: CubeTensor, dropout: Dropout) -> CubeTensor {
        done(run_dropout(x, dropout))
    }

    fn linear_relu_dropout(
        x: CubeTensor,
        weight: CubeTensor,
        bias: CubeTensor,
        dropout: Dropout,
    ) -> CubeTensor {
        done(run_linear([x, weight, bias], dropout))
    }
}

impl DropoutGradients for CubeBackend {
    fn linear_grad_input(
        grad: CubeTensor,
        output: CubeTensor,
        weight: CubeTensor,
        dropout: Dropout,
    ) -> CubeTensor {
        done(run_grad_input([grad, output, weight], dropout))
    }

    fn linear_grad_weight(
        x: CubeTensor,
        grad: CubeTensor,
        output: CubeTensor,
        dropout: Dropout,
    ) -> (CubeTensor, CubeTensor) {
        done(run_grad_weight([x, grad, output], dropout))
    }
}

/// Unwraps a result: Burn's operations can only return tensors. Mistakes of the caller are reported
/// as errors earlier. With fusion, this code runs later, and Burn turns the panic into an error
/// when the result is read.
fn done<T>(result: Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("burn-wgpu-dropout: {error}"))
}

fn run_dropout(x: CubeTensor, dropout: Dropout) -> Result<CubeTensor> {
    let x = readable(x);
    // Like Burn's own kernels, run in place if nobody else holds the input.
    let y = if x.can_mut() { x.clone() } else { empty(&x, x.shape()) };
    if x.shape().num_elements() == 0 {
        return Ok(y);
    }
    let engine = Engine::of(&x)?;
    let [from, to] = [matrix(&x)?, matrix(&y)?];
    let call = engine.kernels.prepare(&DropoutCall { x: from.view(), y: to.view(), dropout })?;
    engine.submit(&y, &call)?;
    Ok(y)
}

fn run_linear(operands: [CubeTensor; 3], dropout: Dropout) -> Result<CubeTensor> {
    let [x, weight, bias] = operands.map(readable);
    let y = empty(&x, with_last(&x.shape(), weight.shape()[1]));
    if y.shape().num_elements() == 0 {
        return Ok(y);
    }
    let engine = Engine::of(&x)?;
    let [from, w, to] = [matrix(&x)?, matrix(&weight)?, matrix(&y)?];
    let b = if bias.shape().num_elements() == 0 { None } else { Some(matrix(&bias)?) };
    let call = engine.kernels.prepare(&LinearForward {
        x: from.view(),
        weight: w.view(),
        bias: b.as_ref().map(Operand::view),
        y: to.view(),
        relu: true,
        dropout,
    })?;
    engine.submit(&y, &call)?;
    Ok(y)
}

fn run_grad_input(operands: [CubeTensor; 3], dropout: Dropout) -> Result<CubeTensor> {
    let [grad, output, weight] = operands.map(readable);
    let dx = empty(&grad, with_last(&grad.shape(), weight.shape()[0]));
    if dx.shape().num_elements() == 0 {
        return Ok(dx);
    }
    let engine = Engine::of(&grad)?;
    let [dy, y, w, to] = [matrix(&grad)?, matrix(&output)?, matrix(&weight)?, matrix(&dx)?];
    let call = engine.kernels.prepare(&GradInput {
        grad_output: dy.view(),
        output: Some(y.view()),
        weight: w.view(),
        grad_input: to.view(),
        dropout,
        through: None,
    })?;
    engine.submit(&dx, &call)?;
    Ok(dx)
}

fn run_grad_weight(
    operands: [CubeTensor; 3],
    dropout: Dropout,
) -> Result<(CubeTensor, CubeTensor)> {
    let [x, grad, output] = operands.map(readable);
    let [inputs, outputs] = [last(&x.shape()), last(&grad.shape())];
    let [dw, db] = [empty(&x, [inputs, outputs].into()), empty(&x, [outputs].into())];
    if outputs == 0 {
        return Ok((dw, db));
    }
    let engine = Engine::of(&x)?;
    let [from, dy, y, w, b] =
        [matrix(&x)?, matrix(&grad)?, matrix(&output)?, matrix(&dw)?, matrix(&db)?];
    let call = engine.kernels.prepare(&GradWeight {
        x: from.view(),
        grad_output: dy.view(),
        output: Some(y.view()),
        grad_weight: w.view(),
        grad_bias: b.view(),
        dropout,
    })?;
    engine.submit(&dw, &call)?;
    Ok((dw, db))
}

/// Returns the tensor in row-major order without gaps, starting at a whole word.
fn readable(tensor: CubeTensor) -> CubeTensor {
    let tensor = into_contiguous(tensor);
    // A slice of f16 may start within a word.
    if tensor.handle.offset_start.is_some_and(|offset| !offset.is_multiple_of(4)) {
        tensor.copy()
    } else {
        tensor
    }
}

/// Returns a tensor of uninitialized memory on the device of `like`.
fn empty(like: &CubeTensor, shape: Shape) -> CubeTensor {
    let handle = like.client.empty(shape.num_elements() * like.dtype.size());
    CubeTensor::new_contiguous(like.client.clone(), like.device.clone(), shape, handle, like.dtype)
}

/// Returns the operand as a matrix of the contract: rows (the product of the leading dimensions) ×
/// columns (the last one).
fn matrix(tensor: &CubeTensor) -> Result<Operand> {
    Operand::new(tensor, rows_cols(&tensor.shape()))
}

pub(crate) fn rows_cols(shape: &Shape) -> [usize; 2] {
    let leading = shape.iter().take(shape.num_dims().saturating_sub(1));
    [leading.product(), last(shape)]
}

fn last(shape: &Shape) -> usize {
    shape.iter().last().copied().unwrap_or(1)
}

fn with_last(shape: &Shape, cols: usize) -> Shape {
    let mut shape = shape.clone();
    let dims = shape.num_dims();
    shape[dims - 1] = cols;
    shape
}

#[cfg(feature = "fusion")]
use burn::backend::fusion::custom::TensorSpec;

#[cfg(feature = "fusion")]
fn grad_weight_specs(
    x: &TensorSpec,
    grad: &TensorSpec,
    _output: &TensorSpec,
    _dropout: &Dropout,
) -> (TensorSpec, TensorSpec) {
    let [inputs, outputs] = [last(&x.shape), last(&grad.shape)];
    (TensorSpec::new([inputs, outputs].into(), x.dtype), TensorSpec::new([outputs].into(), x.dtype))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functional;
    use burn::tensor::{Device, Tensor};
    use wgpu_dropout::{Key, Mask, Mode, Rate};

    #[test]
    fn a_step_of_shapes_seen_before_compiles_nothing() {
        let Ok(device) = crate::open(Device::wgpu_options()) else { return };
        let engine = Engine::on(&device).unwrap().unwrap();
        let device = device.autodiff();
        let step = |step| {
            let mask = Mask::new(Rate::drop(0.5).unwrap(), Key { seed: 0, layer: 0, step });
            let site = Dropout::train(Mode::Inverted, mask);
            let x = functional::dropout(Tensor::<2>::ones([16, 32], &device).require_grad(), site)
                .unwrap();
            let [w, b] = [
                Tensor::<2>::ones([32, 8], &device).require_grad(),
                Tensor::<2>::zeros([1, 8], &device),
            ];
            let y =
                functional::linear_relu_dropout(x, w, Some(b.reshape([8]).require_grad()), site)
                    .unwrap();
            y.sum().backward();
            device.sync().unwrap();
        };
        assert!(engine.kernels.compiled().is_empty());
        step(0);
        let first = engine.kernels.compiled();
        assert!(!first.is_empty());
        (1..5).for_each(step);
        assert_eq!(engine.kernels.compiled(), first);
    }
}

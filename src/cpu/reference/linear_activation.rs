//! Twin of `shaders/linear_activation.wgsl`.

use super::activation::activate;
use crate::Dropout;
use crate::rules::Activation;

/// Computes `Y = R + M·s·act(Z)` with `Z = X·W + b`, and stores `Z` if `z` is given. The shapes are
/// those of [`LinearActivation`](crate::call::LinearActivation); `shape` is `[I, O]`. The sums are
/// those of [`super::linear_forward`].
#[allow(clippy::too_many_arguments)]
pub fn linear_activation(
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
    super::linear_forward(x, weight, bias, y, shape, false, &Dropout::NONE);
    if let Some(z) = z {
        z.copy_from_slice(y);
    }
    let cols = shape[1].max(1);
    for (index, row) in y.chunks_mut(cols).enumerate() {
        row.iter_mut().for_each(|y| *y = activate(activation, *y));
        super::drop_row(row, index, dropout);
        if let Some(residual) = residual {
            row.iter_mut().zip(&residual[index * cols..]).for_each(|(y, r)| *y += r);
        }
    }
}

//! Twin of `shaders/pool_grad.wgsl`.

use super::pool::{largest, share, window};
use super::through_relu;
use crate::rules::{Image, Pool, Pooling};

/// Computes `dX` of a pooling. The gradient of a mean is divided equally among the elements of its
/// window. The gradient of a maximum goes to the first largest element. Elements outside all
/// windows get 0.
///
/// With `through` (a scale), `x` was the output of a ReLU and a dropout, and the gradient passes
/// back through them.
pub fn pool_grad(
    x: &[f32],
    grad_y: &[f32],
    grad_x: &mut [f32],
    image: Image,
    pool: Pool,
    pooled: Image,
    through: Option<f32>,
) {
    let (inputs, outputs) = (image.elements(), pooled.elements());
    for ((x, grad_y), grad_x) in
        x.chunks(inputs).zip(grad_y.chunks(outputs)).zip(grad_x.chunks_mut(inputs))
    {
        grad_x.fill(0.0);
        for (at, &g) in grad_y.iter().enumerate() {
            let (pixel, channel) = (at / pooled.channels, at % pooled.channels);
            let (row, col) =
                (pixel / pooled.width * pool.height, pixel % pooled.width * pool.width);
            let corner = (row * image.width + col) * image.channels + channel;
            match pool.pooling {
                Pooling::Max => grad_x[largest(x, corner, image, pool)] = g,
                Pooling::Average => {
                    window(corner, image, pool).for_each(|at| grad_x[at] = g * share(pool))
                }
            }
        }
        if let Some(scale) = through {
            through_relu(grad_x, x, scale);
        }
    }
}

//! Twin of `shaders/pool_grad.wgsl`.

use super::pool::{largest, share, window};
use super::through_relu;
use crate::rules::{Image, Pool, Pooling};

/// Computes `dX`. The gradient of a mean is divided equally, that of a maximum goes to the first of
/// the largest elements, and elements in no window get 0. `through` is the scale of the dropout and
/// ReLU whose output is `x`.
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
            let row = pixel / pooled.width * pool.height;
            let col = pixel % pooled.width * pool.width;
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

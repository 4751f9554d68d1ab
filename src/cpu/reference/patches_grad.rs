//! Twin of `shaders/patches_grad.wgsl`.

use super::through_relu;
use crate::rules::{Filter, Image};

/// Computes `dX` of [`patches`](super::patches()). Each element is the sum over the patches that
/// contain it, in ascending order of its place in the patch.
///
/// With `through` (`X` and a scale), `X` was the output of a ReLU and a dropout, and the gradient
/// passes back through them.
pub fn patches_grad(
    grad_y: &[f32],
    grad_x: &mut [f32],
    image: Image,
    filter: Filter,
    patches: Image,
    through: Option<(&[f32], f32)>,
) {
    let (channels, side) = (image.channels, filter.side);
    for (grad_y, grad_x) in
        grad_y.chunks(patches.elements()).zip(grad_x.chunks_mut(image.elements()))
    {
        for (at, pixel) in grad_x.chunks_mut(channels).enumerate() {
            pixel.fill(0.0);
            let (row, col) = (at / image.width + filter.padding, at % image.width + filter.padding);
            for (u, v) in (0..side * side).map(|place| (place / side, place % side)) {
                let out = |at: usize, back: usize, end: usize| {
                    at.checked_sub(back).filter(|&out| out < end)
                };
                if let (Some(row), Some(col)) =
                    (out(row, u, patches.height), out(col, v, patches.width))
                {
                    let from =
                        (row * patches.width + col) * patches.channels + (u * side + v) * channels;
                    pixel
                        .iter_mut()
                        .zip(&grad_y[from..from + channels])
                        .for_each(|(sum, g)| *sum += g);
                }
            }
        }
    }
    if let Some((x, scale)) = through {
        through_relu(grad_x, x, scale);
    }
}

//! Twin of `shaders/pool.wgsl` and `shaders/window.wgsl`.

use crate::rules::{Image, Pool, Pooling};

/// Returns the indices in an image of a window's elements, row by row. `corner` is the index of its
/// first element.
pub(super) fn window(corner: usize, image: Image, pool: Pool) -> impl Iterator<Item = usize> {
    (0..pool.height * pool.width).map(move |place| {
        corner + (place / pool.width * image.width + place % pool.width) * image.channels
    })
}

/// Returns the index of the largest element of a window: the first of equal elements. The first NaN
/// counts as largest.
pub(super) fn largest(x: &[f32], corner: usize, image: Image, pool: Pool) -> usize {
    window(corner, image, pool)
        .fold(corner, |found, at| if x[at] <= x[found] || x[found].is_nan() { found } else { at })
}

/// Returns the reciprocal of the number of elements in a window, which turns a sum into a mean.
pub(super) fn share(pool: Pool) -> f32 {
    (1.0 / (pool.height * pool.width) as f64) as f32
}

/// Computes `Y[b, i, j, c]`, the largest element or the mean of a window of `X`. `pooled` is the
/// shape that `pool` makes of `image`.
pub fn pool(x: &[f32], y: &mut [f32], image: Image, pool: Pool, pooled: Image) {
    for (x, y) in x.chunks(image.elements()).zip(y.chunks_mut(pooled.elements())) {
        for (at, y) in y.iter_mut().enumerate() {
            let (pixel, channel) = (at / pooled.channels, at % pooled.channels);
            let (row, col) =
                (pixel / pooled.width * pool.height, pixel % pooled.width * pool.width);
            let corner = (row * image.width + col) * image.channels + channel;
            *y = match pool.pooling {
                Pooling::Max => x[largest(x, corner, image, pool)],
                Pooling::Average => {
                    window(corner, image, pool).fold(0.0, |sum, at| sum + x[at]) * share(pool)
                }
            };
        }
    }
}

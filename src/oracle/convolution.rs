//! Patches of images and pooling, computed naively in f64.

use super::Exact;
use crate::rules::{Filter, Image, Pool, Pooling};

/// Returns every place of a tensor of images, as `[image, row, column, channel]`.
fn places(images: usize, image: Image) -> impl Iterator<Item = [usize; 4]> {
    let Image { height, width, channels } = image;
    (0..images * image.elements()).map(move |i| {
        [
            i / channels / width / height,
            i / channels / width % height,
            i / channels % width,
            i % channels,
        ]
    })
}

/// Returns the index of a place in a tensor of images.
fn index([b, row, col, channel]: [usize; 4], image: Image) -> usize {
    ((b * image.height + row) * image.width + col) * image.channels + channel
}

/// Returns the index in the images of the element that the patches hold at a place. Returns `None`
/// if it lies in the padding.
fn source([b, i, j, at]: [usize; 4], image: Image, filter: Filter) -> Option<usize> {
    let (u, v, channel) =
        (at / image.channels / filter.side, at / image.channels % filter.side, at % image.channels);
    let (row, col) = ((i + u).checked_sub(filter.padding)?, (j + v).checked_sub(filter.padding)?);
    (row < image.height && col < image.width).then(|| index([b, row, col, channel], image))
}

/// Extracts the patches of images, one per row. This is a copy, so nothing is rounded.
pub fn patches(x: &[f32], image: Image, filter: Filter, patches: Image) -> Exact {
    let mut exact = Exact::default();
    for place in places(x.len() / image.elements(), patches) {
        exact.push(source(place, image, filter).map_or(0.0, |at| f64::from(x[at])), 0.0);
    }
    exact
}

/// Computes the gradient of [`patches`] with respect to its input: each element of a patch adds its
/// gradient to the element that it was copied from.
///
/// With `through` (the input and a scale), the input was the output of a ReLU and a dropout, and
/// the gradient passes back through them.
pub fn patches_grad(
    grad_y: &[f32],
    image: Image,
    filter: Filter,
    patches: Image,
    through: Option<(&[f32], f32)>,
) -> Exact {
    let images = grad_y.len() / patches.elements();
    let zeros = vec![0.0; images * image.elements()];
    let mut exact =
        Exact { values: zeros.clone(), magnitudes: zeros, terms: filter.side * filter.side };
    for (place, &g) in places(images, patches).zip(grad_y) {
        if let Some(at) = source(place, image, filter) {
            exact.values[at] += f64::from(g);
            exact.magnitudes[at] += f64::from(g).abs();
        }
    }
    let Some((x, scale)) = through else { return exact };
    for (i, &x) in x.iter().enumerate() {
        let factor = if x <= 0.0 { 0.0 } else { f64::from(scale) };
        exact.values[i] *= factor;
        exact.magnitudes[i] *= factor;
    }
    exact
}

/// Returns the indices of the elements of a window, and the index of its first largest element. A
/// NaN counts as largest.
fn window(
    x: &[f32],
    [b, i, j, channel]: [usize; 4],
    image: Image,
    pool: Pool,
) -> (Vec<usize>, usize) {
    let element = |u, v| index([b, i * pool.height + u, j * pool.width + v, channel], image);
    let all: Vec<usize> =
        (0..pool.height).flat_map(|u| (0..pool.width).map(move |v| element(u, v))).collect();
    let nan = all.iter().copied().find(|&at| x[at].is_nan());
    let largest = all.iter().copied().rev().max_by(|&a, &b| x[a].total_cmp(&x[b])).unwrap_or(0);
    // In the total order -0 is below 0, but pooling treats them as equal.
    let first = all.iter().copied().find(|&at| x[at] == x[largest]).unwrap_or(largest);
    (all, nan.unwrap_or(first))
}

/// Computes the largest element or the mean of each window.
pub fn pool(x: &[f32], image: Image, pool: Pool, pooled: Image) -> Exact {
    let mut exact = Exact { terms: pool.height * pool.width, ..Exact::default() };
    for place in places(x.len() / image.elements(), pooled) {
        let (all, largest) = window(x, place, image, pool);
        let mean = |of: &dyn Fn(f64) -> f64| {
            all.iter().map(|&at| of(f64::from(x[at]))).sum::<f64>() / all.len() as f64
        };
        match pool.pooling {
            Pooling::Max => exact.push(f64::from(x[largest]), 0.0),
            Pooling::Average => exact.push(mean(&|v| v), mean(&f64::abs)),
        }
    }
    exact
}

/// Computes the gradient of [`pool`] with respect to its input.
///
/// With `through` (a scale), the input was the output of a ReLU and a dropout, and the gradient
/// passes back through them.
pub fn pool_grad(
    x: &[f32],
    grad_y: &[f32],
    image: Image,
    pool: Pool,
    pooled: Image,
    through: Option<f32>,
) -> Exact {
    let zeros = vec![0.0; x.len()];
    let mut exact = Exact { values: zeros.clone(), magnitudes: zeros, terms: 1 };
    for (place, &g) in places(x.len() / image.elements(), pooled).zip(grad_y) {
        let (all, largest) = window(x, place, image, pool);
        let share = f64::from(g) / all.len() as f64;
        match pool.pooling {
            Pooling::Max => exact.values[largest] = f64::from(g),
            Pooling::Average => all.into_iter().for_each(|at| exact.values[at] = share),
        }
    }
    for (value, &x) in exact.values.iter_mut().zip(x) {
        *value *= through.map_or(1.0, |scale| if x <= 0.0 { 0.0 } else { f64::from(scale) });
    }
    exact.magnitudes = exact.values.iter().map(|value| value.abs()).collect();
    exact
}

//! Twin of `shaders/patches.wgsl`.

use crate::rules::{Filter, Image};

/// Computes `Y[(b, i, j), (u, v, c)] = X[b, i + u − P, j + v − P, c]`, or 0 outside the image.
/// `patches` is the image that `filter` produces from `image`.
pub fn patches(x: &[f32], y: &mut [f32], image: Image, filter: Filter, patches: Image) {
    let (line, run) = (image.width * image.channels, filter.side * image.channels);
    let lines = x.chunks(image.elements()).zip(y.chunks_mut(patches.elements()));
    for (x, y) in lines {
        for (place, patch) in y.chunks_mut(patches.channels).enumerate() {
            let (row, col) = (place / patches.width, place % patches.width);
            // For one row of the patch: the elements to the left of the image, and the first
            // element and number of those inside it.
            let before = filter.padding.saturating_sub(col) * image.channels;
            let from = col.saturating_sub(filter.padding) * image.channels;
            let inside = (run - before).min(line - from);
            for (u, part) in patch.chunks_mut(run).enumerate() {
                part.fill(0.0);
                let source =
                    (row + u).checked_sub(filter.padding).filter(|&row| row < image.height);
                if let Some(source) = source {
                    part[before..before + inside]
                        .copy_from_slice(&x[source * line + from..][..inside]);
                }
            }
        }
    }
}

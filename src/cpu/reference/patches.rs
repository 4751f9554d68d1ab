//! Twin of `shaders/patches.wgsl`.

use crate::rules::{Filter, Image};

/// Extracts the patches of images: `Y[(b, i, j), (u, v, c)] = X[b, i + u − P, j + v − P, c]` inside
/// the image, else 0.
///
/// `patches` is the shape that `filter` makes of `image`, with one patch per pixel.
pub fn patches(x: &[f32], y: &mut [f32], image: Image, filter: Filter, patches: Image) {
    let (line, run) = (image.width * image.channels, filter.side * image.channels);
    let lines = x.chunks(image.elements()).zip(y.chunks_mut(patches.elements()));
    for (x, y) in lines {
        for (place, patch) in y.chunks_mut(patches.channels).enumerate() {
            let (row, col) = (place / patches.width, place % patches.width);
            // Each row of the patch is a run of one line of the image: `before` elements of
            // padding, then `inside` elements of the line from `from` on.
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

//! Twin of `shaders/dropout_broadcast.wgsl`.

use crate::{AxisMap, Dropout};

/// Computes `y = M·s·x` with a broadcast mask; both have the shape of the map.
pub fn dropout_broadcast(x: &[f32], y: &mut [f32], axes: &AxisMap, dropout: &Dropout) {
    let strips = axes.strips();
    for (index, (x, y)) in x.chunks(strips.cols).zip(y.chunks_mut(strips.cols)).enumerate() {
        let (row, col) = strips.place(index);
        for (group, (x, y)) in x.chunks(8).zip(y.chunks_mut(8)).enumerate() {
            let keep = match strips.along {
                true => dropout.mask.keep8(row, col + 8 * group),
                false if dropout.mask.keep8(row, col) & 1 == 1 => u8::MAX,
                false => 0,
            };
            for (j, (x, y)) in x.iter().zip(y).enumerate() {
                *y = if keep >> j & 1 == 1 { x * dropout.scale } else { 0.0 };
            }
        }
    }
}

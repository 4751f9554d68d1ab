//! Dropout with a broadcast mask, on all threads.

use super::dropout::each_part;
use super::row::Site;
use super::{Isa, segment, stream};
use crate::{AxisMap, Dropout};

/// See [`crate::cpu::reference::dropout_broadcast`].
pub fn dropout_broadcast(isa: Isa, x: &[f32], y: &mut [f32], axes: &AxisMap, dropout: &Dropout) {
    let (site, strips) = (Site::new(dropout), axes.strips());
    let stream = stream::is_large(y.len());
    each_part(y, strips.cols, |y, index, at| {
        let x = &x[index * strips.cols + at..][..y.len()];
        let (row, col) = strips.place(index);
        if strips.along {
            segment(isa, Some(x), y, row, col + at, &site, stream);
        } else if dropout.mask.keeps(row, col) {
            y.iter_mut().zip(x).for_each(|(y, x)| *y = x * dropout.scale);
        } else {
            y.fill(0.0);
        }
    });
}

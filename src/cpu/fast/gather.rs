//! Gathering of a mini-batch on all threads, equal to [`crate::cpu::reference::gather`] to the bit.

use super::row::Site;
use super::{Isa, segment};
use crate::Dropout;
use rayon::prelude::*;

/// Number of elements in a job. With fewer, a second thread costs more than it gains.
const JOB: usize = 1 << 15;

/// Computes `X[r] = M·s·value(data[order[r]])` and `labels[r] = all_labels[order[r]]`;
/// `data [N, cols]`, `X [B, cols]`, `all_labels [N]`, `order [B]`, `labels [B]`.
///
/// An entry of `order` past the data leaves its row and label unchanged.
#[allow(clippy::too_many_arguments)]
pub fn gather<V: Copy + Sync>(
    isa: Isa,
    data: &[V],
    value: impl Fn(V) -> f32 + Sync,
    all_labels: &[u32],
    order: &[u32],
    x: &mut [f32],
    labels: &mut [u32],
    cols: usize,
    dropout: &Dropout,
) {
    for (label, &source) in labels.iter_mut().zip(order) {
        *label = all_labels.get(source as usize).copied().unwrap_or(*label);
    }
    if cols == 0 {
        return;
    }
    let site = Site::new(dropout);
    let rows = (JOB / cols).max(1);
    x.par_chunks_mut(rows * cols).enumerate().for_each(|(job, x)| {
        for (row, x) in x.chunks_mut(cols).enumerate() {
            let row = job * rows + row;
            let source = order[row] as usize;
            if source < all_labels.len() {
                x.iter_mut()
                    .zip(&data[source * cols..(source + 1) * cols])
                    .for_each(|(x, &datum)| *x = value(datum));
                segment(isa, None, x, row, 0, &site, false);
            }
        }
    });
}

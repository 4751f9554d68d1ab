//! `batch_norm` on all threads, with the same bits as its twin. Sums over rows stay with the twin,
//! whose loops run along columns.

use super::row::Site;
use super::{Isa, segment};
use crate::Dropout;
use crate::cpu::reference::{self, activate_row};
use rayon::prelude::*;

/// Elements per job. Below this, a second thread costs more than it gains.
const JOB: usize = 1 << 14;

/// Computes `Y = M·s·relu(γ·(X − mean)/√(variance + ε) + β)`; see [`reference::batch_norm`].
#[allow(clippy::too_many_arguments)]
pub fn batch_norm(
    isa: Isa,
    x: &[f32],
    statistics: &[f32],
    affine: &[f32],
    y: &mut [f32],
    cols: usize,
    epsilon: f32,
    relu: bool,
    dropout: &Dropout,
) {
    let inverse = reference::inverse_deviations(statistics, cols, epsilon);
    let (site, width) = (Site::new(dropout), cols.max(1));
    let rows = (JOB / width).max(1);
    y.par_chunks_mut(rows * width).enumerate().for_each(|(job, y)| {
        for (row, y) in y.chunks_mut(width).enumerate() {
            let row = job * rows + row;
            reference::normalize_row(
                &x[row * cols..(row + 1) * cols],
                &statistics[..cols],
                &inverse,
                affine,
                y,
            );
            activate_row(y, None, relu);
            segment(isa, None, y, row, 0, &site, false);
        }
    });
}

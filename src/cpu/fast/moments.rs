//! Averages over sub-networks on all threads, equal to [`crate::cpu::reference::moments`] to the
//! bit.

use crate::cpu::reference::{join_row, softmax};
use rayon::prelude::*;

/// Number of logits in a job. With fewer, a second thread costs more than it gains.
const JOB: usize = 1 << 12;

/// See [`crate::cpu::reference::moments`].
pub fn moments(z: &mut [f32], weights: &[f32], before: f32, moments: &mut [f32], classes: usize) {
    let rows = moments.len() / (2 * classes + 1);
    let at_a_time = (JOB / classes).max(1);
    let entropies: Vec<f32> =
        z.par_chunks_exact_mut(classes).with_min_len(at_a_time).map(softmax).collect();
    let all = &*z;
    let rows_at_a_time = (at_a_time / weights.len().max(1)).max(1);
    moments
        .par_chunks_exact_mut(2 * classes + 1)
        .with_min_len(rows_at_a_time)
        .enumerate()
        .for_each(|(row, moments)| {
            join_row(all, &entropies, weights, before, moments, [rows, row, classes]);
        });
}

//! `adamw` on all threads, with the same bits as its twin.

use crate::cpu::reference;
use crate::rules::AdamWRule;
use rayon::prelude::*;

/// Elements per job. Below this, a second thread costs more than it gains.
const JOB: usize = 1 << 14;

/// Applies one AdamW update to `weight` and its moments.
pub fn adamw(
    grad: &[f32],
    weight: &mut [f32],
    first: &mut [f32],
    second: &mut [f32],
    rule: &AdamWRule,
    step: u32,
) {
    let jobs = weight
        .par_chunks_mut(JOB)
        .zip(grad.par_chunks(JOB))
        .zip(first.par_chunks_mut(JOB))
        .zip(second.par_chunks_mut(JOB));
    jobs.for_each(|(((weight, grad), first), second)| {
        reference::adamw(grad, weight, first, second, rule, step)
    });
}

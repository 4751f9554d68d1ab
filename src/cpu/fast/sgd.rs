//! Update of weights on all threads, equal to [`crate::cpu::reference::sgd`] to the bit.

use super::Isa;
use super::product::descend;
use crate::cpu::reference::shrink;
use crate::rules::SgdRule;
use rayon::prelude::*;

/// Number of elements in a job. With fewer, a second thread costs more than it gains.
const JOB: usize = 1 << 15;
/// Number of columns in a job of norms: a row's part is then a few cache lines.
const COLS: usize = 64;

/// Updates `weight [rows, cols]` once by [`SgdRule`].
pub fn sgd(
    isa: Isa,
    grad: &[f32],
    weight: &mut [f32],
    velocity: Option<&mut [f32]>,
    cols: usize,
    rule: &SgdRule,
) {
    let jobs = weight.par_chunks_mut(JOB).zip(grad.par_chunks(JOB));
    match velocity {
        Some(velocity) => {
            jobs.zip(velocity.par_chunks_mut(JOB)).for_each(|((weight, grad), velocity)| {
                descend(isa, grad, weight, Some(velocity), rule)
            });
        }
        None => jobs.for_each(|(weight, grad)| descend(isa, grad, weight, None, rule)),
    }
    if let Some(max_norm) = rule.max_norm {
        let mut factors = vec![0.0f32; cols];
        factors.par_chunks_mut(COLS).enumerate().for_each(|(job, factors)| {
            for row in weight.chunks(cols) {
                factors.iter_mut().zip(&row[job * COLS..]).for_each(|(sum, &w)| *sum += w * w);
            }
            factors.iter_mut().for_each(|factor| *factor = shrink(*factor, max_norm));
        });
        weight.par_chunks_mut(cols.max(1) * (JOB / cols.max(1)).max(1)).for_each(|rows| {
            for row in rows.chunks_mut(cols.max(1)) {
                row.iter_mut().zip(&factors).for_each(|(w, &factor)| *w *= factor);
            }
        });
    }
}

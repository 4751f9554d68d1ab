//! `y = M·s·x`, and the copy that it is measured against, on all threads.

use super::row::Site;
use super::{Isa, segment};
use crate::Dropout;
use rayon::prelude::*;

/// Elements of a job, 256 KiB: below that a second thread costs more than it brings.
const JOB: usize = 1 << 16;

/// Elements from which on stores go past the caches: 32 MiB, more than a core's share of most last-level caches, so that whoever reads the
/// result would not find it there anyway. Measured on 2 cores of a Xeon: 2^24 elements 1.00 instead of 0.80 of a copy, 2^22 0.82 instead of 0.90.
const STREAM: usize = 1 << 23;

/// `y = M·s·x`, both `[rows, cols]`; the bits do not depend on the number of threads.
pub fn dropout(isa: Isa, x: &[f32], y: &mut [f32], cols: usize, dropout: &Dropout) {
    if cols == 0 {
        return;
    }
    let site = &Site::new(dropout);
    let stream = y.len() >= STREAM;
    if cols < JOB {
        // Whole rows, several a job.
        let rows = JOB / cols;
        let jobs = x.par_chunks(rows * cols).zip(y.par_chunks_mut(rows * cols)).enumerate();
        jobs.for_each(|(job, (x, y))| {
            for (row, (x, y)) in x.chunks(cols).zip(y.chunks_mut(cols)).enumerate() {
                segment(isa, Some(x), y, job * rows + row, 0, site, stream);
            }
        });
    } else {
        let rows = x.par_chunks(cols).zip(y.par_chunks_mut(cols)).enumerate();
        rows.for_each(|(row, (x, y))| {
            let jobs = x.par_chunks(JOB).zip(y.par_chunks_mut(JOB)).enumerate();
            jobs.for_each(|(job, (x, y))| segment(isa, Some(x), y, row, job * JOB, site, stream));
        });
    }
}

/// `y = x`.
pub fn copy(x: &[f32], y: &mut [f32]) {
    x.par_chunks(JOB).zip(y.par_chunks_mut(JOB)).for_each(|(x, y)| y.copy_from_slice(x));
}

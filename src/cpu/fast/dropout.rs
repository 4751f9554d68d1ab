//! `y = M·s·x`, and the copy that it is measured against, on all threads.

use super::row::Site;
use super::{Isa, segment};
use crate::Dropout;
use rayon::prelude::*;

/// Elements of a job, 256 KiB: below that a second thread costs more than it brings.
const JOB: usize = 1 << 16;

/// Elements from which on stores go past the caches: 32 MiB, more than a core's share of most last-level caches, so that whoever reads the
/// result would not find it there anyway. Measured on 2 cores of a Xeon: 2^24 elements 1.00 instead of 0.80 of a copy, 2^22 0.82 instead of 0.90.
pub(super) const STREAM: usize = 1 << 23;

/// `y = M·s·x`, both `[rows, cols]`; the bits do not depend on the number of threads.
pub fn dropout(isa: Isa, x: &[f32], y: &mut [f32], cols: usize, dropout: &Dropout) {
    let site = &Site::new(dropout);
    let stream = y.len() >= STREAM;
    each_part(y, cols, |y, row, col| segment(isa, Some(&x[row * cols + col..][..y.len()]), y, row, col, site, stream));
}

/// Runs on all threads what is to be done with each part of a row: the part, its row and the column at which it starts, a multiple of
/// [`JOB`].
pub(super) fn each_part<T: Send>(y: &mut [T], cols: usize, part: impl Fn(&mut [T], usize, usize) + Sync) {
    each_part_of(JOB, y, cols, part);
}

/// As [`each_part`], in jobs of so many elements: fewer where each is more work.
pub(super) fn each_part_of<T: Send>(most: usize, y: &mut [T], cols: usize, part: impl Fn(&mut [T], usize, usize) + Sync) {
    if cols == 0 {
        return;
    }
    if cols < most {
        // Whole rows, several a job.
        let rows = most / cols;
        y.par_chunks_mut(rows * cols).enumerate().for_each(|(job, y)| {
            y.chunks_mut(cols).enumerate().for_each(|(row, y)| part(y, job * rows + row, 0));
        });
    } else {
        y.par_chunks_mut(cols).enumerate().for_each(|(row, y)| {
            y.par_chunks_mut(most).enumerate().for_each(|(job, y)| part(y, row, job * most));
        });
    }
}

/// `y = x`.
pub fn copy(x: &[f32], y: &mut [f32]) {
    x.par_chunks(JOB).zip(y.par_chunks_mut(JOB)).for_each(|(x, y)| y.copy_from_slice(x));
}

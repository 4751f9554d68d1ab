//! `y = M·s·x`, and the copy that serves as its baseline, on all threads.

#[cfg(all(target_arch = "x86_64", has_avx512))]
use super::avx512::{self, Run};
use super::row::Site;
use super::{Isa, segment, stream};
use crate::Dropout;
use rayon::prelude::*;

/// Elements per job: 256 KiB. Below this, a second thread costs more than it gains.
pub(super) const JOB: usize = 1 << 16;

/// Computes `y = M·s·x`, both `[rows, cols]`. The bits do not depend on the number of threads.
pub fn dropout(isa: Isa, x: &[f32], y: &mut [f32], cols: usize, dropout: &Dropout) {
    let site = &Site::new(dropout);
    let stream = stream::is_large(y.len());
    each_job(JOB, y, cols, |y, row, col| {
        let x = &x[row * cols + col..][..y.len()];
        #[cfg(all(target_arch = "x86_64", has_avx512))]
        if let Some(run) = Run::of(isa, site, row, cols, y.len()) {
            return avx512::drop_run(&run, x, y, dropout.scale, stream);
        }
        for (row, (x, y)) in (row..).zip(x.chunks(cols).zip(y.chunks_mut(cols))) {
            segment(isa, Some(x), y, row, col, site, stream);
        }
    });
}

/// Computes `y = M·s·y` in place, with the same bits as [`dropout`].
pub fn dropout_in_place(isa: Isa, y: &mut [f32], cols: usize, dropout: &Dropout) {
    let site = &Site::new(dropout);
    each_job(JOB, y, cols, |y, row, col| {
        for (row, y) in (row..).zip(y.chunks_mut(cols)) {
            segment(isa, None, y, row, col, site, false);
        }
    });
}

/// Calls `part` on all threads for each part of a row, with the part, its row and its first column,
/// a multiple of [`JOB`].
pub(super) fn each_part<T: Send>(
    y: &mut [T],
    cols: usize,
    part: impl Fn(&mut [T], usize, usize) + Sync,
) {
    each_part_of(JOB, y, cols, part);
}

/// Does the same as [`each_part`] in jobs of at most `most` elements; fewer suit more work per
/// element.
pub(super) fn each_part_of<T: Send>(
    most: usize,
    y: &mut [T],
    cols: usize,
    part: impl Fn(&mut [T], usize, usize) + Sync,
) {
    each_job(most, y, cols, |y, first, col| {
        y.chunks_mut(cols).enumerate().for_each(|(row, y)| part(y, first + row, col))
    });
}

/// Calls `job` on all threads for each job of at most `most` elements. A job is either a number of
/// whole rows or a part of one row; it receives its first row and first column.
pub(super) fn each_job<T: Send>(
    most: usize,
    y: &mut [T],
    cols: usize,
    job: impl Fn(&mut [T], usize, usize) + Sync,
) {
    if cols == 0 {
        return;
    }
    if cols < most {
        let rows = most / cols;
        y.par_chunks_mut(rows * cols).enumerate().for_each(|(index, y)| job(y, index * rows, 0));
    } else {
        y.par_chunks_mut(cols).enumerate().for_each(|(row, y)| {
            y.par_chunks_mut(most).enumerate().for_each(|(index, y)| job(y, row, index * most));
        });
    }
}

/// Copies `x` to `y` on all threads.
pub fn copy(x: &[f32], y: &mut [f32]) {
    x.par_chunks(JOB).zip(y.par_chunks_mut(JOB)).for_each(|(x, y)| y.copy_from_slice(x));
}

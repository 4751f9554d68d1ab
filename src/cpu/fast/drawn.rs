//! Alpha and Gaussian dropout on all threads. Each result is a function of an element and its draw.

#[cfg(all(target_arch = "x86_64", has_avx512))]
use super::avx512::{self, Run};
use super::dropout::{JOB, each_job, each_part};
use super::row::{Affine, Place, Site};
use super::{Isa, alpha_part, map_part, stream};
use crate::gaussian::quantile;
use crate::{AlphaDropout, Dropout, GaussianDropout};
use std::sync::LazyLock;

/// See [`crate::cpu::reference::alpha_dropout`].
pub fn alpha_dropout(isa: Isa, x: &[f32], y: &mut [f32], cols: usize, dropout: &AlphaDropout) {
    if dropout.is_identity() {
        return super::copy(x, y);
    }
    let affine = Affine { scale: dropout.scale, shift: dropout.shift, dropped: dropout.dropped };
    if dropout.mask.rate.threshold() == 0 {
        return each_part(y, cols, |y, _, _| y.fill(affine.dropped));
    }
    let stream = stream::is_large(y.len());
    let site = Dropout { mask: dropout.mask, ..Dropout::NONE };
    let site = Site::new(&site);
    each_job(JOB, y, cols, |y, row, col| {
        let x = &x[row * cols + col..][..y.len()];
        #[cfg(all(target_arch = "x86_64", has_avx512))]
        if let Some(run) = Run::of(isa, &site, row, cols, y.len()) {
            return avx512::alpha_run(&run, x, y, &affine, stream);
        }
        for (row, (x, y)) in (row..).zip(x.chunks(cols).zip(y.chunks_mut(cols))) {
            alpha_part(isa, &site.row(row), Place::new(&dropout.mask, col), x, y, &affine, stream);
        }
    });
}

/// See [`crate::cpu::reference::gaussian_dropout`]. A draw has only 65,536 values, so the quantiles
/// come from a table.
pub fn gaussian_dropout(
    isa: Isa,
    x: &[f32],
    y: &mut [f32],
    cols: usize,
    dropout: &GaussianDropout,
) {
    // The compiler knows the length of an array, so it omits bounds checks and can use vector
    // gathers.
    static QUANTILES: LazyLock<Box<[f32; 1 << 16]>> = LazyLock::new(|| {
        let mut all = Box::new([0.0; 1 << 16]);
        all.iter_mut().zip(0..=u16::MAX).for_each(|(n, draw)| *n = quantile(draw));
        all
    });
    if dropout.is_identity() {
        return super::copy(x, y);
    }
    let (quantiles, scale): (&[f32; 1 << 16], f32) = (&QUANTILES, dropout.scale());
    let site = Dropout { mask: *dropout.mask(), ..Dropout::NONE };
    let site = Site::new(&site);
    each_part(y, cols, |y, row, col| {
        let (key, place, x) =
            (site.row(row), Place::new(dropout.mask(), col), &x[row * cols + col..][..y.len()]);
        map_part(isa, &key, place, x, y, |x, draw| {
            x * (1.0 + scale * quantiles[usize::from(draw)])
        });
    });
}

//! Alpha and Gaussian dropout on all threads: a function of each element and its draw.

use super::dropout::each_part;
use super::row::{Place, Site};
use super::{Isa, STRIP, draws};
use crate::gaussian::quantile;
use crate::{AlphaDropout, Dropout, GaussianDropout, Mask};
use std::sync::LazyLock;

/// See [`crate::cpu::reference::alpha_dropout`].
pub fn alpha_dropout(isa: Isa, x: &[f32], y: &mut [f32], cols: usize, dropout: &AlphaDropout) {
    if dropout.is_identity() {
        return super::copy(x, y);
    }
    let (threshold, dropped) = (dropout.mask.rate.threshold() as i32, dropout.dropped.to_bits());
    map_draws(isa, x, y, cols, &dropout.mask, |x, draw| {
        // All bits where the element is kept, as in `portable::drop_with`: a condition would become a branch that no processor can predict.
        let kept = ((i32::from(draw) - threshold) >> 31) as u32;
        f32::from_bits((x * dropout.scale + dropout.shift).to_bits() & kept | dropped & !kept)
    });
}

/// See [`crate::cpu::reference::gaussian_dropout`]. There are no more than 65,536 draws: what each stands for is looked up.
pub fn gaussian_dropout(isa: Isa, x: &[f32], y: &mut [f32], cols: usize, dropout: &GaussianDropout) {
    static QUANTILES: LazyLock<Vec<f32>> = LazyLock::new(|| (0..=u16::MAX).map(quantile).collect());
    if dropout.is_identity() {
        return super::copy(x, y);
    }
    let (quantiles, scale) = (QUANTILES.as_slice(), dropout.scale());
    map_draws(isa, x, y, cols, dropout.mask(), |x, draw| x * (1.0 + scale * quantiles[usize::from(draw)]));
}

/// `y = one(x, draw)` of each element.
fn map_draws(isa: Isa, x: &[f32], y: &mut [f32], cols: usize, mask: &Mask, one: impl Fn(f32, u16) -> f32 + Sync) {
    let dropout = Dropout { mask: *mask, ..Dropout::NONE };
    let site = Site::new(&dropout);
    each_part(y, cols, |y, row, col| {
        let (key, Place { group, lane }) = (site.row(row), Place::new(mask, col));
        let x = &x[row * cols + col..][..y.len()];
        let mut drawn = [[0; 64]; STRIP / 64 + 1];
        for (strip, (x, y)) in x.chunks(STRIP).zip(y.chunks_mut(STRIP)).enumerate() {
            let words = (lane as usize + y.len()).div_ceil(64);
            draws(isa, &key, group.wrapping_add((strip * STRIP / 8) as u32), &mut drawn[..words]);
            let drawn = &drawn.as_flattened()[lane as usize..];
            y.iter_mut().zip(x).zip(drawn).for_each(|((y, &x), &draw)| *y = one(x, draw));
        }
    });
}

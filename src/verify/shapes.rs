//! Shapes and dropout settings with which the suite calls the kernels.

use super::random::Cases;
use crate::{Dropout, Mask, Mode, Rate};

/// `[B, I, O]`: ragged, one row, one column, whole vectors, several tiles. The last five have few
/// rows or columns and long sums, which are split.
pub(super) const SHAPES: [[usize; 3]; 13] = [
    [1, 1, 1],
    [9, 13, 29],
    [16, 8, 24],
    [65, 31, 70],
    [33, 68, 132],
    [41, 72, 136],
    [2, 129, 1],
    [20, 0, 12],
    [2, 517, 9],
    [3, 520, 68],
    [3, 520, 72],
    [5, 9, 517],
    [7, 68, 516],
];

/// Sums that a small binding splits into parts, ragged and in whole vectors.
pub(super) const LONG_SUMS: [[usize; 3]; 3] = [[40, 41, 515], [40, 40, 516], [40, 40, 520]];

/// Returns a site of every kind: keep all, drop all, a mask; aligned to a group of draws and not;
/// training and prediction.
pub(super) fn sites(cases: &mut Cases) -> Vec<Dropout> {
    let key = cases.key();
    let train = |mode, keep, row, col| {
        Dropout::train(
            mode,
            Mask::new(Rate::keep(keep).unwrap_or(Rate::KEEP_ALL), key).at(row, col),
        )
    };
    vec![
        Dropout::NONE,
        Dropout::predict(Mode::Vanilla, Rate::keep(0.3).unwrap_or(Rate::KEEP_ALL)),
        train(Mode::Inverted, 0.7, 5, 16),
        train(Mode::Inverted, 0.4, 1 << 31, 11),
        train(Mode::Vanilla, 0.5, 0, 0),
        train(Mode::Inverted, 0.0, 0, 3),
    ]
}

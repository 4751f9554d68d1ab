//! Positions of draws: the values that all draws of a row share, and the place in the row where a
//! part starts.

use crate::mask::GROUP;
use crate::philox::{MULTIPLIERS, ROUNDS, WEYL};
use crate::{Dropout, Mask};

/// Start of a part of a row: `lane` columns, fewer than 8, into group `group`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub group: u32,
    pub lane: u32,
}

impl Place {
    /// Returns the place of local column `col`.
    pub fn new(mask: &Mask, col: usize) -> Self {
        let col = mask.col_offset + col as u64;
        Self { group: (col / GROUP) as u32, lane: (col % GROUP) as u32 }
    }
}

/// Result of alpha dropout for an element: `x·scale + shift` if it is kept, else `dropped`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Affine {
    pub scale: f32,
    pub shift: f32,
    pub dropped: f32,
}

impl Affine {
    /// Returns the parameters of plain dropout: dropped elements are 0, kept ones are scaled.
    #[cfg(all(target_arch = "x86_64", has_avx512))]
    pub fn scaled(scale: f32) -> Self {
        Self { scale, shift: 0.0, dropped: 0.0 }
    }
}

/// A dropout with the values that its draws in all rows share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Site<'a> {
    pub dropout: &'a Dropout,
    /// Keys of all rounds. Each word is already in a 64-bit lane, so that vector units load and
    /// broadcast it in one instruction.
    keys: [[u64; 2]; ROUNDS as usize],
}

impl<'a> Site<'a> {
    /// Computes the round keys of `dropout`.
    pub fn new(dropout: &'a Dropout) -> Self {
        let [k0, k1] = crate::philox::key(dropout.mask.key.seed);
        let key = |word: u32, weyl: u32, round: usize| {
            u64::from(word.wrapping_add((round as u32).wrapping_mul(weyl)))
        };
        Self {
            dropout,
            keys: std::array::from_fn(|round| [key(k0, WEYL[0], round), key(k1, WEYL[1], round)]),
        }
    }

    /// Returns the values that the draws of local row `row` share. The mask must be neither all
    /// ones nor all zeros.
    pub fn row(&self, row: usize) -> RowKey<'_> {
        let mask = &self.dropout.mask;
        let row = u64::from((mask.row_offset + row as u64) as u32);
        let [m0, m1] = MULTIPLIERS.map(u64::from);
        let low = 0xffff_ffff;
        let keys = &self.keys;
        let product = m1 * u64::from(mask.key.layer);
        let c1 = product & low;
        let c0 = product >> 32 ^ row ^ keys[0][0];
        let product = m0 * c0;
        let first = [
            u64::from(mask.key.step) ^ keys[0][1],
            c1 ^ keys[1][0],
            product >> 32 ^ keys[1][1],
            product & low ^ keys[2][1],
        ];
        RowKey { first, keys, threshold: mask.rate.threshold() as u16 }
    }
}

/// Everything that the draws of a mask in one row depend on, except for the column.
///
/// Only the first counter word, the group of columns, varies along a row. In two rounds of Philox
/// it reaches only half of the state. Two of the 20 products and the first keys are therefore
/// computed here, once per row:
///
/// ```text
/// round 1    c2 = high(M0·group) ^ first[0]    c3 = low(M0·group)
/// round 2    c0 = high(M1·c2) ^ first[1]       c1 = low(M1·c2)       c2 = c3 ^ first[2]
/// round 3    c0 = high(M1·c2) ^ c1 ^ key       c1 = low(M1·c2)
///            c2 = high(M0·c0) ^ first[3]      c3 = low(M0·c0)
/// ```
///
/// From round 4 on, the rounds follow [`mod@crate::philox`].
#[derive(Debug, Clone, Copy)]
pub(super) struct RowKey<'a> {
    /// Values that the first three rounds mix in instead of a varying counter word.
    pub first: [u64; 4],
    /// Keys of all rounds. Those of the first two rounds, and the second key of the third, are part
    /// of `first`.
    pub keys: &'a [[u64; 2]; ROUNDS as usize],
    /// Draws below this threshold, 1 ..= 65535, are kept.
    pub threshold: u16,
}

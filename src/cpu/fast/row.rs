//! Where a mask is drawn: what its draws in one row have in common, and where in the row they start.

use crate::Mask;
use crate::mask::GROUP;
use crate::philox::{MULTIPLIERS, ROUNDS, WEYL};

/// Where in a row a part of it starts: `lane` columns, below 8, into group `group`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub group: u32,
    pub lane: u32,
}

impl Place {
    /// The place of local column `col`.
    pub fn new(mask: &Mask, col: usize) -> Self {
        let col = mask.col_offset + col as u64;
        Self { group: (col / GROUP) as u32, lane: (col % GROUP) as u32 }
    }
}

/// Everything that a mask's draws in one row depend on but the column.
///
/// Only the first counter word, the group of columns, varies along a row, and in two rounds of Philox it reaches only half of the state. So
/// two of the 20 products and the first keys are worked out here, once a row:
///
/// ```text
/// round 1    c2 = high(M0·group) ^ first[0]    c3 = low(M0·group)
/// round 2    c0 = high(M1·c2) ^ first[1]       c1 = low(M1·c2)       c2 = c3 ^ first[2]
/// round 3    c0 = high(M1·c2) ^ c1 ^ key       c1 = low(M1·c2)       c2 = high(M0·c0) ^ first[3]    c3 = low(M0·c0)
/// ```
///
/// and as [`mod@crate::philox`] has it from round 4 on.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowKey {
    /// What the rounds up to the third mix in where they mix in no counter word.
    pub first: [u32; 4],
    /// The keys of the third round and of those after it; the third's second is part of `first`.
    pub keys: [[u32; 2]; ROUNDS as usize - 2],
    /// Draws below it are kept, 1 ..= 65535.
    pub threshold: u16,
}

impl RowKey {
    /// The key of local row `row`, for a mask that is neither all ones nor all zeros.
    pub fn new(mask: &Mask, row: usize) -> Self {
        let row = (mask.row_offset + row as u64) as u32;
        let [k0, k1] = crate::philox::key(mask.key.seed);
        let key = |round: u32| [k0.wrapping_add(round.wrapping_mul(WEYL[0])), k1.wrapping_add(round.wrapping_mul(WEYL[1]))];
        let product = |i: usize, word: u32| {
            let product = u64::from(MULTIPLIERS[i]) * u64::from(word);
            ((product >> 32) as u32, product as u32)
        };
        let (high, c1) = product(1, mask.key.layer);
        let c0 = high ^ row ^ key(0)[0];
        let (high, c3) = product(0, c0);
        let first = [mask.key.step ^ key(0)[1], c1 ^ key(1)[0], high ^ key(1)[1], c3 ^ key(2)[1]];
        Self { first, keys: std::array::from_fn(|i| key(i as u32 + 2)), threshold: mask.rate.threshold() as u16 }
    }
}

//! Writing of the mask as bits, on all threads.

use super::row::Site;
use super::{Isa, STRIP, strip_bits};
use crate::mask::DRAWS;
use crate::{Dropout, Mask};
use rayon::prelude::*;

/// See [`crate::cpu::reference::mask_bits`].
pub fn mask_bits(isa: Isa, bits: &mut [u32], cols: usize, mask: &Mask) {
    let dropout = Dropout { mask: *mask, ..Dropout::NONE };
    let site = Site::new(&dropout);
    let per_row = cols.div_ceil(32).max(1);
    bits.par_chunks_mut(per_row).enumerate().for_each(|(row, row_words)| {
        row_words.par_chunks_mut(STRIP / 32).enumerate().for_each(|(strip, out)| {
            let col = strip * STRIP;
            let len = STRIP.min(cols - col);
            let mut words = match mask.rate.threshold() {
                0 => [0; STRIP / 64 + 1],
                DRAWS => [u64::MAX; STRIP / 64 + 1],
                _ => {
                    let mut words = [0; STRIP / 64 + 1];
                    strip_bits(isa, &site, row, col, len, &mut words);
                    words
                }
            };
            // Bits beyond the last column are 0.
            if !len.is_multiple_of(64) {
                words[len / 64] &= (1 << (len % 64)) - 1;
            }
            for (i, out) in out.iter_mut().enumerate() {
                *out = (words[i / 2] >> (32 * (i % 2))) as u32;
            }
        });
    });
}

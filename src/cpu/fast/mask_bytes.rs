//! Writing of the mask as bytes, on all threads.

use super::dropout::each_part;
use super::row::Site;
use super::{Isa, STRIP, strip_bits};
use crate::mask::DRAWS;
use crate::{Dropout, Mask};

/// See [`crate::cpu::reference::mask_bytes`].
pub fn mask_bytes(isa: Isa, bytes: &mut [u8], cols: usize, mask: &Mask) {
    let dropout = Dropout { mask: *mask, ..Dropout::NONE };
    let site = Site::new(&dropout);
    each_part(bytes, cols, |bytes, row, col| match mask.rate.threshold() {
        0 => bytes.fill(0),
        DRAWS => bytes.fill(1),
        _ => {
            let mut words = [0; STRIP / 64 + 1];
            for (strip, bytes) in bytes.chunks_mut(STRIP).enumerate() {
                strip_bits(isa, &site, row, col + strip * STRIP, bytes.len(), &mut words);
                for (bytes, word) in bytes.chunks_mut(64).zip(words) {
                    bytes
                        .iter_mut()
                        .enumerate()
                        .for_each(|(j, byte)| *byte = (word >> j & 1) as u8);
                }
            }
        }
    });
}

//! The mask contract, version 1. A mask is a pure function of
//! `(seed, layer, step, row, col, rate)`.
//!
//! ```text
//! key     = (seed & 0xffffffff, seed >> 32)
//! counter = (col / 8, row, layer, step)
//! w0..w3  = Philox4x32-10(counter, key)
//! draw    = j even: w[j/2] & 0xffff    j odd: w[j/2] >> 16        j = col % 8
//! t       = round_half_up(keep · 65536)
//! kept    = draw < t
//! scale   = inverted: 65536 / t (0 when t = 0)    vanilla: 1
//! ```
//!
//! `row` and `col` are global coordinates. A tensor of any rank is seen as rows (the product of its
//! leading dimensions) and cols (its last dimension). A shard of a larger tensor adds its offsets,
//! so that a split over devices draws the mask of the whole.
//!
//! The layers 0x7ffffff0 to 0x7fffffff are reserved for draws that are not masks ([`crate::init`]).
//!
//! Nothing else enters: not the device, the tile, the batch split, the number of threads or the
//! order of execution. Any change would be a version 2 beside this one. GPU twin:
//! `shaders/mask.wgsl`.

use crate::{Error, Result};
use alloc::format;
use alloc::vec::Vec;

/// Number of values of a 16-bit draw: a rate in effect is a multiple of 1/65,536.
pub const DRAWS: u32 = 1 << 16;
/// Number of columns for which one call of Philox draws.
pub const GROUP: u64 = 8;
/// Bit of `layer` that is set for draws in prediction, where `step` counts samples.
pub const PREDICTION: u32 = 0x8000_0000;
/// Exclusive bound of global rows.
pub const MAX_ROWS: u64 = 1 << 32;
/// Exclusive bound of global columns.
pub const MAX_COLS: u64 = 1 << 35;

/// Converts a mask from bits to bytes 0 and 1. Element (r, c) is bit `c % 32` of word `c / 32` of
/// row r, and rows are padded to whole words.
///
/// # Errors
/// [`Error::Shape`] if the number of words is not `rows · ⌈cols / 32⌉`.
pub fn bits_to_bytes(words: &[u32], rows: usize, cols: usize) -> Result<Vec<u8>> {
    let per_row = cols.div_ceil(32);
    if rows.checked_mul(per_row) != Some(words.len()) {
        return Err(Error::shape(
            "bits_to_bytes",
            format!("{} words for {rows} rows of {per_row}", words.len()),
        ));
    }
    let len = crate::error::elements("mask", rows, cols)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| Error::OutOfMemory { bytes: len as u64 })?;
    for row in words.chunks(per_row.max(1)) {
        bytes.extend((0..cols).map(|col| (row[col / 32] >> (col % 32) & 1) as u8));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_read_from_the_lowest_and_rows_begin_with_a_word() {
        let words = [0b1010_0110, 1, 0xffff_fff0, 0];
        let bytes = bits_to_bytes(&words, 2, 33).unwrap();
        assert_eq!(bytes.len(), 66);
        assert_eq!(
            (&bytes[..8], bytes[32], &bytes[33..39], bytes[65]),
            (&[0, 1, 1, 0, 0, 1, 0, 1][..], 1, &[0, 0, 0, 0, 1, 1][..], 0)
        );
        assert!(bits_to_bytes(&words, 2, 32).is_err() && bits_to_bytes(&words, 4, 33).is_err());
    }
}

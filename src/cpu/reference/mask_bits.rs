//! Twin of `shaders/mask_bits.wgsl`.

use crate::Mask;

/// Writes the mask `[rows, cols]` as bits. Element (r, c) is bit c % 32 of word c / 32 of row r.
/// Rows are padded with 0 to whole words.
pub fn mask_bits(bits: &mut [u32], cols: usize, mask: &Mask) {
    for (row, words) in bits.chunks_mut(cols.div_ceil(32).max(1)).enumerate() {
        for (i, word) in words.iter_mut().enumerate() {
            let col = 32 * i;
            let strips =
                (0..4).map(|strip| u32::from(mask.keep8(row, col + 8 * strip)) << (8 * strip));
            *word = strips.fold(0, |word, strip| word | strip);
            if cols - col < 32 {
                *word &= (1 << (cols - col)) - 1;
            }
        }
    }
}

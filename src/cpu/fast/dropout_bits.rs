//! Dropout with a given mask, on all threads.

use super::dropout::each_part;

/// See [`crate::cpu::reference::dropout_bits`].
pub fn dropout_bits(x: &[f32], bits: &[u32], y: &mut [f32], cols: usize, scale: f32) {
    let words = cols.div_ceil(32);
    each_part(y, cols, |y, row, col| {
        let x = &x[row * cols + col..][..y.len()];
        // A part starts at a whole word.
        let bits = &bits[row * words + col / 32..];
        for ((y, x), word) in y.chunks_mut(32).zip(x.chunks(32)).zip(bits) {
            for (j, (y, x)) in y.iter_mut().zip(x).enumerate() {
                // All bits are set if the element is kept: selecting by a mask vectorizes
                // everywhere.
                *y = f32::from_bits((x * scale).to_bits() & (word >> j & 1).wrapping_neg());
            }
        }
    });
}

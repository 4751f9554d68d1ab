//! Twin of `shaders/dropout_bits.wgsl`.

/// Computes `y = M·s·x`, both `[rows, cols]`. Element (r, c) of M is bit c % 32 of word c / 32 of
/// row r.
pub fn dropout_bits(x: &[f32], bits: &[u32], y: &mut [f32], cols: usize, scale: f32) {
    let words = cols.div_ceil(32);
    for (i, (x, y)) in x.iter().zip(y).enumerate() {
        let (row, col) = (i / cols, i % cols);
        *y = if bits[row * words + col / 32] >> (col % 32) & 1 == 1 { x * scale } else { 0.0 };
    }
}

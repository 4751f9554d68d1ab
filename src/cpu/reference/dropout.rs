//! Twin of `shaders/dropout.wgsl`.

use crate::Dropout;

/// Computes `y = M·s·x`, both `[rows, cols]`.
pub fn dropout(x: &[f32], y: &mut [f32], cols: usize, dropout: &Dropout) {
    y.copy_from_slice(x);
    dropout_in_place(y, cols, dropout);
}

/// Computes `y = M·s·y` in place.
pub fn dropout_in_place(y: &mut [f32], cols: usize, dropout: &Dropout) {
    for (row, y) in y.chunks_mut(cols.max(1)).enumerate() {
        super::drop_row(y, row, dropout);
    }
}

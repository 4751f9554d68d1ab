//! Twin of `shaders/mask_bytes.wgsl`.

use crate::Mask;

/// Writes the mask `[rows, cols]` as bytes 0 and 1, row-major.
pub fn mask_bytes(bytes: &mut [u8], cols: usize, mask: &Mask) {
    for (row, bytes) in bytes.chunks_mut(cols.max(1)).enumerate() {
        for (group, bytes) in bytes.chunks_mut(8).enumerate() {
            let keep = mask.keep8(row, 8 * group);
            bytes.iter_mut().enumerate().for_each(|(j, byte)| *byte = keep >> j & 1);
        }
    }
}

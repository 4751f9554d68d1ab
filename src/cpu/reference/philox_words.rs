//! Twin of `shaders/philox_words.wgsl`.

use crate::philox::philox4x32;

/// Computes Philox4x32-10 for each row: `inputs [N, 6]` (four counter words, then two key words),
/// `words [N, 4]`.
pub fn philox_words(inputs: &[u32], words: &mut [u32]) {
    for (input, words) in inputs.chunks_exact(6).zip(words.chunks_exact_mut(4)) {
        let [c0, c1, c2, c3, k0, k1] = input else { continue };
        words.copy_from_slice(&philox4x32([*c0, *c1, *c2, *c3], [*k0, *k1]));
    }
}

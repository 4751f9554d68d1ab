//! Initial weights and shuffles. They are drawn by written rules from the generator of the masks,
//! so that they are the same on every machine.
//!
//! Their counters never coincide with a mask's: the layers [`WEIGHTS`] and [`SHUFFLE`] are
//! reserved.
//!
//! **Weights** of layer `l`, He's uniform distribution (He et al., "Delving deep into rectifiers",
//! ICCV 2015, section 2.2):
//!
//! ```text
//! w         = Philox4x32-10((out / 4, in, 0x7fffffff, l), key)[out % 4]
//! u         = (w >> 8) · 2^-24                 uniform on [0, 1), exact in f32
//! W[in,out] = (2u − 1) · sqrt(6 / inputs)      the bound rounded to f32, then one multiplication
//! ```
//!
//! **Shuffle** of `n` rows in epoch `e`: row `i` has the 64-bit sort key
//!
//! ```text
//! w   = Philox4x32-10((i / 2, 0, 0x7ffffffe, e), key)
//! k_i = w[2·(i % 2)] + w[2·(i % 2) + 1] · 2^32
//! ```
//!
//! and the order of the epoch is the rows sorted by `(k_i, i)`.

use crate::philox::{key, philox4x32};
use alloc::vec::Vec;

/// Reserved layer of the initial weights.
pub const WEIGHTS: u32 = 0x7fff_ffff;
/// Reserved layer of the shuffles.
pub const SHUFFLE: u32 = 0x7fff_fffe;

/// Returns the initial weights `[inputs, outputs]` of a network's layer `layer`, row-major.
pub fn he_uniform(seed: u64, layer: u32, inputs: usize, outputs: usize) -> Vec<f32> {
    let bound = libm::sqrt(6.0 / inputs as f64) as f32;
    let mut weights = Vec::with_capacity(inputs * outputs);
    for input in 0..inputs {
        for group in 0..outputs.div_ceil(4) {
            let words = philox4x32([group as u32, input as u32, WEIGHTS, layer], key(seed));
            let left = outputs - 4 * group;
            weights.extend(words.iter().take(left).map(|&word| {
                let u = (word >> 8) as f32 / 16_777_216.0;
                (2.0 * u - 1.0) * bound
            }));
        }
    }
    weights
}

/// Returns the order in which epoch `epoch` (from 0) visits `rows` rows: a permutation of
/// `0..rows`.
pub fn shuffle(seed: u64, epoch: u32, rows: u32) -> Vec<u32> {
    let mut order: Vec<(u64, u32)> = (0..rows)
        .map(|row| {
            let words = philox4x32([row / 2, 0, SHUFFLE, epoch], key(seed));
            let first = 2 * (row as usize % 2);
            (u64::from(words[first]) | u64::from(words[first + 1]) << 32, row)
        })
        .collect();
    order.sort_unstable();
    order.into_iter().map(|(_, row)| row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_fill_he_s_interval_and_no_more() {
        let weights = he_uniform(1, 0, 150, 37);
        let bound = (6.0f32 / 150.0).sqrt();
        assert_eq!(weights.len(), 150 * 37);
        assert!(weights.iter().all(|w| w.abs() <= bound));
        let variance = weights.iter().map(|w| f64::from(w * w)).sum::<f64>() / weights.len() as f64;
        // Var = bound² / 3. With 5,550 samples of a uniform distribution, five sigma of the
        // estimate are 6 % of it.
        assert!((variance / (f64::from(bound * bound) / 3.0) - 1.0).abs() < 0.06, "{variance}");
    }

    /// Expected values from a second implementation of the rules above, in another language.
    #[test]
    fn weights_and_shuffles_are_these() {
        let bits: Vec<u32> =
            he_uniform(42, 1, 2, 6).iter().map(|weight| weight.to_bits()).collect();
        let right = [
            0xbefb_67b5,
            0x3f32_c27d,
            0xbfdb_ed25,
            0x3f8f_d713,
            0x3f76_de4c,
            0x3fae_d74a,
            0x3fd7_e175,
            0x3fc3_e4a2,
            0xbee4_c3ce,
            0xbe2d_0f96,
            0x3fd0_bc85,
            0xbefb_4046,
        ];
        assert_eq!(bits, right);
        assert_eq!(shuffle(42, 0, 8), [7, 1, 5, 3, 6, 4, 0, 2]);
        assert_eq!(shuffle(0xDEAD_BEEF_CAFE_F00D, 7, 11), [2, 9, 5, 7, 1, 10, 3, 6, 4, 8, 0]);
    }

    #[test]
    fn a_narrower_layer_starts_with_the_same_columns() {
        let (wide, narrow) = (he_uniform(5, 2, 8, 10), he_uniform(5, 2, 8, 7));
        for input in 0..8 {
            assert_eq!(wide[input * 10..input * 10 + 7], narrow[input * 7..input * 7 + 7]);
        }
    }

    #[test]
    fn a_shuffle_is_a_permutation_that_changes_with_the_epoch() {
        let (first, second) = (shuffle(0, 0, 1001), shuffle(0, 1, 1001));
        assert_ne!(first, second);
        for mut order in [first, second] {
            order.sort_unstable();
            assert!(order.into_iter().eq(0..1001));
        }
    }

    #[test]
    fn the_bound_of_weights_is_the_standard_library_s_root() {
        for inputs in 1..100_000_usize {
            let x = 6.0 / inputs as f64;
            assert_eq!(libm::sqrt(x).to_bits(), x.sqrt().to_bits(), "{inputs}");
        }
    }
}

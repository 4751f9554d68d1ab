//! Initial weights, shuffles and test rows. They are drawn by written rules from the generator of
//! the masks, so that they are the same on every machine.
//!
//! Their counters never coincide with a mask's: the layers [`RESERVED`] belong to draws that are
//! not masks.
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
//!
//! **Test rows** of a table: row `i`, counted from 0, has the word
//!
//! ```text
//! w_i = Philox4x32-10((0, i, 0x7ffffffd, 0), key)[0]
//! ```
//!
//! Of a class of `n ≥ 2` rows, the `max(1, ⌊share·n + ½⌋)` rows that come first by `(w_i, i)` are
//! test rows. A class of one row has none.

use crate::philox::{key, philox4x32};
use alloc::vec::Vec;
use core::ops::RangeInclusive;

/// Layers of draws that are not masks. A mask must not use them.
pub const RESERVED: RangeInclusive<u32> = 0x7fff_fff0..=0x7fff_ffff;
/// Reserved layer of the initial weights.
pub const WEIGHTS: u32 = 0x7fff_ffff;
/// Reserved layer of the shuffles.
pub const SHUFFLE: u32 = 0x7fff_fffe;
/// Reserved layer of the choice of test rows.
pub const TEST_ROWS: u32 = 0x7fff_fffd;

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

/// Chooses the test rows of a table, about `share` of the rows of each class. `classes` holds the
/// class of each row. Returns for each row true if it is a test row.
pub fn test_rows(seed: u64, share: f64, classes: &[u32]) -> Vec<bool> {
    let word = |row: u32| philox4x32([0, row, TEST_ROWS, 0], key(seed))[0];
    let mut order: Vec<(u32, u32, u32)> =
        (0..).zip(classes).map(|(row, &class)| (class, word(row), row)).collect();
    order.sort_unstable();
    let mut is_test = alloc::vec![false; classes.len()];
    for class in order.chunk_by(|a, b| a.0 == b.0).filter(|class| class.len() >= 2) {
        // The cast is the floor.
        let rows = ((share * class.len() as f64 + 0.5) as usize).max(1);
        class.iter().take(rows).for_each(|&(_, _, row)| is_test[row as usize] = true);
    }
    is_test
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

    fn chosen(seed: u64, share: f64, classes: &[u32]) -> Vec<usize> {
        let is_test = test_rows(seed, share, classes);
        (0..classes.len()).filter(|&row| is_test[row]).collect()
    }

    /// Expected values from a second implementation of the rule above, in another language.
    #[test]
    fn test_rows_are_these() {
        let in_rotation: Vec<u32> = (0..30).map(|row| row % 3).collect();
        assert_eq!(chosen(0, 0.2, &in_rotation), [3, 5, 11, 18, 22, 25]);
        assert_eq!(chosen(42, 0.2, &in_rotation), [3, 8, 10, 11, 22, 24]);
        let classes = [0, 0, 1, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3];
        assert_eq!(chosen(0xDEAD_BEEF_CAFE_F00D, 0.35, &classes), [0, 3, 7, 11, 12]);
    }

    #[test]
    fn every_class_of_two_rows_has_the_share_of_test_rows_whatever_its_order() {
        for (rows, share, expected) in [
            (1, 0.9, 0),
            (2, 0.01, 1),
            (2, 0.75, 2),
            (3, 0.2, 1),
            (5, 0.5, 3),
            (1000, 0.2, 200),
            (1000, 0.0004, 1),
            (7, 1.0, 7),
        ] {
            // A second class between the rows must not change the number.
            for others in [0, 1, 3] {
                let classes: Vec<u32> =
                    (0..rows).flat_map(|_| [9].into_iter().chain((0..others).map(|_| 4))).collect();
                let found = chosen(3, share, &classes);
                let of_9 = found.iter().filter(|&&row| classes[row] == 9).count();
                assert_eq!(of_9, expected, "{share} of {rows} rows");
            }
        }
        assert_eq!(chosen(0, 0.2, &[]), [0; 0]);
    }

    #[test]
    fn draws_that_are_no_masks_use_reserved_layers() {
        for layer in [WEIGHTS, SHUFFLE, TEST_ROWS] {
            assert!(RESERVED.contains(&layer) && layer & crate::mask::PREDICTION == 0);
        }
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

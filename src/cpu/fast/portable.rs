//! The fast path in plain Rust: loops over eight groups at a time that a compiler turns into vector code for its target.

use super::RowKey;
use crate::philox::{MULTIPLIERS, ROUNDS, WEYL};

/// Groups side by side: a word's worth of bits.
const LANES: usize = 8;

/// Philox of [`LANES`] groups, each word in the lower half of a 64-bit lane, where vector units multiply 32 by 32 bits.
#[inline(always)]
fn philox(key: &RowKey, group: u32) -> [[u64; LANES]; 4] {
    let low = 0xffff_ffff;
    let mut c0: [u64; LANES] = std::array::from_fn(|lane| u64::from(group.wrapping_add(lane as u32)));
    let [mut c1, mut c2, mut c3] = [key.row, key.layer, key.step].map(|word| [u64::from(word); LANES]);
    let [mut k0, mut k1] = key.key;
    for _ in 0..ROUNDS {
        for lane in 0..LANES {
            let a = u64::from(MULTIPLIERS[0]) * (c0[lane] & low);
            let b = u64::from(MULTIPLIERS[1]) * (c2[lane] & low);
            c0[lane] = b >> 32 ^ c1[lane] ^ u64::from(k0);
            c2[lane] = a >> 32 ^ c3[lane] ^ u64::from(k1);
            c1[lane] = b;
            c3[lane] = a;
        }
        k0 = k0.wrapping_add(WEYL[0]);
        k1 = k1.wrapping_add(WEYL[1]);
    }
    [c0, c1, c2, c3]
}

/// Draws 64 elements a word from group `group` on.
pub(super) fn keep_bits(key: &RowKey, group: u32, words: &mut [u64]) {
    let t = u64::from(key.threshold);
    for (i, word) in words.iter_mut().enumerate() {
        let w = philox(key, group.wrapping_add((i * LANES) as u32));
        // Byte `lane` of the result holds the bits of a group. A difference below 0 has its top bit set.
        let mut lanes = [0u64; LANES];
        for lane in 0..LANES {
            for (j, word) in w.iter().enumerate() {
                let (even, odd) = (word[lane] & 0xffff, word[lane] >> 16 & 0xffff);
                lanes[lane] |= even.wrapping_sub(t) >> 63 << (2 * j) | odd.wrapping_sub(t) >> 63 << (2 * j + 1);
            }
        }
        *word = lanes.iter().enumerate().fold(0, |word, (lane, bits)| word | bits << (8 * lane));
    }
}

/// `y[i] = x[i] · scale` where bit i is set, else 0.
pub(super) fn select(x: &[f32], y: &mut [f32], bits: &[u64], scale: f32) {
    for (i, (x, y)) in x.chunks(8).zip(y.chunks_mut(8)).enumerate() {
        let byte = (bits[i / 8] >> (8 * (i % 8))) as u32 & 0xff;
        let keep: [u32; 8] = std::array::from_fn(|j| if byte & 1 << j != 0 { u32::MAX } else { 0 });
        for ((x, y), keep) in x.iter().zip(y).zip(keep) {
            *y = f32::from_bits((x * scale).to_bits() & keep);
        }
    }
}

//! Philox4x32, the counter-based generator of every random bit of this crate.
//!
//! A call maps a 128-bit counter and a 64-bit key to four words and keeps no state, so any thread
//! of any device can draw its own part of a mask. GPU twin: `shaders/philox.wgsl`.
//!
//! Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC'11,
//! section 4; constants from its reference implementation, Random123.

use core::convert::Infallible;
use rand::{SeedableRng, TryRng};

/// Number of rounds in the mask contract: Philox4x32-10.
pub const ROUNDS: u32 = 10;

/// Multipliers of a round, of words 0 and 2 of the counter.
pub const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
/// Increments of the key from round to round.
pub const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// Philox4x32-10: returns the four words of `counter` under `key`.
///
/// ```
/// let words = dropout_contract::philox::philox4x32([0; 4], [0; 2]);
/// assert_eq!(words, [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
/// ```
#[inline]
pub fn philox4x32(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    philox4x32_rounds::<ROUNDS>(counter, key)
}

/// Philox4x32 with any number of rounds. The published answers cover 7 rounds as well as 10, and
/// with 3 it is a generator that tests of randomness must reject.
#[inline]
pub fn philox4x32_rounds<const N: u32>(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [mut c0, mut c1, mut c2, mut c3] = counter;
    let [mut k0, mut k1] = key;
    for _ in 0..N {
        let (high0, low0) = multiply(MULTIPLIERS[0], c0);
        let (high1, low1) = multiply(MULTIPLIERS[1], c2);
        [c0, c1, c2, c3] = [high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0];
        k0 = k0.wrapping_add(WEYL[0]);
        k1 = k1.wrapping_add(WEYL[1]);
    }
    [c0, c1, c2, c3]
}

#[inline]
fn multiply(a: u32, b: u32) -> (u32, u32) {
    let product = u64::from(a) * u64::from(b);
    ((product >> 32) as u32, product as u32)
}

/// Stream of Philox words for use with the `rand` crate: the words of counter 0, 1, 2, … in order.
///
/// Masks, initial weights and shuffles do not come from a stream but from counters of their own
/// ([`crate::mask`], [`crate::init`]). This stream is for a program's other random numbers that
/// must be equal on every machine.
///
/// ```
/// use rand::{Rng, SeedableRng};
/// let mut rng = dropout_contract::philox::PhiloxRng::seed_from_u64(0);
/// assert_eq!(rng.next_u32(), 0x6627_e8d5);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhiloxRng {
    key: [u32; 2],
    /// Counter of the next block.
    counter: u128,
    block: [u32; 4],
    /// Number of words of `block` already returned.
    used: usize,
}

impl PhiloxRng {
    /// Returns the stream of `seed` from counter `counter` on; jumping ahead is free.
    pub fn at(seed: u64, counter: u128) -> Self {
        Self { key: key(seed), counter, block: [0; 4], used: 4 }
    }

    fn word(&mut self) -> u32 {
        if self.used == self.block.len() {
            let c = self.counter;
            self.block = philox4x32(
                [c as u32, (c >> 32) as u32, (c >> 64) as u32, (c >> 96) as u32],
                self.key,
            );
            self.counter = c.wrapping_add(1);
            self.used = 0;
        }
        self.used += 1;
        self.block[self.used - 1]
    }
}

/// Returns the key of a seed: its low and its high word.
#[inline]
pub fn key(seed: u64) -> [u32; 2] {
    [seed as u32, (seed >> 32) as u32]
}

impl SeedableRng for PhiloxRng {
    type Seed = [u8; 8];

    fn from_seed(seed: Self::Seed) -> Self {
        Self::at(u64::from_le_bytes(seed), 0)
    }

    /// Takes the seed as the key itself, so that a number means the same stream here as in the mask
    /// contract.
    fn seed_from_u64(seed: u64) -> Self {
        Self::at(seed, 0)
    }
}

impl TryRng for PhiloxRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.word())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let low = u64::from(self.word());
        Ok(low | u64::from(self.word()) << 32)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(4) {
            chunk.copy_from_slice(&self.word().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;
    use std::vec::Vec;

    #[test]
    fn the_stream_is_the_words_of_consecutive_counters() {
        let mut rng = PhiloxRng::seed_from_u64(0xA409_3822);
        let words: Vec<u32> = (0..8).map(|_| rng.next_u32()).collect();
        assert_eq!(words[..4], philox4x32([0; 4], [0xA409_3822, 0]));
        assert_eq!(words[4..], philox4x32([1, 0, 0, 0], [0xA409_3822, 0]));
        assert_eq!(PhiloxRng::at(0xA409_3822, 1).next_u32(), words[4]);
    }

    #[test]
    fn longer_numbers_are_words_in_order_the_low_one_first() {
        let [a, b, c, d] = philox4x32([0; 4], [3, 0]);
        let mut rng = PhiloxRng::seed_from_u64(3);
        assert_eq!(rng.next_u64(), u64::from(a) | u64::from(b) << 32);
        let mut bytes = [0; 7];
        rng.fill_bytes(&mut bytes);
        assert_eq!((&bytes[..4], &bytes[4..]), (&c.to_le_bytes()[..], &d.to_le_bytes()[..3]));
    }

    #[test]
    fn the_counter_carries_into_every_word() {
        let mut rng = PhiloxRng::at(7, u128::MAX);
        assert_eq!(rng.next_u32(), philox4x32([u32::MAX; 4], [7, 0])[0]);
        let mut bytes = [0; 12];
        rng.fill_bytes(&mut bytes);
        let mut rng = PhiloxRng::at(7, 0);
        let mut skipped = rng.clone();
        rng.next_u64();
        assert_ne!(rng.next_u32(), skipped.next_u32());
    }
}

//! Random cases, the same for the same seed on every machine.

use crate::mask::{MAX_COLS, MAX_ROWS};
use crate::philox::PhiloxRng;
use crate::{Dropout, Key, Mask, Mode, Rate};
use rand::Rng;

/// A stream of cases. Each check has its own.
pub(super) struct Cases(PhiloxRng);

impl Cases {
    pub fn new(seed: u64, check: u32) -> Self {
        // Far above the counters of any mask: the third and fourth words match no layer and step in
        // use.
        Self(PhiloxRng::at(seed, u128::from(check) << 64 | 1 << 127))
    }

    /// Returns a number below `bound`; the bias of the remainder is irrelevant here.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64() % bound.max(1)
    }

    /// Returns a number in `from..=to`.
    pub fn size(&mut self, from: usize, to: usize) -> usize {
        from + self.below((to - from + 1) as u64) as usize
    }

    pub fn flip(&mut self) -> bool {
        self.0.next_u32() & 1 == 1
    }

    /// Returns numbers in -1..1.
    pub fn noise(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| (self.0.next_u32() >> 8) as f32 / 8_388_608.0 - 1.0).collect()
    }

    /// Returns whole numbers in -4..=4, often 0, so that sums of their products are exact in f32.
    pub fn whole(&mut self, len: usize) -> Vec<f32> {
        self.noise(len).into_iter().map(|x| (x * 4.9).trunc()).collect()
    }

    /// Returns a random key whose words are 0 or the maximum more often than by chance.
    pub fn key(&mut self) -> Key {
        let word = |cases: &mut Self| match cases.below(8) {
            0 => 0,
            1 => u32::MAX,
            _ => cases.0.next_u32(),
        };
        let seed = u64::from(word(self)) << 32 | u64::from(word(self));
        Key { seed, layer: word(self), step: word(self) }
    }

    /// Returns a rate: mostly random, sometimes at the ends of the threshold's range, sometimes a
    /// common one.
    pub fn rate(&mut self) -> Rate {
        let keep = match self.below(10) {
            0 => [0.0, 0.5 / 65536.0, 1.0 / 65536.0, 1.0 - 1.0 / 65536.0, 1.0 - 0.4 / 65536.0, 1.0]
                [self.size(0, 5)],
            1 => [0.1, 0.2, 0.25, 0.5, 0.75, 0.8, 0.9][self.size(0, 6)],
            _ => f64::from(self.0.next_u32()) / f64::from(u32::MAX),
        };
        Rate::keep(keep).unwrap_or(Rate::KEEP_ALL)
    }

    /// Returns a random mask for a shape. Its place is near 0, random, or at the end of the
    /// coordinates, in every lane of a group of eight.
    pub fn mask(&mut self, rows: usize, cols: usize) -> Mask {
        let mut place = |end: u64| match self.below(4) {
            0 => self.below(9),
            1 => end - self.below(9),
            2 => 8 * self.below(1000) + self.below(9),
            _ => self.below(end + 1),
        };
        let (row, col) = (place(MAX_ROWS - rows as u64), place(MAX_COLS - cols as u64 - 8));
        let nudge = self.below(9);
        Mask::new(self.rate(), self.key()).at(row, col + nudge)
    }

    /// Returns a site whose scale is a power of two, so that whole numbers stay exact.
    pub fn exact_site(&mut self, rows: usize, cols: usize) -> Dropout {
        let (mode, keep) = [
            (Mode::Inverted, 0.5),
            (Mode::Inverted, 0.25),
            (Mode::Vanilla, 0.5),
            (Mode::Vanilla, 0.25),
            (Mode::Inverted, 1.0),
            (Mode::None, 0.5),
        ][self.size(0, 5)];
        let mask = self.mask(rows, cols);
        Dropout::train(mode, Mask { rate: Rate::keep(keep).unwrap_or(Rate::KEEP_ALL), ..mask })
    }
}

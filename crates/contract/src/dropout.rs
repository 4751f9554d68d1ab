//! Keys, masks and dropout sites. They follow the contract in [`mask`](crate::mask).

use crate::mask::{DRAWS, GROUP, MAX_COLS, MAX_ROWS};
use crate::philox::{key, philox4x32};
use crate::{Error, Mode, Rate, Result};
use alloc::format;
use alloc::vec::Vec;

/// Origin of a mask's draws, besides coordinates and rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Key {
    /// Seed of the run: the key of Philox.
    pub seed: u64,
    /// Dropout site. In a network, 0 for the input and i for the i-th hidden layer; the top bit is
    /// set in prediction.
    pub layer: u32,
    /// Training step, counted from 0; in prediction, the sample.
    pub step: u32,
}

impl Key {
    /// Returns the eight draws of columns `8·group .. 8·group + 8` of a row.
    #[inline]
    pub fn draws(self, row: u32, group: u32) -> [u16; 8] {
        let w = philox4x32([group, row, self.layer, self.step], key(self.seed));
        [
            w[0] as u16,
            (w[0] >> 16) as u16,
            w[1] as u16,
            (w[1] >> 16) as u16,
            w[2] as u16,
            (w[2] >> 16) as u16,
            w[3] as u16,
            (w[3] >> 16) as u16,
        ]
    }

    /// Returns the draw of one element, uniform on `0 ..= 65535`.
    #[inline]
    pub fn draw(self, row: u32, col: u64) -> u16 {
        self.draws(row, (col / GROUP) as u32)[(col % GROUP) as usize]
    }
}

/// A mask: key, rate and position of a shard in the whole tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mask {
    /// Seed, layer and step.
    pub key: Key,
    /// Probability to keep an element.
    pub rate: Rate,
    /// Global row of the tensor's first row.
    pub row_offset: u64,
    /// Global column of the tensor's first column.
    pub col_offset: u64,
}

impl Mask {
    /// Mask that keeps everything and draws nothing.
    pub const KEEP_ALL: Self = Self::new(Rate::KEEP_ALL, Key { seed: 0, layer: 0, step: 0 });

    /// Returns the mask of a whole tensor.
    pub const fn new(rate: Rate, key: Key) -> Self {
        Self { key, rate, row_offset: 0, col_offset: 0 }
    }

    /// Returns the same mask for a shard whose first element is global `(row, col)`.
    pub const fn at(self, row: u64, col: u64) -> Self {
        Self { row_offset: row, col_offset: col, ..self }
    }

    /// Checks that `rows × cols` elements from the offsets on have coordinates within the contract.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if `rows + row_offset > 2^32` or `cols + col_offset > 2^35`.
    pub fn check(&self, rows: usize, cols: usize) -> Result<()> {
        let end = |what: &str, offset: u64, size: usize, bound: u64| match offset
            .checked_add(size as u64)
        {
            Some(end) if end <= bound => Ok(()),
            end => Err(Error::TooLarge {
                what: format!("{what} offset + {what}s"),
                value: end.unwrap_or(u64::MAX),
                bound,
            }),
        };
        end("row", self.row_offset, rows, MAX_ROWS)?;
        end("col", self.col_offset, cols, MAX_COLS)
    }

    /// Returns true if the element at local `(row, col)` is kept. The coordinates must pass
    /// [`check`](Self::check).
    #[inline]
    pub fn keeps(&self, row: usize, col: usize) -> bool {
        let row = self.row_offset + row as u64;
        let col = self.col_offset + col as u64;
        u32::from(self.key.draw(row as u32, col)) < self.rate.threshold()
    }

    /// Returns the mask of eight columns: bit j is 1 if local `(row, col + j)` is kept. Twin of
    /// `keep8` in `shaders/mask.wgsl`.
    #[inline]
    pub fn keep8(&self, row: usize, col: usize) -> u8 {
        let t = self.rate.threshold();
        if t == DRAWS {
            return u8::MAX;
        }
        let row = (self.row_offset + row as u64) as u32;
        let col = self.col_offset + col as u64;
        let group = |group: u64| {
            let draws = self.key.draws(row, group as u32);
            draws
                .iter()
                .enumerate()
                .fold(0u8, |bits, (j, &draw)| bits | u8::from(u32::from(draw) < t) << j)
        };
        match (col / GROUP, col % GROUP) {
            (first, 0) => group(first),
            // Columns past the contract's last group are never used, so their bits may be anything.
            (first, lane) => group(first) >> lane | group(first.wrapping_add(1)) << (GROUP - lane),
        }
    }

    /// Returns the draws of local `(row, col .. col + 8)`. Twin of `draws8` in `shaders/mask.wgsl`.
    #[inline]
    pub fn draws8(&self, row: usize, col: usize) -> [u16; 8] {
        let row = (self.row_offset + row as u64) as u32;
        let col = self.col_offset + col as u64;
        let group = (col / GROUP) as u32;
        let lane = (col % GROUP) as usize;
        let first = self.key.draws(row, group);
        if lane == 0 {
            return first;
        }
        // As in `keep8`.
        let next = self.key.draws(row, group.wrapping_add(1));
        core::array::from_fn(|j| {
            first.get(lane + j).copied().unwrap_or_else(|| next[(lane + j) % 8])
        })
    }

    /// Returns the mask of `rows × cols` elements as bytes 0 and 1, row-major.
    ///
    /// # Errors
    /// As [`check`](Self::check); [`Error::TooLarge`] if `rows · cols` overflows;
    /// [`Error::OutOfMemory`] if the bytes cannot be allocated.
    pub fn bytes(&self, rows: usize, cols: usize) -> Result<Vec<u8>> {
        self.check(rows, cols)?;
        let len = crate::error::elements("mask", rows, cols)?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(len).map_err(|_| Error::OutOfMemory { bytes: len as u64 })?;
        bytes.resize(len, 0);
        for (row, out) in bytes.chunks_mut(cols.max(1)).enumerate() {
            for (group, out) in out.chunks_mut(GROUP as usize).enumerate() {
                let bits = self.keep8(row, group * GROUP as usize);
                out.iter_mut().enumerate().for_each(|(j, byte)| *byte = bits >> j & 1);
            }
        }
        Ok(bytes)
    }
}

/// One dropout site: `y = M·s·x`.
///
/// In training, `M` is a mask and `s` the scale of its mode. In prediction, `M` is all ones and `s`
/// is 1, or the keep rate in effect for vanilla dropout. Prediction therefore takes no key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// Mask of the elements that are kept.
    pub mask: Mask,
    /// Factor of the kept elements: a finite number.
    pub scale: f32,
}

impl Dropout {
    /// No dropout: `y = x`.
    pub const NONE: Self = Self { mask: Mask::KEEP_ALL, scale: 1.0 };

    /// Returns the site in training.
    pub fn train(mode: Mode, mask: Mask) -> Self {
        match mode {
            Mode::None => Self::NONE,
            Mode::Vanilla => Self { mask, scale: 1.0 },
            Mode::Inverted => Self { mask, scale: mask.rate.inverse() },
        }
    }

    /// Returns the site in prediction. Vanilla dropout multiplies by the keep rate in effect, which
    /// f32 holds exactly; the other modes do nothing.
    pub fn predict(mode: Mode, rate: Rate) -> Self {
        match mode {
            Mode::None | Mode::Inverted => Self::NONE,
            Mode::Vanilla => Self { scale: rate.keep_in_effect() as f32, ..Self::NONE },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    #[test]
    fn draws_of_seed_42_are_the_published_ones() {
        let key = Key { seed: 42, layer: 0, step: 0 };
        assert_eq!(
            key.draws(0, 0),
            [0xf053, 0x9cea, 0x493b, 0x77f5, 0x50ad, 0x12bf, 0xb3d7, 0x5742]
        );
        assert_eq!(key.draw(0, 2), 0x493b);
    }

    #[test]
    fn eight_columns_at_once_equal_one_at_a_time_at_every_offset() {
        for lane in 0..9 {
            let mask = Mask::new(Rate::keep(0.6).unwrap(), Key { seed: 9, layer: 1, step: 2 })
                .at(5, 1000 + lane);
            let bits = mask.keep8(3, 16);
            for j in 0..8 {
                assert_eq!(bits >> j & 1 == 1, mask.keeps(3, 16 + j), "offset {lane} column {j}");
                assert_eq!(
                    mask.draws8(3, 16)[j],
                    mask.key.draw(8, 1016 + (lane + j as u64)),
                    "offset {lane} column {j}"
                );
            }
        }
    }

    #[test]
    fn a_draw_that_equals_the_threshold_is_dropped() {
        // Column 0 of row 0 draws 0xf053.
        for (threshold, kept) in [(0xf053, 0), (0xf054, 1)] {
            let mask = Mask::new(
                Rate::keep(f64::from(threshold) / 65536.0).unwrap(),
                Key { seed: 42, layer: 0, step: 0 },
            );
            assert_eq!(
                (mask.keeps(0, 0), mask.keep8(0, 0) & 1, mask.bytes(1, 1).unwrap()),
                (kept == 1, kept, vec![kept])
            );
        }
    }

    #[test]
    fn predicting_scales_in_vanilla_alone() {
        let rate = Rate::keep(0.3).unwrap();
        let scale = |mode| Dropout::predict(mode, rate).scale;
        assert_eq!(
            [Mode::None, Mode::Inverted, Mode::Vanilla].map(scale),
            [1.0, 1.0, rate.keep_in_effect() as f32]
        );
        assert_eq!(Dropout::predict(Mode::Vanilla, rate).mask, Mask::KEEP_ALL);
    }

    #[test]
    fn offsets_end_where_the_contract_does() {
        let mask = Mask::new(Rate::KEEP_ALL, Key::default());
        assert!(mask.at(MAX_ROWS - 4, MAX_COLS - 4).check(4, 4).is_ok());
        assert!(matches!(
            mask.at(MAX_ROWS - 4, 0).check(5, 4),
            Err(Error::TooLarge { bound: MAX_ROWS, .. })
        ));
        assert!(matches!(
            mask.at(0, MAX_COLS - 4).check(4, 5),
            Err(Error::TooLarge { bound: MAX_COLS, .. })
        ));
        assert!(mask.at(u64::MAX, 0).check(1, 1).is_err());
    }

    #[test]
    fn rates_zero_and_one_drop_all_and_none() {
        let key = Key { seed: 3, layer: 0, step: 0 };
        assert!(
            Mask::new(Rate::keep(0.0).unwrap(), key)
                .bytes(9, 9)
                .unwrap()
                .iter()
                .all(|&kept| kept == 0)
        );
        assert!(
            Mask::new(Rate::keep(1.0).unwrap(), key)
                .bytes(9, 9)
                .unwrap()
                .iter()
                .all(|&kept| kept == 1)
        );
    }
}

//! Masks of random keys, rates, shapes and offsets, drawn by the device and compared with the
//! reference's.

use super::check::{Check, Tally};
use super::form::Form;
use super::random::Cases;
use crate::call::{DropoutCall, MaskBits};
use crate::cpu::reference;
use crate::{Backend, Dropout, Key, Mask, Mode, Result};
use rayon::prelude::*;

/// Number of configurations drawn between two waits for the device.
const BATCH: usize = 512;
/// Number of batches that share their shapes, and therefore their tensors.
const ROUNDS: usize = 16;

/// Describes the first element of `words`, as `mask_bits` writes them, that differs from the
/// contract: its key, row, column, and both values.
pub(super) fn difference(mask: &Mask, rows: usize, cols: usize, words: &[u32]) -> Option<String> {
    let per_row = cols.div_ceil(32);
    let mut expected = vec![0; rows * per_row];
    reference::mask_bits(&mut expected, cols, mask);
    if words.len() != expected.len() {
        return Some(format!("{} words for a mask of {}", words.len(), expected.len()));
    }
    let at = (0..expected.len()).find(|&i| words[i] != expected[i])?;
    let bit = (words[at] ^ expected[at]).trailing_zeros();
    let (row, col) = (at / per_row, at % per_row * 32 + bit as usize);
    Some(describe(mask, row, col, expected[at] >> bit & 1, &(words[at] >> bit & 1)))
}

/// Describes the first element of `y = dropout(1)`, without a scale, that differs from the mask
/// `expected`.
fn difference_of_ones(mask: &Mask, cols: usize, expected: &[u32], y: &[f32]) -> Option<String> {
    let per_row = cols.div_ceil(32);
    let right = |i: usize| (expected[i / cols * per_row + i % cols / 32] >> (i % cols % 32)) & 1;
    let at = (0..y.len()).find(|&i| y[i].to_bits() != (right(i) as f32).to_bits())?;
    Some(format!("dropout of ones, {}", describe(mask, at / cols, at % cols, right(at), &y[at])))
}

fn describe(
    mask: &Mask,
    row: usize,
    col: usize,
    expected: u32,
    got: &dyn std::fmt::Display,
) -> String {
    let Mask { key: Key { seed, layer, step }, rate, row_offset, col_offset } = mask;
    let (row, col) = (row_offset + row as u64, col_offset + col as u64);
    format!(
        "seed {seed:#x}, layer {layer}, step {step}, keep {}: row {row}, column {col}: expected {expected}, got {got}",
        rate.keep_asked()
    )
}

/// Tensors that successive configurations share: the shape stays, the mask changes.
struct Slot<B: Backend> {
    rows: usize,
    cols: usize,
    bits: B::Tensor<u32>,
    ones: B::Tensor<f32>,
    y: B::Tensor<f32>,
}

impl<B: Backend> Slot<B> {
    fn new(backend: &mut B, cases: &mut Cases) -> Result<Self> {
        let (rows, mut cols) = (cases.size(1, 24), cases.size(1, 100));
        if cases.flip() {
            // Rows of whole vectors use different loads.
            cols = cols.next_multiple_of(4);
        }
        // The first mask overwrites this pattern; each later one overwrites a mask of another
        // key.
        let bits = backend.tensor(
            rows,
            cols.div_ceil(32),
            &vec![0xdead_beef; rows * cols.div_ceil(32)],
        )?;
        let ones = backend.tensor(rows, cols, &vec![1.0; rows * cols])?;
        let y = backend.tensor(rows, cols, &vec![f32::NAN; rows * cols])?;
        Ok(Self { rows, cols, bits, ones, y })
    }
}

/// Checks `count` configurations over all forms, each drawn by `mask_bits` and by `dropout`.
pub(super) fn sweep<B: Backend>(forms: &mut [Form<B>], seed: u64, count: usize) -> Result<Check> {
    let mut tally = Tally::new("masks of random keys, rates, shapes, offsets");
    let share = count.div_ceil(forms.len().max(1));
    for (index, form) in forms.iter_mut().enumerate() {
        let mut cases = Cases::new(seed, 0x100 + index as u32);
        let mut left = share;
        while left > 0 {
            let slots = (0..BATCH.min(left)).map(|_| Slot::new(&mut form.backend, &mut cases));
            let mut slots: Vec<Slot<B>> = slots.collect::<Result<_>>()?;
            for _ in 0..ROUNDS {
                slots.truncate(left);
                left -= slots.len();
                batch(form, &mut slots, &mut cases, &mut tally)?;
            }
        }
    }
    Ok(tally.finish("by mask_bits and by dropout"))
}

fn batch<B: Backend>(
    form: &mut Form<B>,
    slots: &mut [Slot<B>],
    cases: &mut Cases,
    tally: &mut Tally,
) -> Result<()> {
    let mut masks = Vec::new();
    for slot in slots.iter_mut() {
        let mask = cases.mask(slot.rows, slot.cols);
        form.backend.run(MaskBits { bits: &mut slot.bits, cols: slot.cols, mask })?;
        let dropout = Dropout::train(Mode::Vanilla, mask);
        form.backend.run(DropoutCall { x: &slot.ones, y: &mut slot.y, dropout })?;
        masks.push((mask, slot.rows, slot.cols));
    }
    let bits = form.backend.read_all(&slots.iter().map(|slot| &slot.bits).collect::<Vec<_>>())?;
    let ones = form.backend.read_all(&slots.iter().map(|slot| &slot.y).collect::<Vec<_>>())?;
    let found: Vec<Option<String>> = masks
        .par_iter()
        .zip(bits.par_iter().zip(&ones))
        .map(|((mask, rows, cols), (bits, y))| {
            // If the first comparison passes, the bits equal the reference's.
            difference(mask, *rows, *cols, bits)
                .or_else(|| difference_of_ones(mask, *cols, bits, y))
        })
        .collect();
    found
        .into_iter()
        .for_each(|wrong| tally.case(wrong.map(|wrong| format!("{}: {wrong}", form.name))));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rate;

    #[test]
    fn the_first_wrong_bit_is_named_with_key_and_place() {
        let mask =
            Mask::new(Rate::keep(0.5).unwrap(), Key { seed: 9, layer: 2, step: 3 }).at(100, 7);
        let (rows, cols) = (3, 40);
        let mut words = vec![0; 6];
        reference::mask_bits(&mut words, cols, &mask);
        assert_eq!(difference(&mask, rows, cols, &words), None);
        let right = words.clone();
        words[3] ^= 1 << 4;
        words[5] ^= 1;
        let kept = right[3] >> 4 & 1;
        let named = format!(
            "seed 0x9, layer 2, step 3, keep 0.5: row 101, column 43: expected {kept}, got {}",
            1 - kept
        );
        assert_eq!(difference(&mask, rows, cols, &words), Some(named));
        let mut y: Vec<f32> = mask.bytes(rows, cols).unwrap().into_iter().map(f32::from).collect();
        assert_eq!(difference_of_ones(&mask, cols, &right, &y), None);
        y[1] = f32::NAN;
        assert!(
            difference_of_ones(&mask, cols, &right, &y)
                .unwrap()
                .contains("row 100, column 8: expected")
        );
    }
}

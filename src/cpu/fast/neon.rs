//! The fast path with NEON.
//!
//! One vector holds the same counter word of four groups. A product is two `umull`, whose low and
//! high halves `uzp1` and `uzp2` separate. Storing the four words interleaved puts the eight draws
//! of a group side by side.
//!
//! This file uses `unsafe` for two things: calls into functions compiled for the instruction set,
//! each behind a check that the processor has it, and vector stores within the given slices.
#![allow(unsafe_code)]

use super::row::{Place, RowKey};
use super::{Isa, portable};
use crate::philox::MULTIPLIERS;
use std::arch::aarch64::*;

/// See [`super::keep_bits`].
pub(super) fn keep_bits(key: &RowKey, group: u32, words: &mut [u64]) {
    if !Isa::Neon.is_available() {
        return portable::keep_bits(key, group, words);
    }
    for (i, word) in words.iter_mut().enumerate() {
        let mut draws = [0; 64];
        // SAFETY: the processor has NEON.
        unsafe { draw(key, group.wrapping_add(8 * i as u32), &mut draws) };
        *word = draws
            .iter()
            .enumerate()
            .fold(0, |word, (j, &draw)| word | u64::from(draw < key.threshold) << j);
    }
}

/// Stores the 64 draws of eight groups.
#[inline]
#[target_feature(enable = "neon")]
fn draw(key: &RowKey, group: u32, out: &mut [u16; 64]) {
    let wide = |word: u64| vdupq_n_u32(word as u32);
    let xor = |a, b| veorq_u32(a, b);
    let [m0, m1] = MULTIPLIERS.map(u64::from).map(wide);
    // Returns the high and the low half of each product.
    let multiply = |a: uint32x4_t, b: uint32x4_t| {
        let low = vreinterpretq_u32_u64(vmull_u32(vget_low_u32(a), vget_low_u32(b)));
        let high = vreinterpretq_u32_u64(vmull_high_u32(a, b));
        (vuzp2q_u32(low, high), vuzp1q_u32(low, high))
    };
    let lanes = vaddq_u32(
        vcombine_u32(vcreate_u32(1 << 32), vcreate_u32(3 << 32 | 2)),
        wide(u64::from(group)),
    );
    let [mut c0, mut c1, mut c2, mut c3] = [[wide(0); 2]; 4];
    for i in 0..2 {
        let (high, first) = multiply(vaddq_u32(lanes, wide(4 * i as u64)), m0);
        let (high, second) = multiply(xor(high, wide(key.first[0])), m1);
        let (high0, low0) = multiply(xor(high, wide(key.first[1])), m0);
        let (high1, low1) = multiply(xor(first, wide(key.first[2])), m1);
        c0[i] = xor(xor(high1, second), wide(key.keys[2][0]));
        c2[i] = xor(high0, wide(key.first[3]));
        (c1[i], c3[i]) = (low1, low0);
    }
    for [k0, k1] in &key.keys[3..] {
        for i in 0..2 {
            let (high0, low0) = multiply(c0[i], m0);
            let (high1, low1) = multiply(c2[i], m1);
            c0[i] = xor(xor(high1, c1[i]), wide(*k0));
            c2[i] = xor(xor(high0, c3[i]), wide(*k1));
            (c1[i], c3[i]) = (low1, low0);
        }
    }
    for (i, out) in out.chunks_exact_mut(32).enumerate() {
        // SAFETY: four vectors of four words are the 32 draws of this half. `st4` requires no
        // alignment beyond that of a `u16`.
        unsafe { vst4q_u32(out.as_mut_ptr().cast(), uint32x4x4_t(c0[i], c1[i], c2[i], c3[i])) };
    }
}

/// See [`super::draws`].
pub(super) fn draws(key: &RowKey, group: u32, out: &mut [[u16; 64]]) {
    if !Isa::Neon.is_available() {
        return portable::draws(key, group, out);
    }
    for (i, out) in out.iter_mut().enumerate() {
        // SAFETY: the processor has NEON.
        unsafe { draw(key, group.wrapping_add(8 * i as u32), out) };
    }
}

/// See [`super::drop_part`].
pub(super) fn drop_part(key: &RowKey, place: Place, x: Option<&[f32]>, y: &mut [f32], scale: f32) {
    if !Isa::Neon.is_available() {
        return portable::drop_part(key, place, x, y, scale);
    }
    // SAFETY: the processor has NEON.
    unsafe { drop_inner(key, place, x, y, scale) }
}

#[target_feature(enable = "neon")]
fn drop_inner(key: &RowKey, place: Place, x: Option<&[f32]>, y: &mut [f32], scale: f32) {
    portable::drop_with(|group, out| draw(key, group, out), key.threshold, place, x, y, scale);
}

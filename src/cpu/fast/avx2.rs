//! The fast path with AVX2.
//!
//! Each counter word lies in a 64-bit lane, so that a 32×32-bit product is one `vpmuludq`, its high half one shift, and its low half
//! needs no masking: the upper half of a lane is never looked at. Two blocks are interleaved to hide the multiplier's latency. At the end
//! `(w0 | w1 << 32)` and `(w2 | w3 << 32)` are unpacked so that the eight draws of a group lie side by side, and one comparison of 16-bit
//! lanes gives their bits.
//!
//! `unsafe` is confined to this file: calls into functions compiled for the instruction set, each behind a check that the processor has
//! it, and vector loads and stores within the slices given. It earns its place with three times the portable form's throughput.
#![allow(unsafe_code)]

use super::{RowKey, portable};
use crate::philox::{MULTIPLIERS, ROUNDS, WEYL};
use std::arch::x86_64::*;

/// See [`super::keep_bits`].
pub(super) fn keep_bits(key: &RowKey, group: u32, words: &mut [u64]) {
    if !std::arch::is_x86_feature_detected!("avx2") {
        return portable::keep_bits(key, group, words);
    }
    // SAFETY: the processor has AVX2.
    unsafe { keep_bits_inner(key, group, words) }
}

#[target_feature(enable = "avx2")]
fn keep_bits_inner(key: &RowKey, group: u32, words: &mut [u64]) {
    for (i, word) in words.iter_mut().enumerate() {
        let base = group.wrapping_add(8 * i as u32);
        let [low, high] = draw(key, base);
        *word = u64::from(low) | u64::from(high) << 32;
    }
}

/// The bits of eight groups, four a vector.
#[inline]
#[target_feature(enable = "avx2")]
fn draw(key: &RowKey, group: u32) -> [u32; 2] {
    let wide = |word: u32| _mm256_set1_epi64x(i64::from(word));
    let lanes = _mm256_set_epi64x(3, 2, 1, 0);
    let mut c0 = [0, 4].map(|offset| _mm256_add_epi64(wide(group.wrapping_add(offset)), lanes));
    let mut c1 = [wide(key.row); 2];
    let mut c2 = [wide(key.layer); 2];
    let mut c3 = [wide(key.step); 2];
    let [mut k0, mut k1] = key.key;
    for _ in 0..ROUNDS {
        for i in 0..2 {
            let a = _mm256_mul_epu32(c0[i], wide(MULTIPLIERS[0]));
            let b = _mm256_mul_epu32(c2[i], wide(MULTIPLIERS[1]));
            c0[i] = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64::<32>(b), c1[i]), wide(k0));
            c2[i] = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64::<32>(a), c3[i]), wide(k1));
            c1[i] = b;
            c3[i] = a;
        }
        k0 = k0.wrapping_add(WEYL[0]);
        k1 = k1.wrapping_add(WEYL[1]);
    }
    // There is no unsigned comparison: draw < t exactly where min(draw, t - 1) is the draw.
    let most = _mm256_set1_epi16((key.threshold - 1) as i16);
    [0, 1].map(|i| {
        let first = _mm256_blend_epi32::<0xAA>(c0[i], _mm256_slli_epi64::<32>(c1[i]));
        let second = _mm256_blend_epi32::<0xAA>(c2[i], _mm256_slli_epi64::<32>(c3[i]));
        let kept = |draws: __m256i| _mm256_cmpeq_epi16(_mm256_min_epu16(draws, most), draws);
        let even = kept(_mm256_unpacklo_epi64(first, second));
        let odd = kept(_mm256_unpackhi_epi64(first, second));
        // Groups 0 and 2 lie in `even`, 1 and 3 in `odd`; packing puts them in order.
        _mm256_movemask_epi8(_mm256_packs_epi16(even, odd)) as u32
    })
}

/// See [`super::select`].
pub(super) fn select(x: &[f32], y: &mut [f32], bits: &[u64], scale: f32) {
    if !std::arch::is_x86_feature_detected!("avx2") {
        return portable::select(x, y, bits, scale);
    }
    // SAFETY: the processor has AVX2.
    unsafe { select_inner(x, y, bits, scale) }
}

#[target_feature(enable = "avx2")]
fn select_inner(x: &[f32], y: &mut [f32], bits: &[u64], scale: f32) {
    let whole = x.len().min(y.len()) / 8 * 8;
    let places = _mm256_set_epi32(128, 64, 32, 16, 8, 4, 2, 1);
    let factor = _mm256_set1_ps(scale);
    for (i, (x, y)) in x[..whole].chunks_exact(8).zip(y[..whole].chunks_exact_mut(8)).enumerate() {
        let byte = (bits[i / 8] >> (8 * (i % 8))) as i32;
        let kept = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(byte), places), places);
        // SAFETY: both slices have eight elements.
        unsafe {
            let value = _mm256_mul_ps(_mm256_loadu_ps(x.as_ptr()), factor);
            _mm256_storeu_ps(y.as_mut_ptr(), _mm256_and_ps(value, _mm256_castsi256_ps(kept)));
        }
    }
    for (i, (x, y)) in x.iter().zip(y).enumerate().skip(whole) {
        *y = if bits[i / 64] >> (i % 64) & 1 == 1 { x * scale } else { 0.0 };
    }
}

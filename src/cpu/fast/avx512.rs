//! The fast path with AVX-512 F and BW.
//!
//! Each counter word lies in a 64-bit lane, so that a 32×32-bit product is one `vpmuludq`, its high half one shift, and its low half
//! needs no masking: the upper half of a lane is never looked at. Two blocks are interleaved to hide the multiplier's latency. At the end
//! `(w0 | w1 << 32)` and `(w2 | w3 << 32)` are unpacked so that the eight draws of a group lie side by side, and one comparison of 16-bit
//! lanes gives their bits.
//!
//! `unsafe` is confined to this file: calls into functions compiled for the instruction set, each behind a check that the processor has
//! it, and vector loads and stores within the slices given. It earns its place with four times the portable form's throughput.
#![allow(unsafe_code)]
// This file is compiled by Rust 1.89 and later alone: see build.rs.
#![allow(clippy::incompatible_msrv)]

use super::{RowKey, portable};
use crate::philox::{MULTIPLIERS, ROUNDS, WEYL};
use std::arch::x86_64::*;

/// See [`super::keep_bits`].
pub(super) fn keep_bits(key: &RowKey, group: u32, words: &mut [u64]) {
    if !std::arch::is_x86_feature_detected!("avx512bw") {
        return portable::keep_bits(key, group, words);
    }
    // SAFETY: the processor has AVX-512 F and BW; the second implies the first.
    unsafe { keep_bits_inner(key, group, words) }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn keep_bits_inner(key: &RowKey, group: u32, words: &mut [u64]) {
    let mut pairs = words.chunks_exact_mut(2);
    let mut base = group;
    for pair in &mut pairs {
        pair.copy_from_slice(&draw::<2>(key, base));
        base = base.wrapping_add(16);
    }
    for word in pairs.into_remainder() {
        [*word] = draw::<1>(key, base);
        base = base.wrapping_add(8);
    }
}

/// The bits of `N` times eight groups.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn draw<const N: usize>(key: &RowKey, group: u32) -> [u64; N] {
    let wide = |word: u32| _mm512_set1_epi64(i64::from(word));
    // Unpacking takes even lanes first, then odd ones.
    let lanes = _mm512_set_epi64(7, 3, 6, 2, 5, 1, 4, 0);
    let mut c0: [__m512i; N] = std::array::from_fn(|i| _mm512_add_epi64(wide(group.wrapping_add(8 * i as u32)), lanes));
    let mut c1 = [wide(key.row); N];
    let mut c2 = [wide(key.layer); N];
    let mut c3 = [wide(key.step); N];
    let [mut k0, mut k1] = key.key;
    for _ in 0..ROUNDS {
        for i in 0..N {
            let a = _mm512_mul_epu32(c0[i], wide(MULTIPLIERS[0]));
            let b = _mm512_mul_epu32(c2[i], wide(MULTIPLIERS[1]));
            c0[i] = _mm512_xor_si512(_mm512_xor_si512(_mm512_srli_epi64::<32>(b), c1[i]), wide(k0));
            c2[i] = _mm512_xor_si512(_mm512_xor_si512(_mm512_srli_epi64::<32>(a), c3[i]), wide(k1));
            c1[i] = b;
            c3[i] = a;
        }
        k0 = k0.wrapping_add(WEYL[0]);
        k1 = k1.wrapping_add(WEYL[1]);
    }
    let threshold = _mm512_set1_epi16(key.threshold as i16);
    std::array::from_fn(|i| {
        let first = _mm512_mask_blend_epi32(0xAAAA, c0[i], _mm512_slli_epi64::<32>(c1[i]));
        let second = _mm512_mask_blend_epi32(0xAAAA, c2[i], _mm512_slli_epi64::<32>(c3[i]));
        let low = _mm512_cmplt_epu16_mask(_mm512_unpacklo_epi64(first, second), threshold);
        let high = _mm512_cmplt_epu16_mask(_mm512_unpackhi_epi64(first, second), threshold);
        u64::from(low) | u64::from(high) << 32
    })
}

/// See [`super::select`].
pub(super) fn select(x: &[f32], y: &mut [f32], bits: &[u64], scale: f32) {
    if !std::arch::is_x86_feature_detected!("avx512bw") {
        return portable::select(x, y, bits, scale);
    }
    // SAFETY: the processor has AVX-512 F and BW.
    unsafe { select_inner(x, y, bits, scale) }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn select_inner(x: &[f32], y: &mut [f32], bits: &[u64], scale: f32) {
    let factor = _mm512_set1_ps(scale);
    let len = x.len().min(y.len());
    let (x, y) = (&x[..len], &mut y[..len]);
    for (i, (x, y)) in x.chunks(16).zip(y.chunks_mut(16)).enumerate() {
        let there = if x.len() == 16 { u16::MAX } else { (1 << x.len()) - 1 };
        let kept = (bits[i / 4] >> (16 * (i % 4))) as u16 & there;
        // SAFETY: the masks let through only elements of the slices, which are equally long.
        unsafe {
            let value = _mm512_maskz_mul_ps(kept, _mm512_maskz_loadu_ps(there, x.as_ptr()), factor);
            _mm512_mask_storeu_ps(y.as_mut_ptr(), there, value);
        }
    }
}

//! The fast path with AVX2.
//!
//! Each counter word occupies a 64-bit lane. A 32×32-bit product is then one `vpmuludq`, its high
//! half is one shift, and its low half needs no masking because the upper half of a lane is never
//! read. Two blocks are interleaved to hide the multiplier's latency. At the end, `(w0 | w1 << 32)`
//! and `(w2 | w3 << 32)` are unpacked so that the eight draws of a group are adjacent.
//!
//! `unsafe` is confined to this file: calls into functions compiled for the instruction set, each
//! behind a check that the processor has it, and vector stores within the given slices. In return,
//! throughput is twice that of the portable form.
#![allow(unsafe_code)]

use super::row::{Place, RowKey};
use super::{Isa, STRIP, portable};
use crate::philox::MULTIPLIERS;
use std::arch::x86_64::*;

/// See [`super::keep_bits`].
pub(super) fn keep_bits(key: &RowKey, group: u32, words: &mut [u64]) {
    if !Isa::Avx2.is_available() {
        return portable::keep_bits(key, group, words);
    }
    // SAFETY: the processor has AVX2.
    unsafe { keep_bits_inner(key, group, words) }
}

/// See [`super::keep_column`].
pub(super) fn keep_column(keys: &[RowKey<'_>], group: u32, words: &mut [u64]) {
    if !Isa::Avx2.is_available() {
        return keys
            .iter()
            .zip(words)
            .for_each(|(key, word)| portable::keep_bits(key, group, std::slice::from_mut(word)));
    }
    // SAFETY: the processor has AVX2.
    unsafe { keep_column_inner(keys, group, words) }
}

/// Draws row after row in one loop, so that the products of neighboring rows hide each other's
/// latency.
#[target_feature(enable = "avx2")]
fn keep_column_inner(keys: &[RowKey<'_>], group: u32, words: &mut [u64]) {
    for (key, word) in keys.iter().zip(words) {
        keep_bits_inner(key, group, std::slice::from_mut(word));
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn keep_bits_inner(key: &RowKey, group: u32, words: &mut [u64]) {
    // There is no unsigned comparison, but draw < t if and only if min(draw, t - 1) = draw.
    let most = _mm256_set1_epi16((key.threshold - 1) as i16);
    let kept = |draws: __m256i| _mm256_cmpeq_epi16(_mm256_min_epu16(draws, most), draws);
    for (i, word) in words.iter_mut().enumerate() {
        let half = |[first, second]: [__m256i; 2]| {
            // Packing takes the lower halves first.
            let bytes = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi16(
                kept(first),
                kept(second),
            ));
            u64::from(_mm256_movemask_epi8(bytes) as u32)
        };
        let [low, high] = draw(key, group.wrapping_add(8 * i as u32)).map(half);
        *word = low | high << 32;
    }
}

/// Returns the draws of eight groups, two groups per vector.
#[inline]
#[target_feature(enable = "avx2")]
fn draw(key: &RowKey, group: u32) -> [[__m256i; 2]; 2] {
    let wide = |word: u64| _mm256_set1_epi64x(word as i64);
    let xor = |a, b| _mm256_xor_si256(a, b);
    let high = |product| _mm256_srli_epi64::<32>(product);
    let [m0, m1] = MULTIPLIERS.map(u64::from).map(wide);
    // Unpacking takes the even lanes first, then the odd ones.
    let lanes = _mm256_set_epi64x(3, 1, 2, 0);
    let [mut c0, mut c1, mut c2, mut c3] = [[_mm256_setzero_si256(); 2]; 4];
    for i in 0..2 {
        let first = _mm256_mul_epu32(
            _mm256_add_epi64(wide(u64::from(group.wrapping_add(4 * i as u32))), lanes),
            m0,
        );
        let second = _mm256_mul_epu32(xor(high(first), wide(key.first[0])), m1);
        c3[i] = _mm256_mul_epu32(xor(high(second), wide(key.first[1])), m0);
        c1[i] = _mm256_mul_epu32(xor(first, wide(key.first[2])), m1);
        c0[i] = xor(xor(high(c1[i]), wide(key.keys[2][0])), second);
        c2[i] = xor(high(c3[i]), wide(key.first[3]));
    }
    for [k0, k1] in &key.keys[3..] {
        for i in 0..2 {
            let a = _mm256_mul_epu32(c0[i], m0);
            let b = _mm256_mul_epu32(c2[i], m1);
            c0[i] = xor(high(b), xor(c1[i], wide(*k0)));
            c2[i] = xor(high(a), xor(c3[i], wide(*k1)));
            c1[i] = b;
            c3[i] = a;
        }
    }
    [0, 1].map(|i| {
        let first = _mm256_blend_epi32::<0xAA>(c0[i], _mm256_slli_epi64::<32>(c1[i]));
        let second = _mm256_blend_epi32::<0xAA>(c2[i], _mm256_slli_epi64::<32>(c3[i]));
        [_mm256_unpacklo_epi64(first, second), _mm256_unpackhi_epi64(first, second)]
    })
}

/// See [`super::drop_part`].
pub(super) fn drop_part(
    key: &RowKey,
    place: Place,
    x: Option<&[f32]>,
    y: &mut [f32],
    scale: f32,
    stream: bool,
) {
    if !Isa::Avx2.is_available() {
        return portable::drop_part(key, place, x, y, scale);
    }
    match x {
        // SAFETY: the processor has AVX2.
        Some(x) if stream => unsafe { stream_inner(key, place, x, y, scale) },
        // SAFETY: the processor has AVX2.
        _ => unsafe { drop_inner(key, place, x, y, scale) },
    }
}

/// Does the same as [`drop_inner`] with stores past the caches, so that lines which are overwritten
/// completely are not read first.
///
/// A head of elements aligns `y` to a vector. Single elements at either end are stored through the
/// caches.
#[target_feature(enable = "avx2")]
fn stream_inner(key: &RowKey, place: Place, x: &[f32], y: &mut [f32], scale: f32) {
    const LANES: usize = 8;
    let head = ((y.as_ptr() as usize).wrapping_neg() % 32 / 4).min(y.len());
    let (y_head, y) = y.split_at_mut(head);
    let (x_head, x) = x.split_at(head);
    drop_inner(key, place, Some(x_head), y_head, scale);
    let Place { mut group, lane } = place;
    let lane = lane as usize + head;
    let mut draws = [[0; 64]; STRIP / 64 + 1];
    let scales = _mm256_set1_ps(scale);
    // There is no unsigned comparison, but draw < t if and only if min(draw, t - 1) = draw.
    let most = _mm_set1_epi16((key.threshold - 1) as i16);
    for (y, x) in y.chunks_mut(STRIP).zip(x.chunks(STRIP)) {
        let words = (lane + y.len()).div_ceil(64);
        for (i, draws) in draws[..words].iter_mut().enumerate() {
            store(key, group.wrapping_add((8 * i) as u32), draws);
        }
        group = group.wrapping_add((STRIP / 8) as u32);
        let draws = &draws.as_flattened()[lane..];
        let whole = y.len() / LANES * LANES;
        for at in (0..whole).step_by(LANES) {
            // SAFETY: eight elements from `at` on lie in `x`, `y` and the draws, and `y` is aligned
            // to a vector there: the head and the strips before it are.
            unsafe {
                let draws = _mm_loadu_si128(draws.as_ptr().add(at).cast());
                let kept = _mm_cmpeq_epi16(_mm_min_epu16(draws, most), draws);
                let kept = _mm256_castsi256_ps(_mm256_cvtepi16_epi32(kept));
                let scaled = _mm256_mul_ps(_mm256_loadu_ps(x.as_ptr().add(at)), scales);
                _mm256_stream_ps(y.as_mut_ptr().add(at), _mm256_and_ps(scaled, kept));
            }
        }
        for ((y, x), draw) in y[whole..].iter_mut().zip(&x[whole..]).zip(&draws[whole..]) {
            *y = if *draw < key.threshold { x * scale } else { 0.0 };
        }
    }
    _mm_sfence();
}

#[target_feature(enable = "avx2")]
fn drop_inner(key: &RowKey, place: Place, x: Option<&[f32]>, y: &mut [f32], scale: f32) {
    let draws = |group: u32, out: &mut [u16; 64]| store(key, group, out);
    portable::drop_with(draws, key.threshold, place, x, y, scale);
}

/// See [`super::map_part`].
pub(super) fn map_part(
    key: &RowKey,
    place: Place,
    x: &[f32],
    y: &mut [f32],
    one: impl Fn(f32, u16) -> f32,
) {
    if !Isa::Avx2.is_available() {
        return portable::map_with(
            |group, out| portable::draws(key, group, std::slice::from_mut(out)),
            place,
            Some(x),
            y,
            one,
        );
    }
    // SAFETY: the processor has AVX2.
    unsafe { map_inner(key, place, x, y, one) }
}

#[target_feature(enable = "avx2")]
fn map_inner(key: &RowKey, place: Place, x: &[f32], y: &mut [f32], one: impl Fn(f32, u16) -> f32) {
    portable::map_with(
        |group: u32, out: &mut [u16; 64]| store(key, group, out),
        place,
        Some(x),
        y,
        one,
    );
}

/// See [`super::draws`].
pub(super) fn draws(key: &RowKey, group: u32, out: &mut [[u16; 64]]) {
    if !Isa::Avx2.is_available() {
        return portable::draws(key, group, out);
    }
    for (i, out) in out.iter_mut().enumerate() {
        // SAFETY: the processor has AVX2.
        unsafe { store(key, group.wrapping_add(8 * i as u32), out) };
    }
}

/// Writes the 64 draws of eight groups.
#[inline]
#[target_feature(enable = "avx2")]
fn store(key: &RowKey, group: u32, out: &mut [u16; 64]) {
    let vectors = draw(key, group);
    // SAFETY: the four vectors are exactly the 64 draws.
    (0..4).for_each(|i| unsafe {
        _mm256_storeu_si256(out.as_mut_ptr().add(16 * i).cast(), vectors[i / 2][i % 2])
    });
}

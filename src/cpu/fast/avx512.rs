//! The fast path with AVX-512 F and BW.
//!
//! Each counter word occupies a 64-bit lane. A 32×32-bit product is then one `vpmuludq`, its high
//! half is one shuffle, and its low half needs no masking because the upper half of a lane is never
//! read. The two exclusive ors of a round are one `vpternlogq`. At the end, `(w0 | w1 << 32)` and
//! `(w2 | w3 << 32)` are unpacked so that the eight draws of a group are adjacent. One comparison
//! of 16-bit lanes yields their mask bits, which gate the multiplication directly.
//!
//! This takes about 70 instructions on the two vector ports for 64 elements, so drawing and loading
//! overlap only if both are in one loop.
//!
//! `unsafe` is confined to this file: calls into functions compiled for the instruction set, each
//! behind a check that the processor has it, and vector loads and stores within the given slices.
//! In return, throughput is four times that of the portable form.
#![allow(unsafe_code)]
// Only Rust 1.89 and later compiles this file: see build.rs.
#![allow(clippy::incompatible_msrv)]

use super::row::{Affine, Place, RowKey, Site};
use super::{Isa, avx2, portable};
use crate::mask::DRAWS;
use crate::philox::MULTIPLIERS;
use std::arch::x86_64::*;

/// Longest row, in elements, that counts as short. Aligning the stores of such a row to whole cache
/// lines would cost more draws than it saves.
const SHORT: usize = 512;

/// Prefetch distance for inputs, in elements. A memory access takes about as long as drawing this
/// many.
const AHEAD: usize = 512;

/// See [`super::keep_bits`].
pub(super) fn keep_bits(key: &RowKey, group: u32, words: &mut [u64]) {
    if !Isa::Avx512.is_available() {
        return portable::keep_bits(key, group, words);
    }
    // SAFETY: the processor has AVX-512 F and BW.
    unsafe { keep_bits_inner(key, group, words) }
}

/// See [`super::keep_column`].
pub(super) fn keep_column(keys: &[RowKey<'_>], group: u32, words: &mut [u64]) {
    if !Isa::Avx512.is_available() {
        return avx2::keep_column(keys, group, words);
    }
    // SAFETY: the processor has AVX-512 F and BW.
    unsafe { keep_column_inner(keys, group, words) }
}

/// Draws row after row in one loop, so that the products of neighboring rows hide each other's
/// latency.
#[target_feature(enable = "avx512f,avx512bw")]
fn keep_column_inner(keys: &[RowKey<'_>], group: u32, words: &mut [u64]) {
    for (key, word) in keys.iter().zip(words) {
        [*word] = draw::<1>(key, group);
    }
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

/// Draws `N` words of mask bits, each from eight groups.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn draw<const N: usize>(key: &RowKey, group: u32) -> [u64; N] {
    let wide = |word: u64| _mm512_set1_epi64(word as i64);
    let xor3 = |a, b, c| _mm512_ternarylogic_epi64::<0x96>(a, b, c);
    // A shuffle rather than a shift: products and shifts share one of the two vector ports.
    let high = |product| _mm512_shuffle_epi32::<0b11_11_01_01>(product);
    let [m0, m1] = MULTIPLIERS.map(u64::from).map(wide);
    // Unpacking takes the even lanes first, then the odd ones.
    let lanes = _mm512_set_epi64(7, 3, 6, 2, 5, 1, 4, 0);
    let [mut c0, mut c1, mut c2, mut c3] = [[_mm512_setzero_si512(); N]; 4];
    for i in 0..N {
        let first = _mm512_mul_epu32(
            _mm512_add_epi64(wide(u64::from(group.wrapping_add(8 * i as u32))), lanes),
            m0,
        );
        let second = _mm512_mul_epu32(_mm512_xor_si512(high(first), wide(key.first[0])), m1);
        c3[i] = _mm512_mul_epu32(_mm512_xor_si512(high(second), wide(key.first[1])), m0);
        c1[i] = _mm512_mul_epu32(_mm512_xor_si512(first, wide(key.first[2])), m1);
        c0[i] = xor3(high(c1[i]), second, wide(key.keys[2][0]));
        c2[i] = _mm512_xor_si512(high(c3[i]), wide(key.first[3]));
    }
    for [k0, k1] in &key.keys[3..] {
        for i in 0..N {
            let a = _mm512_mul_epu32(c0[i], m0);
            let b = _mm512_mul_epu32(c2[i], m1);
            c0[i] = xor3(high(b), c1[i], wide(*k0));
            c2[i] = xor3(high(a), c3[i], wide(*k1));
            c1[i] = b;
            c3[i] = a;
        }
    }
    let threshold = _mm512_set1_epi16(key.threshold as i16);
    std::array::from_fn(|i| {
        let first = _mm512_mask_shuffle_epi32::<0xA0>(c0[i], 0xAAAA, c1[i]);
        let second = _mm512_mask_shuffle_epi32::<0xA0>(c2[i], 0xAAAA, c3[i]);
        let low = _mm512_cmplt_epu16_mask(_mm512_unpacklo_epi64(first, second), threshold);
        let high = _mm512_cmplt_epu16_mask(_mm512_unpackhi_epi64(first, second), threshold);
        u64::from(low) | u64::from(high) << 32
    })
}

/// Consecutive whole rows, processed as one stream of elements and draws so that neither stalls at
/// the end of a row.
///
/// Each row is a whole number of pairs of words (128 columns), and the mask is neither all ones nor
/// all zeros.
#[derive(Clone, Copy)]
pub(super) struct Run<'a> {
    site: &'a Site<'a>,
    /// First row.
    row: usize,
    cols: usize,
}

impl<'a> Run<'a> {
    /// Returns the rows from `row` on that make up `len` elements, if there are more than one and
    /// they meet the conditions above.
    pub fn of(isa: Isa, site: &'a Site<'a>, row: usize, cols: usize, len: usize) -> Option<Self> {
        let mask = &site.dropout.mask;
        let draws = !matches!(mask.rate.threshold(), 0 | DRAWS);
        let whole = len > cols && cols.is_multiple_of(128) && Place::new(mask, 0).lane == 0;
        (draws && whole && isa == Isa::Avx512 && isa.is_available()).then_some(Self {
            site,
            row,
            cols,
        })
    }

    /// Returns the draws from the start of the first row.
    fn words(&self) -> Words<'a> {
        let group = Place::new(&self.site.dropout.mask, 0).group;
        Words {
            key: self.site.row(self.row),
            group,
            left: self.cols,
            after: Some(Self { row: self.row + 1, ..*self }),
        }
    }
}

/// Stream of mask bits from some group on, one word of 64 at a time, of one row or of consecutive
/// whole rows.
struct Words<'a> {
    key: RowKey<'a>,
    group: u32,
    /// Elements left in the row.
    left: usize,
    /// Rows that follow it.
    after: Option<Run<'a>>,
}

impl<'a> Words<'a> {
    /// Returns the draws of one row from `group` on.
    fn of_row(key: RowKey<'a>, group: u32) -> Self {
        // A single row never ends, however long it is.
        Self { key, group, left: usize::MAX, after: None }
    }

    /// Draws the next word.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn one(&mut self) -> u64 {
        let [word] = draw::<1>(&self.key, self.group);
        self.group = self.group.wrapping_add(8);
        word
    }

    /// Draws two words. The rows of a run are whole pairs of words, so both belong to the same row.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn two(&mut self) -> [u64; 2] {
        let words = draw::<2>(&self.key, self.group);
        self.group = self.group.wrapping_add(16);
        self.left = self.left.wrapping_sub(128);
        if self.left == 0
            && let Some(run) = self.after
        {
            *self = run.words();
        }
        words
    }
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
    if !Isa::Avx512.is_available() {
        return portable::drop_part(key, place, x, y, scale);
    }
    let len = x.map_or(y.len(), |x| x.len().min(y.len()));
    let to = y.as_mut_ptr();
    let from = x.map_or(to.cast_const(), <[f32]>::as_ptr);
    // SAFETY: the processor has AVX-512 F and BW. `to` is valid for writing and `from` for reading
    // `len` elements; in place, they are the same pointer.
    unsafe { of_row::<false>(key, place, from, to, len, &Affine::scaled(scale), stream) }
}

/// Applies dropout to a run.
pub(super) fn drop_run(run: &Run<'_>, x: &[f32], y: &mut [f32], scale: f32, stream: bool) {
    whole_rows::<false>(run, x, y, &Affine::scaled(scale), stream);
}

/// Applies alpha dropout to a run.
pub(super) fn alpha_run(run: &Run<'_>, x: &[f32], y: &mut [f32], affine: &Affine, stream: bool) {
    whole_rows::<true>(run, x, y, affine, stream);
}

/// Applies dropout, or with `ALPHA` alpha dropout, to a run.
fn whole_rows<const ALPHA: bool>(
    run: &Run<'_>,
    x: &[f32],
    y: &mut [f32],
    affine: &Affine,
    stream: bool,
) {
    let len = x.len().min(y.len());
    // SAFETY: [`Run::of`] has checked that the processor has AVX-512 F and BW, and both slices have
    // `len` elements.
    unsafe { inner::<ALPHA>(run.words(), 0, x.as_ptr(), y.as_mut_ptr(), len, affine, stream) }
}

/// See [`super::alpha_part`].
pub(super) fn alpha_part(
    key: &RowKey,
    place: Place,
    x: &[f32],
    y: &mut [f32],
    affine: &Affine,
    stream: bool,
) {
    if !Isa::Avx512.is_available() {
        return super::alpha_part(Isa::Portable, key, place, x, y, affine, stream);
    }
    // SAFETY: the processor has AVX-512 F and BW, and both slices have at least the given length.
    unsafe {
        of_row::<true>(key, place, x.as_ptr(), y.as_mut_ptr(), x.len().min(y.len()), affine, stream)
    }
}

/// See [`super::map_part`].
pub(super) fn map_part(
    key: &RowKey,
    place: Place,
    x: &[f32],
    y: &mut [f32],
    one: impl Fn(f32, u16) -> f32,
) {
    if !Isa::Avx512.is_available() {
        return avx2::map_part(key, place, x, y, one);
    }
    // SAFETY: the processor has AVX-512 F and BW.
    unsafe { map_inner(key, place, x, y, one) }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn map_inner(key: &RowKey, place: Place, x: &[f32], y: &mut [f32], one: impl Fn(f32, u16) -> f32) {
    let draw = |group: u32, out: &mut [u16; 64]| avx2::draws(key, group, std::slice::from_mut(out));
    portable::map_with(draw, place, Some(x), y, one);
}

/// Applies dropout, or with `ALPHA` alpha dropout, to a part of one row.
///
/// # Safety
/// The processor must have AVX-512 F and BW. `x` must be valid for reading `len` elements and `y`
/// for writing them; they may be equal.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn of_row<const ALPHA: bool>(
    key: &RowKey,
    Place { mut group, lane }: Place,
    x: *const f32,
    y: *mut f32,
    len: usize,
    affine: &Affine,
    stream: bool,
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        if lane != 0 || len > SHORT {
            return inner::<ALPHA>(Words::of_row(*key, group), lane, x, y, len, affine, stream);
        }
        // Words of draws and words of elements are aligned here, as they are in the rows of a
        // product's blocks.
        for at in (0..len).step_by(128) {
            let (x, y, len) = (x.add(at), y.add(at), len - at);
            if len > 64 {
                let [first, second] = draw::<2>(key, group);
                parts::<ALPHA>(first, x, y, 64, affine);
                parts::<ALPHA>(second, x.add(64), y.add(64), len - 64, affine);
            } else {
                let [bits] = draw::<1>(key, group);
                parts::<ALPHA>(bits, x, y, len, affine);
            }
            group = group.wrapping_add(16);
        }
    }
}

/// Processes `count` ≤ 16 elements, masked by the lowest bits of `bits`.
///
/// # Safety
/// As for [`of_row`], with `count` elements.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn part<const ALPHA: bool>(
    bits: u64,
    x: *const f32,
    y: *mut f32,
    count: usize,
    affine: &Affine,
) {
    let there = ((1u32 << count) - 1) as u16;
    // SAFETY: the mask excludes all lanes but the first `count`.
    unsafe {
        _mm512_mask_storeu_ps(
            y,
            there,
            value::<ALPHA>(bits as u16, _mm512_maskz_loadu_ps(there, x), affine),
        )
    }
}

/// Processes the first `len` elements, at most 64, masked by one word.
///
/// # Safety
/// As for [`of_row`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn parts<const ALPHA: bool>(
    bits: u64,
    x: *const f32,
    y: *mut f32,
    len: usize,
    affine: &Affine,
) {
    for i in (0..len.min(64)).step_by(16) {
        // SAFETY: `len - i` elements remain from `i` on.
        unsafe { part::<ALPHA>(bits >> i, x.add(i), y.add(i), (len - i).min(16), affine) }
    }
}

/// Applies dropout, or with `ALPHA` alpha dropout. The draw of the first element is bit `lane` of
/// the first word.
///
/// # Safety
/// As for [`of_row`].
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn inner<const ALPHA: bool>(
    words: Words<'_>,
    lane: u32,
    x: *const f32,
    y: *mut f32,
    len: usize,
    affine: &Affine,
    stream: bool,
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        if stream {
            drop_inner::<true, ALPHA>(words, lane, x, y, len, affine);
        } else {
            drop_inner::<false, ALPHA>(words, lane, x, y, len, affine);
        }
    }
}

/// Computes the results of sixteen elements.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn value<const ALPHA: bool>(kept: u16, x: __m512, affine: &Affine) -> __m512 {
    let scale = _mm512_set1_ps(affine.scale);
    if ALPHA {
        let (shift, dropped) = (_mm512_set1_ps(affine.shift), _mm512_set1_ps(affine.dropped));
        // Two roundings, as on every instruction set: not a fused multiply-add.
        _mm512_mask_add_ps(dropped, kept, _mm512_mul_ps(x, scale), shift)
    } else {
        _mm512_maskz_mul_ps(kept, x, scale)
    }
}

/// Applies dropout, or with `ALPHA` alpha dropout. With `STREAM`, stores bypass the caches, so that
/// lines which are overwritten completely are not read first.
///
/// Element i is kept if bit `lane + i` of the words is set. A head of elements aligns `y` to a
/// cache line. From then on, each word of the mask is joined from two neighbors, and the second is
/// drawn while the first is used.
///
/// # Safety
/// As for [`of_row`].
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn drop_inner<const STREAM: bool, const ALPHA: bool>(
    mut words: Words<'_>,
    lane: u32,
    mut x: *const f32,
    mut y: *mut f32,
    mut len: usize,
    affine: &Affine,
) {
    let join = |low: u64, high: u64, shift: u32| {
        ((u128::from(high) << 64 | u128::from(low)) >> shift) as u64
    };
    let [mut first, mut second] = words.two();
    let head = ((y as usize).wrapping_neg() % 64 / 4).min(len);
    // SAFETY: guaranteed by the caller.
    unsafe { part::<ALPHA>(first >> lane, x, y, head, affine) };
    let shift = lane + head as u32;
    // SAFETY: `head` is at most `len`, and each step below advances by the number of elements that
    // it takes from `len`.
    unsafe {
        (x, y, len) = (x.add(head), y.add(head), len - head);
        while len >= 128 {
            let next = words.two();
            let bits = [join(first, second, shift), join(second, next[0], shift)];
            [first, second] = next;
            if STREAM {
                (0..8).for_each(|i| {
                    _mm_prefetch::<_MM_HINT_T0>(x.wrapping_add(AHEAD + 16 * i).cast())
                });
            }
            for i in 0..8 {
                let kept = (bits[i / 4] >> (16 * (i % 4))) as u16;
                let value = value::<ALPHA>(kept, _mm512_loadu_ps(x.add(16 * i)), affine);
                if STREAM {
                    _mm512_stream_ps(y.add(16 * i), value)
                } else {
                    _mm512_storeu_ps(y.add(16 * i), value)
                }
            }
            (x, y, len) = (x.add(128), y.add(128), len - 128);
        }
        while len > 0 {
            let bits = join(first, second, shift);
            let count = len.min(64);
            parts::<ALPHA>(bits, x, y, count, affine);
            (x, y, len) = (x.add(count), y.add(count), len - count);
            if len > 0 {
                (first, second) = (second, words.one());
            }
        }
    }
    if STREAM {
        _mm_sfence();
    }
}

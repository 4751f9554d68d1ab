//! The fast path in plain Rust: loops over eight groups at a time that the compiler vectorizes for
//! its target.

use super::STRIP;
use super::row::{Place, RowKey};
use crate::philox::MULTIPLIERS;

/// Number of groups in a word of 64 bits.
const LANES: usize = 8;
/// Number of groups that advance side by side. Their counters fit 16 registers of 128 bits and
/// still form two chains of vectors, which hide each other's latency.
const SIDE_BY_SIDE: usize = 4;

/// Writes the 64 draws of eight groups.
#[inline(always)]
fn draw(key: &RowKey, group: u32, out: &mut [u16; 64]) {
    for (part, out) in out.chunks_exact_mut(8 * SIDE_BY_SIDE).enumerate() {
        draw_side_by_side(key, group.wrapping_add((part * SIDE_BY_SIDE) as u32), out);
    }
}

/// Writes the draws of [`SIDE_BY_SIDE`] groups. Each counter word is in the lower half of a 64-bit
/// lane, the form in which vector units multiply 32 by 32 bits.
#[inline(always)]
fn draw_side_by_side(key: &RowKey, group: u32, out: &mut [u16]) {
    let low = 0xffff_ffff;
    let [m0, m1] = MULTIPLIERS.map(u64::from);
    let [mut c0, mut c1, mut c2, mut c3] = [[0u64; SIDE_BY_SIDE]; 4];
    for lane in 0..SIDE_BY_SIDE {
        let first = m0 * u64::from(group.wrapping_add(lane as u32));
        let second = m1 * ((first >> 32 ^ key.first[0]) & low);
        c3[lane] = m0 * ((second >> 32 ^ key.first[1]) & low);
        c1[lane] = m1 * ((first ^ key.first[2]) & low);
        c0[lane] = c1[lane] >> 32 ^ second ^ key.keys[2][0];
        c2[lane] = c3[lane] >> 32 ^ key.first[3];
    }
    for [k0, k1] in &key.keys[3..] {
        for lane in 0..SIDE_BY_SIDE {
            let a = m0 * (c0[lane] & low);
            let b = m1 * (c2[lane] & low);
            c0[lane] = b >> 32 ^ c1[lane] ^ k0;
            c2[lane] = a >> 32 ^ c3[lane] ^ k1;
            c1[lane] = b;
            c3[lane] = a;
        }
    }
    for (lane, out) in out.chunks_exact_mut(8).enumerate() {
        for (pair, [first, second]) in
            out.chunks_exact_mut(4).zip([[c0[lane], c1[lane]], [c2[lane], c3[lane]]])
        {
            let draws = first & low | second << 32;
            (0..4).for_each(|j| pair[j] = (draws >> (16 * j)) as u16);
        }
    }
}

/// See [`super::keep_bits`].
pub(super) fn keep_bits(key: &RowKey, group: u32, words: &mut [u64]) {
    for (i, word) in words.iter_mut().enumerate() {
        let mut draws = [0; 64];
        draw(key, group.wrapping_add((i * LANES) as u32), &mut draws);
        *word = draws
            .iter()
            .enumerate()
            .fold(0, |word, (j, &draw)| word | u64::from(draw < key.threshold) << j);
    }
}

/// See [`super::draws`].
pub(super) fn draws(key: &RowKey, group: u32, out: &mut [[u16; 64]]) {
    for (i, out) in out.iter_mut().enumerate() {
        draw(key, group.wrapping_add((i * LANES) as u32), out);
    }
}

/// See [`super::drop_part`].
pub(super) fn drop_part(key: &RowKey, place: Place, x: Option<&[f32]>, y: &mut [f32], scale: f32) {
    drop_with(|group, out| draw(key, group, out), key.threshold, place, x, y, scale);
}

/// Computes [`super::drop_part`] with draws held on the stack. Inlined into callers that are
/// compiled for other instruction sets.
#[inline(always)]
pub(super) fn drop_with(
    draw: impl FnMut(u32, &mut [u16; 64]),
    threshold: u16,
    place: Place,
    x: Option<&[f32]>,
    y: &mut [f32],
    scale: f32,
) {
    // All bits set if the draw is below the threshold. Selection by a bit mask vectorizes on every
    // target; a condition would become a branch that no processor can predict.
    let kept = |draw: u16| ((i32::from(draw) - i32::from(threshold)) >> 31) as u32;
    map_with(draw, place, x, y, |x, draw| f32::from_bits((x * scale).to_bits() & kept(draw)));
}

/// Computes [`super::map_part`] with draws held on the stack, in place if `x` is `None`. Inlined
/// like [`drop_with`].
#[inline(always)]
pub(super) fn map_with(
    mut draw: impl FnMut(u32, &mut [u16; 64]),
    place: Place,
    x: Option<&[f32]>,
    y: &mut [f32],
    one: impl Fn(f32, u16) -> f32,
) {
    let mut draws = [[0; 64]; STRIP / 64 + 1];
    let Place { mut group, lane } = place;
    for (strip, y) in y.chunks_mut(STRIP).enumerate() {
        let words = (lane as usize + y.len()).div_ceil(64);
        for (i, draws) in draws[..words].iter_mut().enumerate() {
            draw(group.wrapping_add((LANES * i) as u32), draws);
        }
        group = group.wrapping_add((STRIP / 8) as u32);
        let draws = &draws.as_flattened()[lane as usize..];
        match x {
            Some(x) => y
                .iter_mut()
                .zip(&x[strip * STRIP..])
                .zip(draws)
                .for_each(|((y, &x), &draw)| *y = one(x, draw)),
            None => y.iter_mut().zip(draws).for_each(|(y, &draw)| *y = one(*y, draw)),
        }
    }
}

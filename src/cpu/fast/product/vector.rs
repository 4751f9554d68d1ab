//! A vector of floats in each instruction set: the few operations that a product needs.
//!
//! `unsafe` here is what intrinsics ask for: that the processor has them, and that pointers reach what they load and store. Both are the
//! caller's part, in `kernel.rs`.
#![allow(unsafe_code)]

#[cfg(target_arch = "aarch64")]
use std::arch::aarch64::*;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// [`LANES`](Self::LANES) floats.
///
/// # Safety
/// Of every method: the processor has the instruction set, and a pointer is good for the floats that the method names.
pub(super) trait Vector: Copy {
    /// Floats of a vector.
    const LANES: usize;

    /// `value` in every lane.
    unsafe fn splat(value: f32) -> Self;

    /// All lanes from `from` on.
    unsafe fn load(from: *const f32) -> Self;

    /// The first `count` lanes, 0 in the others.
    unsafe fn load_part(from: *const f32, count: usize) -> Self;

    /// All lanes to `to` on.
    unsafe fn store(self, to: *mut f32);

    /// The first `count` lanes.
    unsafe fn store_part(self, to: *mut f32, count: usize);

    /// `self·factor + sum`, rounded once where the set has such an instruction.
    unsafe fn multiply_add(self, factor: Self, sum: Self) -> Self;

    /// Asks for the cache line of an address that will be read soon; it need not be valid.
    #[inline(always)]
    unsafe fn prefetch(_from: *const f32) {}

    /// `to[k·step + l] = from[l·stride + k]` for `rows` rows l and `cols` columns k, both at most [`LANES`](Self::LANES).
    #[inline(always)]
    unsafe fn transpose(from: *const f32, stride: usize, [rows, cols]: [usize; 2], to: *mut f32, step: usize) {
        for l in 0..rows {
            for k in 0..cols {
                unsafe { *to.add(k * step + l) = *from.add(l * stride + k) };
            }
        }
    }
}

/// Plain Rust, left to the compiler.
#[derive(Clone, Copy)]
pub(super) struct Plain([f32; 4]);

impl Vector for Plain {
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; 4])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Self(unsafe { from.cast::<[f32; 4]>().read() })
    }

    #[inline(always)]
    unsafe fn load_part(from: *const f32, count: usize) -> Self {
        match count {
            4.. => unsafe { Self::load(from) },
            _ => Self(std::array::from_fn(|lane| if lane < count { unsafe { *from.add(lane) } } else { 0.0 })),
        }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { to.cast::<[f32; 4]>().write(self.0) }
    }

    #[inline(always)]
    unsafe fn store_part(self, to: *mut f32, count: usize) {
        match count {
            4.. => unsafe { self.store(to) },
            _ => self.0.iter().take(count).enumerate().for_each(|(lane, &value)| unsafe { *to.add(lane) = value }),
        }
    }

    #[inline(always)]
    unsafe fn multiply_add(self, factor: Self, sum: Self) -> Self {
        // Two roundings: without an instruction for it, one rounding is a call of a library.
        Self(std::array::from_fn(|lane| self.0[lane] * factor.0[lane] + sum.0[lane]))
    }
}

#[cfg(target_arch = "aarch64")]
impl Vector for float32x4_t {
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        unsafe { vdupq_n_f32(value) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { vld1q_f32(from) }
    }

    #[inline(always)]
    unsafe fn load_part(from: *const f32, count: usize) -> Self {
        let Plain(lanes) = unsafe { Plain::load_part(from, count) };
        unsafe { vld1q_f32(lanes.as_ptr()) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { vst1q_f32(to, self) }
    }

    #[inline(always)]
    unsafe fn store_part(self, to: *mut f32, count: usize) {
        let mut lanes = [0.0; 4];
        unsafe {
            vst1q_f32(lanes.as_mut_ptr(), self);
            Plain(lanes).store_part(to, count);
        }
    }

    #[inline(always)]
    unsafe fn multiply_add(self, factor: Self, sum: Self) -> Self {
        unsafe { vfmaq_f32(sum, self, factor) }
    }
}

#[cfg(target_arch = "x86_64")]
impl Vector for __m256 {
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn load_part(from: *const f32, count: usize) -> Self {
        unsafe { _mm256_maskload_ps(from, first_lanes(count)) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { _mm256_storeu_ps(to, self) }
    }

    #[inline(always)]
    unsafe fn store_part(self, to: *mut f32, count: usize) {
        unsafe { _mm256_maskstore_ps(to, first_lanes(count), self) }
    }

    #[inline(always)]
    unsafe fn multiply_add(self, factor: Self, sum: Self) -> Self {
        unsafe { _mm256_fmadd_ps(self, factor, sum) }
    }

    #[inline(always)]
    unsafe fn prefetch(from: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
    }

    #[inline(always)]
    unsafe fn transpose(from: *const f32, stride: usize, [rows, cols]: [usize; 2], to: *mut f32, step: usize) {
        unsafe {
            let row = |l: usize| if l < rows { Self::load_part(from.add(l * stride), cols) } else { Self::splat(0.0) };
            let r: [Self; 8] = std::array::from_fn(row);
            // Pairs, then quarters, then halves change places.
            let pairs = |i: usize| [_mm256_unpacklo_ps(r[i], r[i + 1]), _mm256_unpackhi_ps(r[i], r[i + 1])];
            let quarters = |[a, b]: [Self; 2], [c, d]: [Self; 2]| {
                let low = |a, c| _mm256_shuffle_ps::<0b01_00_01_00>(a, c);
                let high = |a, c| _mm256_shuffle_ps::<0b11_10_11_10>(a, c);
                [low(a, c), high(a, c), low(b, d), high(b, d)]
            };
            let (upper, lower) = (quarters(pairs(0), pairs(2)), quarters(pairs(4), pairs(6)));
            for k in 0..cols {
                let column = match k {
                    0..4 => _mm256_permute2f128_ps::<0x20>(upper[k], lower[k]),
                    _ => _mm256_permute2f128_ps::<0x31>(upper[k - 4], lower[k - 4]),
                };
                column.store_part(to.add(k * step), rows);
            }
        }
    }
}

/// All bits in the first `count` lanes.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn first_lanes(count: usize) -> __m256i {
    unsafe { _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)) }
}

#[cfg(all(target_arch = "x86_64", has_avx512))]
// Compiled by Rust 1.89 and later alone: see build.rs.
#[allow(clippy::incompatible_msrv)]
impl Vector for __m512 {
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn load_part(from: *const f32, count: usize) -> Self {
        unsafe { _mm512_maskz_loadu_ps(((1u32 << count) - 1) as u16, from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { _mm512_storeu_ps(to, self) }
    }

    #[inline(always)]
    unsafe fn store_part(self, to: *mut f32, count: usize) {
        unsafe { _mm512_mask_storeu_ps(to, ((1u32 << count) - 1) as u16, self) }
    }

    #[inline(always)]
    unsafe fn multiply_add(self, factor: Self, sum: Self) -> Self {
        unsafe { _mm512_fmadd_ps(self, factor, sum) }
    }

    #[inline(always)]
    unsafe fn prefetch(from: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
    }

    #[inline(always)]
    unsafe fn transpose(from: *const f32, stride: usize, [rows, cols]: [usize; 2], to: *mut f32, step: usize) {
        unsafe {
            let row = |l: usize| if l < rows { Self::load_part(from.add(l * stride), cols) } else { Self::splat(0.0) };
            let r: [Self; 16] = std::array::from_fn(row);
            let pd = |v| _mm512_castps_pd(v);
            let ps = |v| _mm512_castpd_ps(v);
            // Within each quarter of a vector: quads[i][j] holds columns j, 4 + j, 8 + j, 12 + j of rows 4i to 4i + 3.
            let quads: [[Self; 4]; 4] = std::array::from_fn(|i| {
                let low = [0, 2].map(|l| pd(_mm512_unpacklo_ps(r[4 * i + l], r[4 * i + l + 1])));
                let high = [0, 2].map(|l| pd(_mm512_unpackhi_ps(r[4 * i + l], r[4 * i + l + 1])));
                [
                    ps(_mm512_unpacklo_pd(low[0], low[1])),
                    ps(_mm512_unpackhi_pd(low[0], low[1])),
                    ps(_mm512_unpacklo_pd(high[0], high[1])),
                    ps(_mm512_unpackhi_pd(high[0], high[1])),
                ]
            });
            // Then among the quarters.
            let even = |a, b| _mm512_shuffle_f32x4::<0b10_00_10_00>(a, b);
            let odd = |a, b| _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b);
            let mut columns = [Self::splat(0.0); 16];
            for j in 0..4 {
                let evens = [even(quads[0][j], quads[1][j]), even(quads[2][j], quads[3][j])];
                let odds = [odd(quads[0][j], quads[1][j]), odd(quads[2][j], quads[3][j])];
                columns[j] = even(evens[0], evens[1]);
                columns[j + 4] = even(odds[0], odds[1]);
                columns[j + 8] = odd(evens[0], evens[1]);
                columns[j + 12] = odd(odds[0], odds[1]);
            }
            columns.iter().take(cols).enumerate().for_each(|(k, column)| column.store_part(to.add(k * step), rows));
        }
    }
}

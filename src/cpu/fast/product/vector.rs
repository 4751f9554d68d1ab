//! Vector of floats in each instruction set, with the few operations that a product needs.
//!
//! No closure holds an intrinsic. Code inlined into a function compiled for an instruction set is
//! compiled for that set as well, but a closure is not: each intrinsic in it would become a call.
//!
//! `unsafe` covers the requirements of intrinsics: the processor has them, and pointers are valid
//! for what they load and store. The caller in `kernel.rs` guarantees both.
#![allow(unsafe_code)]

#[cfg(target_arch = "aarch64")]
use std::arch::aarch64::*;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// A vector of [`LANES`](Self::LANES) floats.
///
/// # Safety
/// Every method requires that the processor has the instruction set, and that a pointer is valid
/// for the floats that the method names.
pub(in crate::cpu::fast) trait Vector: Copy {
    /// Number of floats in a vector.
    const LANES: usize;

    /// Returns `value` in every lane.
    unsafe fn splat(value: f32) -> Self;

    /// Loads all lanes.
    unsafe fn load(from: *const f32) -> Self;

    /// Loads the first `count` lanes and sets the others to 0.
    unsafe fn load_part(from: *const f32, count: usize) -> Self;

    /// Stores all lanes.
    unsafe fn store(self, to: *mut f32);

    /// Stores the first `count` lanes.
    unsafe fn store_part(self, to: *mut f32, count: usize);

    /// Returns `self·factor + sum`, rounded once if the set has an instruction for that.
    unsafe fn multiply_add(self, factor: Self, sum: Self) -> Self;

    /// Prefetches the cache line of an address that will be read soon; the address may be invalid.
    #[inline(always)]
    unsafe fn prefetch(_from: *const f32) {}

    /// `to[k·step + l] = from[l·stride + k]` for `rows` rows l and `cols` columns k, each at most
    /// [`LANES`](Self::LANES).
    #[inline(always)]
    unsafe fn transpose(
        from: *const f32,
        stride: usize,
        [rows, cols]: [usize; 2],
        to: *mut f32,
        step: usize,
    ) {
        for l in 0..rows {
            for k in 0..cols {
                unsafe { *to.add(k * step + l) = *from.add(l * stride + k) };
            }
        }
    }
}

/// Plain Rust, vectorized by the compiler.
#[derive(Clone, Copy)]
pub(in crate::cpu::fast) struct Plain([f32; 4]);

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
            _ => Self(std::array::from_fn(|lane| {
                if lane < count { unsafe { *from.add(lane) } } else { 0.0 }
            })),
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
            _ => self
                .0
                .iter()
                .take(count)
                .enumerate()
                .for_each(|(lane, &value)| unsafe { *to.add(lane) = value }),
        }
    }

    #[inline(always)]
    unsafe fn multiply_add(self, factor: Self, sum: Self) -> Self {
        // Two roundings: without an instruction for it, a single rounding requires a library call.
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
        // A masked store takes many times as long on AMD's processors, whatever its mask.
        match count {
            8.. => unsafe { self.store(to) },
            _ => unsafe { _mm256_maskstore_ps(to, first_lanes(count), self) },
        }
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
    unsafe fn transpose(
        from: *const f32,
        stride: usize,
        [rows, cols]: [usize; 2],
        to: *mut f32,
        step: usize,
    ) {
        unsafe {
            let mut r = [Self::splat(0.0); 8];
            for (l, row) in r.iter_mut().enumerate().take(rows) {
                *row = Self::load_part(from.add(l * stride), cols);
            }
            // Interleaves pairs of rows, then quads; the halves of vectors follow below.
            let mut quads = [[r[0]; 4]; 2];
            for (i, quad) in quads.iter_mut().enumerate() {
                let [low, high] = [
                    _mm256_unpacklo_ps(r[4 * i], r[4 * i + 1]),
                    _mm256_unpackhi_ps(r[4 * i], r[4 * i + 1]),
                ];
                let [next_low, next_high] = [
                    _mm256_unpacklo_ps(r[4 * i + 2], r[4 * i + 3]),
                    _mm256_unpackhi_ps(r[4 * i + 2], r[4 * i + 3]),
                ];
                *quad = [
                    _mm256_shuffle_ps::<0b01_00_01_00>(low, next_low),
                    _mm256_shuffle_ps::<0b11_10_11_10>(low, next_low),
                    _mm256_shuffle_ps::<0b01_00_01_00>(high, next_high),
                    _mm256_shuffle_ps::<0b11_10_11_10>(high, next_high),
                ];
            }
            let [upper, lower] = quads;
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

/// Returns a mask with all bits set in the first `count` lanes.
///
/// # Safety
/// The processor must have AVX2.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn first_lanes(count: usize) -> __m256i {
    unsafe {
        _mm256_cmpgt_epi32(
            _mm256_set1_epi32(count as i32),
            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7),
        )
    }
}

#[cfg(all(target_arch = "x86_64", has_avx512))]
// Only Rust 1.89 and later compiles this: see build.rs.
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
        match count {
            16.. => unsafe { self.store(to) },
            _ => unsafe { _mm512_mask_storeu_ps(to, ((1u32 << count) - 1) as u16, self) },
        }
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
    unsafe fn transpose(
        from: *const f32,
        stride: usize,
        [rows, cols]: [usize; 2],
        to: *mut f32,
        step: usize,
    ) {
        unsafe {
            let mut r = [Self::splat(0.0); 16];
            for (l, row) in r.iter_mut().enumerate().take(rows) {
                *row = Self::load_part(from.add(l * stride), cols);
            }
            // Within each quarter of a vector: `quads[i][j]` holds columns j, 4 + j, 8 + j and 12 +
            // j of rows 4i to 4i + 3.
            let mut quads = [[r[0]; 4]; 4];
            for (i, quad) in quads.iter_mut().enumerate() {
                let first = [
                    _mm512_unpacklo_ps(r[4 * i], r[4 * i + 1]),
                    _mm512_unpackhi_ps(r[4 * i], r[4 * i + 1]),
                ];
                let second = [
                    _mm512_unpacklo_ps(r[4 * i + 2], r[4 * i + 3]),
                    _mm512_unpackhi_ps(r[4 * i + 2], r[4 * i + 3]),
                ];
                for half in 0..2 {
                    let first = _mm512_castps_pd(first[half]);
                    let second = _mm512_castps_pd(second[half]);
                    quad[2 * half] = _mm512_castpd_ps(_mm512_unpacklo_pd(first, second));
                    quad[2 * half + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(first, second));
                }
            }
            // Then across the quarters.
            let mut columns = r;
            for j in 0..4 {
                let [a, b, c, d] = [quads[0][j], quads[1][j], quads[2][j], quads[3][j]];
                let [even, next_even] = [
                    _mm512_shuffle_f32x4::<0b10_00_10_00>(a, b),
                    _mm512_shuffle_f32x4::<0b10_00_10_00>(c, d),
                ];
                let [odd, next_odd] = [
                    _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b),
                    _mm512_shuffle_f32x4::<0b11_01_11_01>(c, d),
                ];
                columns[j] = _mm512_shuffle_f32x4::<0b10_00_10_00>(even, next_even);
                columns[j + 4] = _mm512_shuffle_f32x4::<0b10_00_10_00>(odd, next_odd);
                columns[j + 8] = _mm512_shuffle_f32x4::<0b11_01_11_01>(even, next_even);
                columns[j + 12] = _mm512_shuffle_f32x4::<0b11_01_11_01>(odd, next_odd);
            }
            for (k, column) in columns.iter().enumerate().take(cols) {
                column.store_part(to.add(k * step), rows);
            }
        }
    }
}

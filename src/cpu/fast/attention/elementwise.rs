//! Operations on vectors of floats that a softmax needs beside those of a product.
//!
//! `unsafe` covers the requirements of intrinsics, as in `product/vector.rs`.
#![allow(unsafe_code)]

use crate::cpu::fast::product::{Plain, Vector};
#[cfg(target_arch = "aarch64")]
use std::arch::aarch64::*;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// Most lanes of a vector.
const MOST: usize = 16;

/// A vector with the operations of a softmax. Sets of instructions without a form of their own take
/// the one that goes lane by lane.
///
/// # Safety
/// Every method requires that the processor has the instruction set, and that a pointer is valid
/// for as many words as the vector has lanes.
pub(super) trait Elementwise: Vector {
    /// Returns the sum of each lane.
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        unsafe { by_lane(self, other, |a, b| a + b) }
    }

    /// Returns the difference of each lane.
    #[inline(always)]
    unsafe fn subtract(self, other: Self) -> Self {
        unsafe { by_lane(self, other, |a, b| a - b) }
    }

    /// Returns the product of each lane.
    #[inline(always)]
    unsafe fn multiply(self, other: Self) -> Self {
        unsafe { by_lane(self, other, |a, b| a * b) }
    }

    /// Returns the larger of each lane, `other` if `self` is NaN.
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        unsafe { by_lane(self, other, |a, b| if a > b { a } else { b }) }
    }

    /// Returns the smaller of each lane, `other` if `self` is NaN.
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        unsafe { by_lane(self, other, |a, b| if a < b { a } else { b }) }
    }

    /// Returns `self·2^exponent` for whole exponents from −126 to 128.
    #[inline(always)]
    unsafe fn times_power_of_two(self, exponent: Self) -> Self {
        unsafe {
            by_lane(self, exponent, |value, exponent| {
                value * f32::from_bits(((exponent as i32 + 127) as u32) << 23)
            })
        }
    }

    /// Returns 0 in the lanes where `x` is below `bound`, and `self` in the others.
    #[inline(always)]
    unsafe fn zero_below(self, x: Self, bound: f32) -> Self {
        unsafe { by_lane(self, x, |value, x| if x < bound { 0.0 } else { value }) }
    }

    /// Returns 0 in the lanes whose bit in `bits` is not set, and `self` in the others.
    #[inline(always)]
    unsafe fn keep(self, bits: u32) -> Self {
        unsafe {
            let mut lanes = [0.0; MOST];
            self.store(lanes.as_mut_ptr());
            for (lane, value) in lanes.iter_mut().enumerate() {
                *value = f32::from_bits(value.to_bits() & (bits >> lane & 1).wrapping_neg());
            }
            Self::load(lanes.as_ptr())
        }
    }

    /// Returns 0 in the lanes in whose word bit `bit` is not set, and `self` in the others.
    #[inline(always)]
    unsafe fn keep_bit(self, words: *const u32, bit: u32) -> Self {
        unsafe {
            let mut lanes = [0.0; MOST];
            self.store(lanes.as_mut_ptr());
            for (lane, value) in lanes.iter_mut().enumerate().take(Self::LANES) {
                let kept = (*words.add(lane) >> bit & 1).wrapping_neg();
                *value = f32::from_bits(value.to_bits() & kept);
            }
            Self::load(lanes.as_ptr())
        }
    }
}

/// Applies a function to each pair of lanes.
///
/// # Safety
/// The processor must have the instruction set of `V`.
#[inline(always)]
unsafe fn by_lane<V: Vector>(a: V, b: V, f: impl Fn(f32, f32) -> f32) -> V {
    unsafe {
        let [mut a_lanes, mut b_lanes] = [[0.0; MOST]; 2];
        a.store(a_lanes.as_mut_ptr());
        b.store(b_lanes.as_mut_ptr());
        a_lanes.iter_mut().zip(b_lanes).for_each(|(a, b)| *a = f(*a, b));
        V::load(a_lanes.as_ptr())
    }
}

impl Elementwise for Plain {}

#[cfg(target_arch = "aarch64")]
impl Elementwise for float32x4_t {
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        unsafe { vaddq_f32(self, other) }
    }

    #[inline(always)]
    unsafe fn subtract(self, other: Self) -> Self {
        unsafe { vsubq_f32(self, other) }
    }

    #[inline(always)]
    unsafe fn multiply(self, other: Self) -> Self {
        unsafe { vmulq_f32(self, other) }
    }

    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        unsafe { vbslq_f32(vcgtq_f32(self, other), self, other) }
    }

    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        unsafe { vbslq_f32(vcltq_f32(self, other), self, other) }
    }

    #[inline(always)]
    unsafe fn times_power_of_two(self, exponent: Self) -> Self {
        unsafe {
            let bits = vaddq_s32(vcvtq_s32_f32(exponent), vdupq_n_s32(127));
            vmulq_f32(self, vreinterpretq_f32_s32(vshlq_n_s32::<23>(bits)))
        }
    }

    #[inline(always)]
    unsafe fn zero_below(self, x: Self, bound: f32) -> Self {
        unsafe { vbslq_f32(vcltq_f32(x, vdupq_n_f32(bound)), vdupq_n_f32(0.0), self) }
    }
}

#[cfg(target_arch = "x86_64")]
impl Elementwise for __m256 {
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        unsafe { _mm256_add_ps(self, other) }
    }

    #[inline(always)]
    unsafe fn subtract(self, other: Self) -> Self {
        unsafe { _mm256_sub_ps(self, other) }
    }

    #[inline(always)]
    unsafe fn multiply(self, other: Self) -> Self {
        unsafe { _mm256_mul_ps(self, other) }
    }

    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        unsafe { _mm256_max_ps(self, other) }
    }

    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        unsafe { _mm256_min_ps(self, other) }
    }

    #[inline(always)]
    unsafe fn times_power_of_two(self, exponent: Self) -> Self {
        unsafe {
            let bits = _mm256_add_epi32(_mm256_cvtps_epi32(exponent), _mm256_set1_epi32(127));
            _mm256_mul_ps(self, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(bits)))
        }
    }

    #[inline(always)]
    unsafe fn zero_below(self, x: Self, bound: f32) -> Self {
        unsafe { _mm256_andnot_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(x, _mm256_set1_ps(bound)), self) }
    }

    #[inline(always)]
    unsafe fn keep(self, bits: u32) -> Self {
        unsafe {
            let lanes = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
            let set = _mm256_and_si256(_mm256_set1_epi32(bits as i32), lanes);
            _mm256_and_ps(self, _mm256_castsi256_ps(_mm256_cmpeq_epi32(set, lanes)))
        }
    }

    #[inline(always)]
    unsafe fn keep_bit(self, words: *const u32, bit: u32) -> Self {
        unsafe {
            let count = _mm_cvtsi32_si128(31 - bit as i32);
            let top = _mm256_sll_epi32(_mm256_loadu_si256(words.cast()), count);
            _mm256_and_ps(self, _mm256_castsi256_ps(_mm256_srai_epi32::<31>(top)))
        }
    }
}

#[cfg(all(target_arch = "x86_64", has_avx512))]
// Only Rust 1.89 and later compiles this: see build.rs.
#[allow(clippy::incompatible_msrv)]
impl Elementwise for __m512 {
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        unsafe { _mm512_add_ps(self, other) }
    }

    #[inline(always)]
    unsafe fn subtract(self, other: Self) -> Self {
        unsafe { _mm512_sub_ps(self, other) }
    }

    #[inline(always)]
    unsafe fn multiply(self, other: Self) -> Self {
        unsafe { _mm512_mul_ps(self, other) }
    }

    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        unsafe { _mm512_max_ps(self, other) }
    }

    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        unsafe { _mm512_min_ps(self, other) }
    }

    #[inline(always)]
    unsafe fn times_power_of_two(self, exponent: Self) -> Self {
        unsafe { _mm512_scalef_ps(self, exponent) }
    }

    #[inline(always)]
    unsafe fn zero_below(self, x: Self, bound: f32) -> Self {
        unsafe {
            let there = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(x, _mm512_set1_ps(bound));
            _mm512_maskz_mov_ps(there, self)
        }
    }

    #[inline(always)]
    unsafe fn keep(self, bits: u32) -> Self {
        unsafe { _mm512_maskz_mov_ps(bits as u16, self) }
    }

    #[inline(always)]
    unsafe fn keep_bit(self, words: *const u32, bit: u32) -> Self {
        unsafe {
            let words = _mm512_loadu_si512(words.cast());
            let kept = _mm512_test_epi32_mask(words, _mm512_set1_epi32(1 << bit));
            _mm512_maskz_mov_ps(kept, self)
        }
    }
}

//! From scores to weights: the elementwise steps of attention, for each instruction set.
//!
//! As in `product/kernel.rs`, one source serves all sets.
#![allow(unsafe_code)]

use super::elementwise::Elementwise;
use crate::cpu::fast::Isa;
use crate::cpu::fast::product::Plain;

/// Numbers below this have an exponential that is no normal number; it is taken as 0, because
/// products of denormal numbers are many times slower.
const SMALLEST: f32 = -87.3;

/// One step of the online softmax: a block of scores `[keys, queries]`, which becomes weights.
pub(super) struct Softmax {
    /// Scores before their factor; −∞ where a query does not meet a key.
    pub scores: *mut f32,
    /// Distance between the rows of the block, a multiple of the lanes of every vector.
    pub step: usize,
    pub keys: usize,
    pub queries: usize,
    /// Factor of the scores, positive.
    pub factor: f32,
    /// For each query, the largest score so far, updated.
    pub largest: *mut f32,
    /// For each query, the sum of the weights so far, updated.
    pub sums: *mut f32,
    /// For each query, the factor of everything summed so far, written.
    pub shrink: *mut f32,
    /// For each query the bits of the first 32 keys, then those of the next, `step` words apart;
    /// none if all weights are kept.
    pub kept: Option<*const u32>,
}

/// The elementwise step of the backward pass: blocks `[queries, keys]` of scores and of `dO·Vᵀ`.
pub(super) struct Slopes {
    /// Scores before their factor, −∞ where a query does not meet a key; becomes τ·dS.
    pub scores: *mut f32,
    /// `dO·Vᵀ`; becomes the dropped weights.
    pub grads: *mut f32,
    /// Distance between the rows of both, a multiple of the lanes of every vector.
    pub step: usize,
    pub keys: usize,
    pub queries: usize,
    /// Factor of the scores.
    pub factor: f32,
    /// τ, the factor of the queries' and keys' gradients.
    pub tau: f32,
    /// Scale of the kept weights.
    pub scale: f32,
    /// For each query, its logsumexp.
    pub logsumexp: *const f32,
    /// For each query, δ.
    pub delta: *const f32,
    /// For each query, the bits of its keys; none if all weights are kept.
    pub kept: Option<*const u64>,
    /// True if scores are dropped rather than weights.
    pub scores_dropped: bool,
}

/// Elementwise steps for one instruction set.
pub(super) struct Steps {
    /// The processor must have the set, and all that [`Softmax`] describes must exist.
    pub softmax: unsafe fn(&Softmax),
    /// The processor must have the set, and all that [`Slopes`] describes must exist.
    pub slopes: unsafe fn(&Slopes),
    /// Transposes `[rows, cols]` of distance `step` to `[cols, rows]` of distance `to_step`; the
    /// processor must have the set, and both must exist.
    pub transpose: unsafe fn(*const f32, usize, [usize; 2], *mut f32, usize),
}

impl Steps {
    /// Returns the steps of an instruction set, or those of plain Rust if the processor lacks it.
    pub fn of(isa: Isa) -> &'static Self {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 if Isa::Avx2.is_available() => &AVX2,
            #[cfg(all(target_arch = "x86_64", has_avx512))]
            Isa::Avx512 if Isa::Avx512.is_available() => &AVX512,
            #[cfg(target_arch = "aarch64")]
            Isa::Neon if Isa::Neon.is_available() => &NEON,
            _ => &PORTABLE,
        }
    }
}

/// Returns `eˣ` for `x` up to 88, 0 below [`SMALLEST`].
///
/// The exponential is that of Cephes: `x = n·ln 2 + r`, with a polynomial of degree 7 for `eʳ`.
/// Source: Moshier, "Methods and programs for mathematical functions" (1989), `expf`.
///
/// # Safety
/// The processor must have the instruction set of `V`.
#[inline(always)]
unsafe fn exp<V: Elementwise>(x: V) -> V {
    // The sum with 1.5·2²³ has no bits after the point.
    const WHOLE: f32 = 12_582_912.0;
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    const POLYNOMIAL: [f32; 5] = [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
    unsafe {
        let whole = V::splat(WHOLE);
        let n = x.multiply_add(V::splat(std::f32::consts::LOG2_E), whole).subtract(whole);
        let n = n.min(V::splat(128.0));
        let r = n.multiply_add(V::splat(-LN_2[0]), x);
        let r = n.multiply_add(V::splat(-LN_2[1]), r);
        let mut p = V::splat(1.987_569_1e-4);
        for c in POLYNOMIAL {
            p = p.multiply_add(r, V::splat(c));
        }
        let p = p.multiply_add(r.multiply(r), r).add(V::splat(1.0));
        p.times_power_of_two(n).zero_below(x, SMALLEST)
    }
}

/// See [`Steps::softmax`].
///
/// # Safety
/// See [`Steps::softmax`].
#[inline(always)]
unsafe fn softmax<V: Elementwise>(job: &Softmax) {
    /// Chains of maxima, so that none waits for the one before.
    const CHAINS: usize = 4;
    unsafe {
        let factor = V::splat(job.factor);
        for i in (0..job.queries).step_by(V::LANES) {
            let scores = job.scores.add(i);
            let mut most = [V::splat(f32::NEG_INFINITY); CHAINS];
            for j in 0..job.keys {
                let chain = &mut most[j % CHAINS];
                *chain = V::load(scores.add(j * job.step)).max(*chain);
            }
            let most = most[0].max(most[1]).max(most[2].max(most[3]));
            let before = V::load(job.largest.add(i));
            let largest = most.multiply(factor).max(before);
            let shrink = exp(before.subtract(largest));
            let minus = V::splat(0.0).subtract(largest);
            let mut sum = V::load(job.sums.add(i)).multiply(shrink);
            for j in 0..job.keys {
                let at = scores.add(j * job.step);
                let weight = exp(V::load(at).multiply_add(factor, minus));
                sum = sum.add(weight);
                match job.kept {
                    None => weight.store(at),
                    Some(words) => {
                        let words = words.add(j / 32 * job.step + i);
                        weight.keep_bit(words, (j % 32) as u32).store(at);
                    }
                }
            }
            largest.store(job.largest.add(i));
            sum.store(job.sums.add(i));
            shrink.store(job.shrink.add(i));
        }
    }
}

/// See [`Steps::slopes`].
///
/// # Safety
/// See [`Steps::slopes`].
#[inline(always)]
unsafe fn slopes<V: Elementwise>(job: &Slopes) {
    unsafe {
        let (factor, tau, scale) = (V::splat(job.factor), V::splat(job.tau), V::splat(job.scale));
        for i in 0..job.queries {
            let (scores, grads) = (job.scores.add(i * job.step), job.grads.add(i * job.step));
            let logsumexp = *job.logsumexp.add(i);
            let bits = job.kept.map_or(u64::MAX, |kept| *kept.add(i));
            if logsumexp == f32::NEG_INFINITY {
                for j in (0..job.keys).step_by(V::LANES) {
                    V::splat(0.0).store(scores.add(j));
                    V::splat(0.0).store(grads.add(j));
                }
                continue;
            }
            let minus = V::splat(-logsumexp);
            let delta = V::splat(*job.delta.add(i));
            for j in (0..job.keys).step_by(V::LANES) {
                let x = V::load(scores.add(j)).multiply_add(factor, minus);
                let mut weight = exp(x);
                let mut grad = V::load(grads.add(j)).multiply(scale);
                let bits = (bits >> j) as u32;
                if job.scores_dropped {
                    weight = weight.keep(bits);
                } else {
                    grad = grad.keep(bits);
                }
                let slope = weight.multiply(tau).multiply(grad.subtract(delta));
                // By selection: beyond the keys that a query meets, dO·Vᵀ may be infinite.
                let slope = slope.zero_below(x, SMALLEST);
                let slope = if job.scores_dropped { slope.keep(bits) } else { slope };
                slope.store(scores.add(j));
                weight.multiply(scale).keep(bits).store(grads.add(j));
            }
        }
    }
}

/// See [`Steps::transpose`].
///
/// # Safety
/// See [`Steps::transpose`].
#[inline(always)]
unsafe fn transpose<V: Elementwise>(
    from: *const f32,
    step: usize,
    [rows, cols]: [usize; 2],
    to: *mut f32,
    to_step: usize,
) {
    for i in (0..rows).step_by(V::LANES) {
        for j in (0..cols).step_by(V::LANES) {
            let size = [V::LANES.min(rows - i), V::LANES.min(cols - j)];
            // SAFETY: guaranteed by the caller.
            unsafe {
                V::transpose(from.add(i * step + j), step, size, to.add(j * to_step + i), to_step)
            }
        }
    }
}

/// Instantiates the steps for one instruction set.
macro_rules! steps {
    ($name:ident, $vector:ty $(, $feature:literal)?) => {
        static $name: Steps = {
            /// # Safety
            /// See [`Steps::softmax`].
            $(#[target_feature(enable = $feature)])?
            unsafe fn softmax_of(job: &Softmax) {
                unsafe { softmax::<$vector>(job) }
            }
            /// # Safety
            /// See [`Steps::slopes`].
            $(#[target_feature(enable = $feature)])?
            unsafe fn slopes_of(job: &Slopes) {
                unsafe { slopes::<$vector>(job) }
            }
            /// # Safety
            /// See [`Steps::transpose`].
            $(#[target_feature(enable = $feature)])?
            unsafe fn transpose_of(
                from: *const f32,
                step: usize,
                size: [usize; 2],
                to: *mut f32,
                to_step: usize,
            ) {
                unsafe { transpose::<$vector>(from, step, size, to, to_step) }
            }
            Steps { softmax: softmax_of, slopes: slopes_of, transpose: transpose_of }
        };
    };
}

steps!(PORTABLE, Plain);
#[cfg(target_arch = "aarch64")]
steps!(NEON, std::arch::aarch64::float32x4_t, "neon");
#[cfg(target_arch = "x86_64")]
steps!(AVX2, std::arch::x86_64::__m256, "avx2,fma");
#[cfg(all(target_arch = "x86_64", has_avx512))]
steps!(AVX512, std::arch::x86_64::__m512, "avx512f,avx512bw,fma");

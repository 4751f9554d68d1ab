//! Building blocks of a matrix product on each instruction set: the register tile, the packing of
//! the operands, and the loops over rows of the epilogue.
//!
//! The code is generic over [`Vector`], and each instance is compiled with the features of its
//! instruction set. This requires `unsafe`. The gain: on two cores with AVX-512, the layer of
//! `bench` takes half the time of products that the compiler vectorizes for the baseline target.
#![allow(unsafe_code)]

use super::vector::{Plain, Vector};
use crate::cpu::fast::Isa;
use crate::cpu::reference;
use crate::rules::SgdRule;

/// Job of one tile, `C += A·B`, whose sums are held in registers.
pub(super) struct Tile {
    /// Number of terms in each sum.
    pub terms: usize,
    /// Packed A: term k of row r is `a[k·a_step + r]`.
    pub a: *const f32,
    pub a_step: usize,
    /// Term k of column c is `b[k·b_step + c]`.
    pub b: *const f32,
    pub b_step: usize,
    /// Row r of the result starts at `c[r·c_step]`.
    pub c: *mut f32,
    pub c_step: usize,
    /// Number of columns to compute, at most [`Kernel::cols`].
    pub cols: usize,
    /// True if the sums start from 0, false if they start from the contents of C.
    pub first: bool,
}

/// Orientation of a panel's lanes in the matrix that it is packed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cpu::fast) enum Lanes {
    /// A lane is a row; the terms lie along it.
    Rows,
    /// A lane is a column; the terms are the rows.
    Cols,
}

/// A packing job. It writes consecutive panels of `width` lanes: `to[(panel·terms + k)·width + l]`
/// is term k of lane `panel·width + l`, and 0 past `lanes`.
pub(super) struct Panels {
    pub along: Lanes,
    pub from: *const f32,
    /// Distance between rows of the matrix.
    pub stride: usize,
    pub lanes: usize,
    pub width: usize,
    pub terms: usize,
    pub to: *mut f32,
}

/// Function that updates weights by their gradient, with or without a velocity.
type Descend = unsafe fn(&[f32], &mut [f32], Option<&mut [f32]>, &SgdRule);

/// Functions and tile size of a product on one instruction set.
pub(super) struct Kernel {
    /// Number of rows of the largest tile.
    pub rows: usize,
    /// Number of columns of a tile.
    pub cols: usize,
    /// Tiles of 1, 2, … rows. The processor must have the instruction set. All elements that the
    /// [`Tile`] describes must be valid, those of `b` for the full width of a tile.
    pub tiles: &'static [unsafe fn(&Tile)],
    /// Packs an operand. The processor must have the instruction set. All elements that [`Panels`]
    /// describes must be valid.
    pub pack: unsafe fn(&Panels),
    /// Computes `row = relu(row + bias)`. The processor must have the instruction set.
    pub activate: unsafe fn(&mut [f32], Option<&[f32]>, bool),
    /// Computes `grad = grad·scale` if `output > 0`, else 0. The processor must have the
    /// instruction set.
    pub through_relu: unsafe fn(&mut [f32], &[f32], f32),
    /// Updates weights by their gradient, without max-norm. The processor must have the instruction
    /// set.
    pub descend: Descend,
}

impl Kernel {
    /// Returns the kernel of an instruction set, or the portable one if the processor lacks it.
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

/// Prefetch distance of B in terms: B comes from the second-level cache. Measured gain: 1.03 to
/// 1.05 times as fast.
const AHEAD: usize = 12;

/// Computes a tile of `ROWS` rows and `VECTORS` vectors of columns.
///
/// # Safety
/// The processor must have the instruction set of `V`. All elements that `tile` describes must be
/// valid, those of `b` for the full width of the tile.
#[inline(always)]
unsafe fn tile<V: Vector, const ROWS: usize, const VECTORS: usize>(tile: &Tile) {
    let Tile { terms, a_step, b_step, c_step, cols, first, c, .. } = *tile;
    let there: [usize; VECTORS] =
        std::array::from_fn(|v| cols.saturating_sub(v * V::LANES).min(V::LANES));
    unsafe {
        let mut sums = [[V::splat(0.0); VECTORS]; ROWS];
        for (r, sums) in sums.iter_mut().enumerate() {
            for (v, sum) in sums.iter_mut().enumerate() {
                let at = c.wrapping_add(r * c_step + v * V::LANES);
                if !first {
                    *sum = V::load_part(at, there[v]);
                } else {
                    V::prefetch(at);
                }
            }
        }
        let (mut a, mut b) = (tile.a, tile.b);
        for _ in 0..terms {
            let mut row = [V::splat(0.0); VECTORS];
            for (v, row) in row.iter_mut().enumerate() {
                V::prefetch(b.wrapping_add(AHEAD * b_step + v * V::LANES));
                *row = V::load(b.add(v * V::LANES));
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let factor = V::splat(*a.add(r));
                for (sum, row) in sums.iter_mut().zip(row) {
                    *sum = factor.multiply_add(row, *sum);
                }
            }
            (a, b) = (a.wrapping_add(a_step), b.wrapping_add(b_step));
        }
        for (r, sums) in sums.iter().enumerate() {
            for (v, sum) in sums.iter().enumerate() {
                sum.store_part(c.wrapping_add(r * c_step + v * V::LANES), there[v]);
            }
        }
    }
}

/// Prefetch distance of packing in rows: each row often lies in another page, and hardware
/// prefetchers do not cross pages.
const ROWS_AHEAD: usize = 12;

/// Packs an operand into panels.
///
/// # Safety
/// The processor must have the instruction set of `V`. All elements that `panels` describes must be
/// valid.
#[inline(always)]
unsafe fn pack<V: Vector>(panels: &Panels) {
    let Panels { along, from, stride, lanes, width, terms, to } = *panels;
    unsafe {
        if along == Lanes::Cols {
            // One row of all panels at a time, in the order of memory.
            for k in 0..terms {
                let row = from.wrapping_add(k * stride);
                for first in (0..lanes).step_by(width) {
                    for l in (0..width).step_by(V::LANES) {
                        let at = row.wrapping_add(first + l);
                        V::prefetch(at.wrapping_add(ROWS_AHEAD * stride));
                        let part = V::load_part(at, lanes.saturating_sub(first + l).min(V::LANES));
                        part.store_part(
                            to.add(first * terms + k * width + l),
                            V::LANES.min(width - l),
                        );
                    }
                }
            }
            return;
        }
        for first in (0..lanes).step_by(width) {
            let to = to.add(first * terms);
            let there = width.min(lanes - first);
            for l in (0..there).step_by(V::LANES) {
                for k in (0..terms).step_by(V::LANES) {
                    let size = [V::LANES.min(there - l), V::LANES.min(terms - k)];
                    V::transpose(
                        from.add((first + l) * stride + k),
                        stride,
                        size,
                        to.add(k * width + l),
                        width,
                    );
                }
            }
            for k in 0..terms {
                (there..width).for_each(|l| *to.add(k * width + l) = 0.0);
            }
        }
    }
}

/// Defines the kernel of one instruction set: the functions above, compiled for it.
macro_rules! kernel {
    ($name:ident, $vector:ty, $vectors:literal, [$($rows:literal)*] $(, $feature:literal)?) => {
        static $name: Kernel = {
            /// # Safety
            /// As for [`tile`].
            $(#[target_feature(enable = $feature)])?
            unsafe fn tile_of<const ROWS: usize>(job: &Tile) {
                unsafe { tile::<$vector, ROWS, $vectors>(job) }
            }
            /// # Safety
            /// As for [`pack`].
            $(#[target_feature(enable = $feature)])?
            unsafe fn pack_panels(panels: &Panels) {
                unsafe { pack::<$vector>(panels) }
            }
            /// # Safety
            /// The processor must have the instruction set.
            $(#[target_feature(enable = $feature)])?
            unsafe fn activate(row: &mut [f32], bias: Option<&[f32]>, relu: bool) {
                reference::activate_row(row, bias, relu);
            }
            /// # Safety
            /// The processor must have the instruction set.
            $(#[target_feature(enable = $feature)])?
            unsafe fn through_relu(grad: &mut [f32], output: &[f32], scale: f32) {
                reference::through_relu(grad, output, scale);
            }
            /// # Safety
            /// The processor must have the instruction set.
            $(#[target_feature(enable = $feature)])?
            unsafe fn descend(grad: &[f32], weight: &mut [f32], velocity: Option<&mut [f32]>, rule: &SgdRule) {
                reference::descend(grad, weight, velocity, rule);
            }
            const TILES: &[unsafe fn(&Tile)] = &[$(tile_of::<$rows>),*];
            Kernel {
                rows: TILES.len(),
                cols: <$vector>::LANES * $vectors,
                tiles: TILES,
                pack: pack_panels,
                activate,
                through_relu,
                descend,
            }
        };
    };
}

// The largest tile has as many sums as the registers hold in addition to a row of B and an element
// of A.
kernel!(PORTABLE, Plain, 2, [1 2 3 4]);
#[cfg(target_arch = "aarch64")]
kernel!(NEON, std::arch::aarch64::float32x4_t, 4, [1 2 3 4 5 6], "neon");
#[cfg(target_arch = "x86_64")]
kernel!(AVX2, std::arch::x86_64::__m256, 2, [1 2 3 4 5 6], "avx2,fma");
#[cfg(all(target_arch = "x86_64", has_avx512))]
kernel!(AVX512, std::arch::x86_64::__m512, 2, [1 2 3 4 5 6 7 8 9 10 11 12 13 14], "avx512f,avx512bw,fma");

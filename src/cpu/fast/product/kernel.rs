//! The building blocks of a product on each instruction set: a register tile, the packing of its
//! operands, and the row operations of its epilogue.
//!
//! One source, generic over [`Vector`], serves all sets; each instance is compiled with its set's
//! features. In return for `unsafe`, the layer of `bench` on two cores with AVX-512 takes half the
//! time that it took with products compiled for the baseline.
#![allow(unsafe_code)]

use super::vector::{Plain, Vector};
use crate::cpu::fast::Isa;
use crate::cpu::reference;
use crate::rules::SgdRule;

/// Arguments of one register tile: `C += A·B`.
pub(in crate::cpu::fast) struct Tile {
    /// Terms per sum.
    pub terms: usize,
    /// Packed A: term k of row r is `a[k·a_step + r]`.
    pub a: *const f32,
    pub a_step: usize,
    /// B: term k of column c is `b[k·b_step + c]`.
    pub b: *const f32,
    pub b_step: usize,
    /// C: row r of the result starts at `c[r·c_step]`.
    pub c: *mut f32,
    pub c_step: usize,
    /// Number of existing columns, at most [`Kernel::cols`].
    pub cols: usize,
    /// True if sums start from 0 rather than from the values in C.
    pub first: bool,
}

/// Direction of a panel's lanes in the matrix that it is packed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cpu::fast) enum Lanes {
    /// A lane is a row; its terms are adjacent.
    Rows,
    /// A lane is a column; its terms are the rows.
    Cols,
}

/// Arguments of packing into panels of `width` lanes, one after another:
/// `to[(panel·terms + k)·width + l]` is term k of lane `panel·width + l`, or 0 past `lanes`.
pub(in crate::cpu::fast) struct Panels {
    pub along: Lanes,
    pub from: *const f32,
    /// Distance between the rows of the matrix.
    pub stride: usize,
    pub lanes: usize,
    pub width: usize,
    pub terms: usize,
    pub to: *mut f32,
}

/// Updates weights from their gradient, with or without a velocity.
type Descend = unsafe fn(&[f32], &mut [f32], Option<&mut [f32]>, &SgdRule);

/// Functions of a product for one instruction set.
pub(in crate::cpu::fast) struct Kernel {
    /// Number of rows of the largest tile.
    pub rows: usize,
    /// Number of columns of a tile.
    pub cols: usize,
    /// Tiles of 1, 2, … rows. The processor must have the set, and all elements that a [`Tile`]
    /// describes must exist; those of `b` for whole tiles.
    pub tiles: &'static [unsafe fn(&Tile)],
    /// The processor must have the set, and all elements that [`Panels`] describes must exist.
    pub pack: unsafe fn(&Panels),
    /// Computes `row = relu(row + bias)`. The processor must have the instruction set.
    pub activate: unsafe fn(&mut [f32], Option<&[f32]>, bool),
    /// `grad = grad·scale` if `output > 0`, else 0. The processor must have the set.
    pub through_relu: unsafe fn(&mut [f32], &[f32], f32),
    /// One SGD update without max-norm. The processor must have the set.
    pub descend: Descend,
}

impl Kernel {
    /// Returns the kernel of an instruction set, or that of plain Rust if the processor lacks it.
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

/// Prefetch distance for B, in terms; B comes from the second-level cache. Measured speedup: 1.03
/// to 1.05.
const AHEAD: usize = 12;

/// Computes one tile in registers.
///
/// # Safety
/// The processor must have the instruction set of `V`. `a` and `b` must be valid for reading `ROWS`
/// rows and `VECTORS` whole vectors of each term, and `c` for reading and writing `ROWS` rows of
/// `cols` elements.
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

/// Prefetch distance of packing, in rows. Rows often lie in pages of their own, across which no
/// hardware prefetcher predicts the next one.
const ROWS_AHEAD: usize = 12;

/// Packs a block into panels, transposing it if lanes are rows.
///
/// # Safety
/// The processor must have the instruction set of `V`. `from` must be valid for reading all `lanes`
/// × `terms` elements, and `to` for writing whole panels.
#[inline(always)]
unsafe fn pack<V: Vector>(panels: &Panels) {
    let Panels { along, from, stride, lanes, width, terms, to } = *panels;
    unsafe {
        if along == Lanes::Cols {
            // Copies one row across all panels at a time, in memory order.
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

/// Instantiates the functions above for one instruction set.
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

// Each tile holds as many sums as the registers allow beside a row of B and an element of A.
kernel!(PORTABLE, Plain, 2, [1 2 3 4]);
#[cfg(target_arch = "aarch64")]
kernel!(NEON, std::arch::aarch64::float32x4_t, 4, [1 2 3 4 5 6], "neon");
#[cfg(target_arch = "x86_64")]
kernel!(AVX2, std::arch::x86_64::__m256, 2, [1 2 3 4 5 6], "avx2,fma");
#[cfg(all(target_arch = "x86_64", has_avx512))]
kernel!(AVX512, std::arch::x86_64::__m512, 2, [1 2 3 4 5 6 7 8 9 10 11 12 13 14], "avx512f,avx512bw,fma");

//! Matrix products `C = A·B` on all threads, with an epilogue for each row of C while it is in the
//! first-level cache.
//!
//! Each element's sum is one chain of multiply-adds in ascending order, so results depend neither
//! on the block sizes nor on the number of threads. All instruction sets with a fused multiply-add
//! give the same bits.
//!
//! ```text
//! rows of A in passes that bound the memory        A packed once, by all threads
//!   tasks of rows × columns of C, one thread each
//!     blocks of terms                              B packed, into the second-level cache
//!       panels of rows                             A's panel stays in the first-level cache
//!         panels of columns: a tile in registers
//!       after the last block of terms: `finish` for each row
//! ```
//!
//! Sources: Goto & van de Geijn, "Anatomy of high-performance matrix multiplication", TOMS 34
//! (2008); the loops around a register tile follow BLIS, Van Zee & van de Geijn, TOMS 41 (2015).
//! Gating a factor during packing and the epilogue are this crate's own.
//!
//! `unsafe` lets tasks write their own blocks of one matrix; see `kernel.rs` for what it gains.
#![allow(unsafe_code)]

mod kernel;
mod memory;
mod vector;

use super::row::Site;
use super::{Isa, segment};
use crate::rules::SgdRule;
use memory::Memory;
use rayon::prelude::*;
use std::ops::Range;

pub(super) use kernel::{Kernel, Lanes, Panels, Tile};
pub(super) use memory::{Shared, with_local, with_packed};
pub(super) use vector::{Plain, Vector};

/// Terms per block. A's panel then fits the first-level cache.
const TERMS: usize = 512;
/// Maximum number of columns per task. B's block then takes half of a second-level cache of 512
/// KiB. It is a multiple of 64, the number of elements in a word of mask bits.
const COLS: usize = 128;
/// Elements of A packed in one pass: 16 MiB.
const PACKED: usize = 1 << 22;
/// Number of multiply-adds below which a second thread costs more than it gains.
const WORK: usize = 1 << 18;

/// Operation applied to a factor's elements during packing. It turns `dY` into `dZ`, which is never
/// stored.
#[derive(Clone, Copy)]
pub(super) enum Gate<'a> {
    /// The identity.
    None,
    /// `dY·s` if the output of the ReLU is above 0, else 0.
    Relu { output: &'a [f32], scale: f32 },
    /// `M·s·dY`.
    Mask(Site<'a>),
}

impl Gate<'_> {
    /// Turns `dY` into `dZ` in place, for the part of row `row` that starts at column `col` of a
    /// matrix with `cols` columns.
    pub fn pass(&self, isa: Isa, dz: &mut [f32], row: usize, col: usize, cols: usize) {
        match self {
            Gate::None => {}
            Gate::Relu { output, scale } => {
                through_relu(isa, dz, &output[row * cols + col..][..dz.len()], *scale)
            }
            Gate::Mask(site) => segment(isa, None, dz, row, col, site, false),
        }
    }
}

/// A row-major matrix as a factor of a product, with its gate and the direction of its lanes (rows
/// of A, columns of B).
#[derive(Clone, Copy)]
pub(super) struct Factor<'a> {
    values: &'a [f32],
    cols: usize,
    along: Lanes,
    gate: Gate<'a>,
}

impl<'a> Factor<'a> {
    /// Creates a factor from `values`, in rows of `cols` elements, without a gate.
    pub fn new(values: &'a [f32], cols: usize, along: Lanes) -> Self {
        Self { values, cols, along, gate: Gate::None }
    }

    /// Returns the factor with a gate.
    pub fn gated(self, gate: Gate<'a>) -> Self {
        Self { gate, ..self }
    }

    /// Packs `lanes` × `terms` into panels of `width` lanes, one after another.
    fn pack(
        &self,
        isa: Isa,
        lanes: Range<usize>,
        terms: Range<usize>,
        width: usize,
        to: &mut [f32],
        stage: &mut Memory,
    ) {
        if lanes.is_empty() || terms.is_empty() {
            return;
        }
        let kernel = Kernel::of(isa);
        let (rows, cols) = match self.along {
            Lanes::Rows => (lanes.clone(), terms.clone()),
            Lanes::Cols => (terms.clone(), lanes.clone()),
        };
        // The block from its first element on, and the distance between its rows.
        let (block, stride) = match self.gate {
            Gate::None => (&self.values[rows.start * self.cols + cols.start..], self.cols),
            gate => (self.staged(isa, gate, rows.clone(), cols.clone(), stage), cols.len()),
        };
        assert!(block.len() >= (rows.len() - 1) * stride + cols.len());
        assert!(to.len() >= lanes.len().div_ceil(width) * width * terms.len());
        let (from, lanes, terms) = (block.as_ptr(), lanes.len(), terms.len());
        let panels =
            Panels { along: self.along, from, stride, lanes, width, terms, to: to.as_mut_ptr() };
        // SAFETY: the processor has the kernel's instruction set. The assertions above check the
        // sizes of the block and of `to`.
        unsafe { (kernel.pack)(&panels) };
    }

    /// Copies a block with its gate applied, in rows of the block's own columns.
    fn staged<'m>(
        &self,
        isa: Isa,
        gate: Gate<'_>,
        rows: Range<usize>,
        cols: Range<usize>,
        stage: &'m mut Memory,
    ) -> &'m [f32] {
        let staged = stage.floats(rows.len() * cols.len());
        for (row, staged) in rows.zip(staged.chunks_mut(cols.len().max(1))) {
            let at = row * self.cols + cols.start;
            staged.copy_from_slice(&self.values[at..at + staged.len()]);
            gate.pass(isa, staged, row, cols.start, self.cols);
        }
        staged
    }
}

/// `row = relu(row + bias)`; the bias and the ReLU are each optional.
pub(super) fn activate(isa: Isa, row: &mut [f32], bias: Option<&[f32]>, relu: bool) {
    // SAFETY: the processor has the kernel's instruction set.
    unsafe { (Kernel::of(isa).activate)(row, bias, relu) }
}

/// `grad = grad·scale` if the output is above 0, else 0.
pub(super) fn through_relu(isa: Isa, grad: &mut [f32], output: &[f32], scale: f32) {
    // SAFETY: the processor has the kernel's instruction set.
    unsafe { (Kernel::of(isa).through_relu)(grad, output, scale) }
}

/// Applies one SGD update to a part of a weight matrix, without max-norm.
pub(super) fn descend(
    isa: Isa,
    grad: &[f32],
    weight: &mut [f32],
    velocity: Option<&mut [f32]>,
    rule: &SgdRule,
) {
    // SAFETY: the processor has the kernel's instruction set.
    unsafe { (Kernel::of(isa).descend)(grad, weight, velocity, rule) }
}

/// Destination of a product.
pub(super) enum Output<'a> {
    /// A matrix.
    Matrix(&'a mut [f32]),
    /// None: `finish` alone sees the values, one row of a block at a time.
    Rows,
}

/// Computes `C = A·B` for `[rows, terms, cols]`.
///
/// `finish(row, col, values, beside)` is called once for each part of a row of C after its sums are
/// complete. `beside` holds the same parts of the matrices `beside`, which have C's shape.
pub(super) fn product<const N: usize>(
    isa: Isa,
    [rows, terms, cols]: [usize; 3],
    a: Factor<'_>,
    b: Factor<'_>,
    output: Output<'_>,
    beside: [&mut [f32]; N],
    finish: impl Fn(usize, usize, &mut [f32], [&mut [f32]; N]) + Sync,
) {
    if rows == 0 || cols == 0 {
        return;
    }
    assert_eq!((a.values.len(), b.values.len()), (rows * terms, terms * cols));
    let size = rows * cols;
    let matrix = match output {
        Output::Matrix(values) => Some(Shared::new(values, size)),
        Output::Rows => None,
    };
    let product = Product {
        isa,
        terms,
        cols,
        a,
        b,
        matrix,
        beside: beside.map(|values| Shared::new(values, size)),
        finish: &finish,
    };
    let threads = if rows * cols * terms.max(1) < WORK { 1 } else { rayon::current_num_threads() };
    let most = (PACKED / terms.max(1)).max(product.kernel().rows);
    let passes = || {
        (0..rows).step_by(most).for_each(|from| product.pass(from..rows.min(from + most), threads))
    };
    // Enter the thread pool once for all passes.
    if threads > 1 { rayon::scope(|_| passes()) } else { passes() }
}

/// Arguments of [`product`], shared by its tasks.
struct Product<'a, F, const N: usize> {
    isa: Isa,
    terms: usize,
    cols: usize,
    a: Factor<'a>,
    b: Factor<'a>,
    matrix: Option<Shared<'a>>,
    beside: [Shared<'a>; N],
    finish: &'a F,
}

impl<F: Fn(usize, usize, &mut [f32], [&mut [f32]; N]) + Sync, const N: usize> Product<'_, F, N> {
    fn kernel(&self) -> &'static Kernel {
        Kernel::of(self.isa)
    }

    /// Returns the blocks of terms, all of equal length except the last. Without terms there is one
    /// empty block.
    fn blocks(&self) -> impl Iterator<Item = Range<usize>> + use<F, N> {
        let (terms, count) = (self.terms, self.terms.div_ceil(TERMS).max(1));
        let length = terms.div_ceil(count);
        (0..count).map(move |block| (block * length).min(terms)..((block + 1) * length).min(terms))
    }

    /// Computes all columns of `rows`.
    fn pass(&self, rows: Range<usize>, threads: usize) {
        // Panels have equal heights: 128 rows are ten panels of 13 rather than nine of 14 and one
        // of 2.
        let height = rows.len().div_ceil(rows.len().div_ceil(self.kernel().rows));
        let panels: Vec<Range<usize>> =
            rows.clone().step_by(height).map(|from| from..rows.end.min(from + height)).collect();
        memory::with_packed(panels.len() * height * self.terms, |packed| {
            let area = Shared::new(packed, panels.len() * height * self.terms);
            let packing: Vec<(usize, Range<usize>)> = self
                .blocks()
                .flat_map(|block| (0..panels.len()).map(move |panel| (panel, block.clone())))
                .collect();
            each(threads, packing.len().div_ceil(4), |job| {
                for (panel, block) in packing.iter().skip(4 * job).take(4) {
                    let at = height * (panels.len() * block.start + panel * block.len());
                    memory::with_local(|local| {
                        // SAFETY: the parts of different panels and blocks of terms do not overlap.
                        let to = unsafe { area.part(at..at + height * block.len()) };
                        self.a.pack(
                            self.isa,
                            panels[*panel].clone(),
                            block.clone(),
                            height,
                            to,
                            &mut local.stage,
                        );
                    });
                }
            });
            let wide = self.cols.div_ceil(4 * threads).next_multiple_of(64).min(COLS);
            let across = self.cols.div_ceil(wide);
            // Rows are divided as well if the columns alone give too few tasks to balance the
            // threads.
            let tall =
                panels.len().div_ceil((4 * threads).div_ceil(across).min(panels.len().div_ceil(4)));
            let down = panels.len().div_ceil(tall);
            each(threads, across * down, |task| {
                let (from, col) = (task % down * tall, task / down * wide);
                let own = from..panels.len().min(from + tall);
                memory::with_local(|local| {
                    self.task(&panels, own, col..self.cols.min(col + wide), area, local)
                });
            });
        });
    }

    /// Computes the panels `own` of rows × `cols`.
    fn task(
        &self,
        panels: &[Range<usize>],
        own: Range<usize>,
        cols: Range<usize>,
        packed: Shared<'_>,
        local: &mut memory::Local,
    ) {
        let kernel = self.kernel();
        let height = panels[0].len();
        // A single panel of rows uses each element of B once, so whole tiles of B are read in
        // place.
        let direct = own.len() == 1
            && self.b.along == Lanes::Cols
            && matches!(self.b.gate, Gate::None)
            && self.terms > 0;
        let whole = if direct { cols.len() / kernel.cols * kernel.cols } else { 0 };
        // Number of panels whose rows are kept until their sums are complete.
        let kept = if self.terms > TERMS { own.len() } else { 1 };
        for block in self.blocks() {
            let (first, last) = (block.start == 0, block.end == self.terms);
            let b = local
                .block
                .floats((cols.len() - whole).next_multiple_of(kernel.cols) * block.len());
            self.b.pack(
                self.isa,
                cols.start + whole..cols.end,
                block.clone(),
                kernel.cols,
                b,
                &mut local.stage,
            );
            for (index, panel) in own.clone().enumerate() {
                let rows = panels[panel].clone();
                let a = height * (panels.len() * block.start + panel * block.len());
                // SAFETY: packing is complete, so all threads only read.
                let a = unsafe { packed.part(a..a + height * block.len()) };
                let (c, c_step) = match &self.matrix {
                    Some(matrix) => (matrix.at(rows.start * self.cols + cols.start), self.cols),
                    None => (
                        local.rows.floats(kept * height * cols.len())
                            [index % kept * height * cols.len()..]
                            .as_mut_ptr(),
                        cols.len(),
                    ),
                };
                for from in (0..cols.len()).step_by(kernel.cols) {
                    let (b, b_step) = if from < whole {
                        (&self.b.values[block.start * self.cols + cols.start + from..], self.cols)
                    } else {
                        (&b[(from - whole) * block.len()..], kernel.cols)
                    };
                    let tile = Tile {
                        terms: block.len(),
                        a: a.as_ptr(),
                        a_step: height,
                        b: b.as_ptr(),
                        b_step,
                        c: c.wrapping_add(from),
                        c_step,
                        cols: kernel.cols.min(cols.len() - from),
                        first,
                    };
                    // SAFETY: the processor has the kernel's instruction set. A and B are packed
                    // for this block, B in whole tiles. If B is read in place, whole tiles lie
                    // within the matrix. The rows and columns of C belong to this task alone.
                    unsafe { (kernel.tiles[rows.len() - 1])(&tile) };
                }
                if last {
                    for (r, row) in rows.enumerate() {
                        // SAFETY: the part of the row belongs to this task alone and was written
                        // above.
                        let values = unsafe {
                            std::slice::from_raw_parts_mut(c.wrapping_add(r * c_step), cols.len())
                        };
                        let at = row * self.cols + cols.start;
                        // SAFETY: it also belongs to this task alone.
                        let beside = self
                            .beside
                            .each_ref()
                            .map(|matrix| unsafe { matrix.part(at..at + cols.len()) });
                        (self.finish)(row, cols.start, values, beside);
                    }
                }
            }
        }
    }
}

/// Calls `f` for each of 0 .. count, in parallel if `threads` exceeds 1.
fn each(threads: usize, count: usize, f: impl Fn(usize) + Send + Sync) {
    match threads {
        1 => (0..count).for_each(f),
        _ => (0..count).into_par_iter().with_max_len(1).for_each(f),
    }
}

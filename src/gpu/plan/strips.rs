//! How the kernels of `block.wgsl` divide a matrix: into windows, and each among the threads of a grid.

use super::{Dispatch, Operand, Planner, Window, check_operands, read, windows, write};
use crate::Result;
use crate::gpu::params::Params;
use crate::gpu::source::Width;
use crate::gpu::variant::{Stem, Variant};
use crate::gpu::view::View;
use crate::rate::DRAWS;

/// Strips of 16 columns of a workgroup of `block.wgsl`: a thread each.
const STRIPS: usize = 64;

/// A workgroup's threads as a block of `rows` rows, a power of two, by as many strips as there are left: 2^`shift`.
struct Block {
    rows: usize,
    shift: u32,
}

impl Block {
    /// The block that covers `rows × strips` with the fewest threads left over, of such the widest: neighbours' loads are then neighbours.
    fn new(rows: usize, strips: usize) -> Self {
        let blocks = (0..=STRIPS.ilog2()).map(|shift| Self { rows: STRIPS >> shift, shift });
        let workgroups = |block: &Self| (rows.div_ceil(block.rows) as u64) * (strips.div_ceil(1 << block.shift) as u64);
        blocks.rev().min_by_key(workgroups).unwrap_or(Self { rows: 1, shift: STRIPS.ilog2() })
    }
}

/// A call of a kernel of strips. Where the input and the output are the same elements it is in place.
#[derive(Clone, Copy)]
pub(super) struct Strips<'a, 'f> {
    /// The kernel, `aligned` where its strips are groups of draws whenever a window starts with one.
    pub variant: Variant,
    pub x: View<'a>,
    /// A mask that is given, a bit a column.
    pub bits: Option<View<'a>>,
    pub y: View<'a>,
    /// Parameters of a dispatch that starts at local `(row, col)`.
    pub params: &'f dyn Fn(usize, usize) -> Params,
}

impl<'a> Strips<'a, '_> {
    /// The part of row `row` from column `col` on, a multiple of 32.
    fn piece(&self, row: usize, col: usize, cols: usize) -> Self {
        let part = |view: View<'a>, element: u64, col: usize, cols: usize| {
            let offset = view.offset + element * (row * view.stride + col) as u64;
            View { offset, rows: 1, cols, stride: cols, ..view }
        };
        let numbers = |view: View<'a>| part(view, view.number(), col, cols);
        let bits = self.bits.map(|bits| part(bits, 4, col / 32, cols.div_ceil(32)));
        Self { x: numbers(self.x), bits, y: numbers(self.y), ..*self }
    }

    fn in_place(&self) -> bool {
        self.variant.stem != Stem::Copy && self.x.is_same(&self.y)
    }

    /// The tensors, in the order of their bindings.
    fn operands(&self) -> Vec<Operand<'a>> {
        let x = (!self.in_place()).then(|| read("x", self.x));
        let bits = self.bits.map(|bits| Operand { element: Some(4), ..read("bits", bits) });
        x.into_iter().chain(bits).chain([write("y", self.y)]).collect()
    }
}

impl Planner {
    /// The dispatches of a kernel of strips.
    pub(super) fn strips<'a>(&self, call: &Strips<'a, '_>) -> Result<Vec<Dispatch<'a>>> {
        let (x, stem) = (call.x, call.variant.stem);
        match stem {
            Stem::Dropout | Stem::Copy => self.check_numbers(stem.name(), &call.operands()).map(drop)?,
            _ => check_operands(stem.name(), 4, &call.operands())?,
        }
        let mut plan = Vec::new();
        // A row larger than a binding is itself cut into windows, each a matrix of one row. So is one longer than a grid is wide.
        let longest = (self.rows_per_binding("x", 1, x.number())? / 64 * 64).clamp(1, STRIPS * 16 * self.grid as usize);
        let pieces: Vec<(usize, usize)> = windows(x.cols, longest).collect();
        if pieces.len() > 1 {
            for row in 0..x.rows {
                for &(col, cols) in &pieces {
                    let params = |_, _| (call.params)(row, col);
                    self.strips_of_rows(&mut plan, &Strips { params: &params, ..call.piece(row, col, cols) })?;
                }
            }
        } else {
            self.strips_of_rows(&mut plan, call)?;
        }
        Ok(plan)
    }

    /// The dispatches of rows that each fit a binding.
    fn strips_of_rows<'a>(&self, plan: &mut Vec<Dispatch<'a>>, call: &Strips<'a, '_>) -> Result<()> {
        let (x, y) = (call.x, call.y);
        let paired = call.variant.stem.is_paired() && x.rows > 1;
        let per_thread = if paired { 2 } else { 1 };
        let block = Block::new(x.rows.div_ceil(per_thread), x.cols.div_ceil(16));
        let held = self.common_rows(x.rows, &[("x", x.stride), ("y", y.stride)], x.number())?;
        let held = call.bits.map_or(Ok(held), |bits| self.common_rows(held, &[("bits", bits.stride)], 4))?;
        for (from, rows) in windows(x.rows, held.min(block.rows * per_thread * self.grid as usize)) {
            let window = |view: View<'a>, element: u64| self.window(view, element, from, rows);
            let [a, b] = [x, y].map(|view| window(view, view.number()));
            let bits = call.bits.map(|bits| window(bits, 4));
            let wide = |elements| a.is_wide(elements) && b.is_wide(elements);
            let width = match () {
                () if self.wide_loads() && !x.half && wide(8) => Width::Vec8,
                () if wide(4) => Width::Vec4,
                () => Width::Scalar,
            };
            let params = Params {
                rows: rows as u32,
                cols: x.cols as u32,
                a_start: a.start,
                a_stride: a.stride,
                b_start: b.start,
                b_stride: b.stride,
                c_start: bits.map_or(0, |bits| bits.start),
                c_stride: bits.map_or(0, |bits| bits.stride),
                first: block.shift,
                ..(call.params)(from, 0)
            };
            let aligned = call.variant.aligned && params.col_lane == 0 && params.threshold < DRAWS;
            let in_place = call.in_place();
            let variant = Variant { width, aligned, paired, half: x.half, in_place, ..call.variant };
            let bound: Vec<Window<'a>> = (!in_place).then_some(a).into_iter().chain(bits).chain([b]).collect();
            let grid = [x.cols.div_ceil(16).div_ceil(STRIPS / block.rows), rows.div_ceil(block.rows * per_thread)];
            plan.extend(self.dispatch_grid(variant, &bound, params, grid.map(|workgroups| workgroups as u32))?);
        }
        Ok(())
    }
}

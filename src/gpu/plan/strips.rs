//! How the kernels of `block.wgsl` divide a matrix: into windows, and each among the threads of a grid.

use super::{Dispatch, Planner, Window, windows};
use crate::Result;
use crate::gpu::params::Params;
use crate::gpu::source::Width;
use crate::gpu::variant::Variant;
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

/// A call of a kernel of strips.
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
    /// The part of row `row` from column `col` on.
    fn piece(&self, row: usize, col: usize, cols: usize) -> Self {
        let element = self.x.number();
        let piece = |view: View<'a>| View { offset: view.offset + element * (row * view.cols + col) as u64, rows: 1, cols, ..view };
        let words = |view: View<'a>| {
            let offset = view.offset + 4 * (row * view.cols + col / 32) as u64;
            View { offset, rows: 1, cols: cols.div_ceil(32), ..view }
        };
        Self { x: piece(self.x), bits: self.bits.map(words), y: piece(self.y), ..*self }
    }
}

impl Planner {
    /// The dispatches of a kernel of strips.
    pub(super) fn strips<'a>(&self, call: &Strips<'a, '_>) -> Result<Vec<Dispatch<'a>>> {
        let (x, kernel) = (call.x, call.variant.stem.name());
        for (view, tensor) in [(Some(x), "x"), (call.bits, "bits"), (Some(call.y), "y")] {
            view.map_or(Ok(()), |view| view.check(kernel, tensor, 4))?;
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
        let paired = x.rows > 1;
        let per_thread = if paired { 2 } else { 1 };
        let block = Block::new(x.rows.div_ceil(per_thread), x.cols.div_ceil(16));
        let most = self.rows_per_binding("x", x.cols, x.number())?.min(block.rows * per_thread * self.grid as usize);
        for (from, rows) in windows(x.rows, most) {
            let [x, y] = [x, y].map(|view| self.window(view, view.number(), from, rows));
            let bits = call.bits.map(|bits| self.window(bits, 4, from, rows));
            let wide = |elements| x.is_wide(elements) && y.is_wide(elements);
            let width = match () {
                () if self.wide_loads() && !call.x.half && wide(8) => Width::Vec8,
                () if wide(4) => Width::Vec4,
                () => Width::Scalar,
            };
            let params = (call.params)(from, 0);
            let params = Params {
                rows: rows as u32,
                cols: call.x.cols as u32,
                a_start: x.start,
                a_stride: x.stride,
                b_start: y.start,
                b_stride: y.stride,
                c_start: bits.as_ref().map_or(0, |bits| bits.start),
                c_stride: bits.as_ref().map_or(0, |bits| bits.stride),
                first: block.shift,
                ..params
            };
            let aligned = call.variant.aligned && params.col_lane == 0 && (params.threshold < DRAWS || self.state);
            let variant = Variant { width, aligned, paired, half: call.x.half, ..call.variant };
            let bound: Vec<Window<'a>> = [Some(x), bits, Some(y)].into_iter().flatten().collect();
            let grid = [call.x.cols.div_ceil(16).div_ceil(STRIPS / block.rows), rows.div_ceil(block.rows * per_thread)];
            plan.extend(self.dispatch_grid(variant, &bound, params, grid.map(|workgroups| workgroups as u32))?);
        }
        Ok(())
    }
}

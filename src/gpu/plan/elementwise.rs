//! Plans of the kernels that take a matrix strip by strip: `dropout`, `copy`, `mask_bits`, `gather`.

use super::{Dispatch, Operand, Planner, check_operands, read, windows, write};
use crate::call::{DropoutCall, Features, Gather, MaskBits};
use crate::gpu::params::{LABELS, Params};
use crate::gpu::source::Width;
use crate::gpu::variant::{Stem, Variant};
use crate::gpu::view::View;
use crate::rate::DRAWS;
use crate::{Dropout, Error, Result};

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

impl Planner {
    pub(in crate::gpu) fn dropout<'a>(&self, call: &DropoutCall<'_, View<'a>>) -> Result<Vec<Dispatch<'a>>> {
        call.check()?;
        self.elementwise(Stem::Dropout, *call.x, *call.y, &call.dropout)
    }

    /// `y = x`: the ceiling that `dropout` is measured against.
    pub(in crate::gpu) fn copy<'a>(&self, x: View<'a>, y: View<'a>) -> Result<Vec<Dispatch<'a>>> {
        crate::shape::expect("copy", "y", &y, x.rows, x.cols)?;
        self.elementwise(Stem::Copy, x, y, &Dropout::NONE)
    }

    fn elementwise<'a>(&self, stem: Stem, x: View<'a>, y: View<'a>, dropout: &Dropout) -> Result<Vec<Dispatch<'a>>> {
        // In place is one tensor, not two that meet.
        let in_place = stem == Stem::Dropout && x.is_same(&y);
        let operands = [read("x", x), write("y", y)];
        let element = self.check_numbers(stem.name(), if in_place { &operands[1..] } else { &operands })?;
        let mut plan = Vec::new();
        // A row larger than a binding is itself cut into windows, each a matrix of one row.
        // So is one longer than a grid is wide.
        let longest = (self.rows_per_binding("x", 1, element)? / 64 * 64).clamp(1, STRIPS * 16 * self.grid as usize);
        let pieces: Vec<(usize, usize)> = windows(x.cols, longest).collect();
        if pieces.len() > 1 {
            for row in 0..x.rows {
                for &(col, cols) in &pieces {
                    let piece = |view: View<'a>| View {
                        offset: view.offset + element * (row * view.stride + col) as u64,
                        rows: 1,
                        cols,
                        stride: cols,
                        ..view
                    };
                    self.elementwise_rows(&mut plan, stem, piece(x), piece(y), dropout, row, col)?;
                }
            }
        } else {
            self.elementwise_rows(&mut plan, stem, x, y, dropout, 0, 0)?;
        }
        Ok(plan)
    }

    #[allow(clippy::too_many_arguments)]
    fn elementwise_rows<'a>(
        &self,
        plan: &mut Vec<Dispatch<'a>>,
        stem: Stem,
        x: View<'a>,
        y: View<'a>,
        dropout: &Dropout,
        row: usize,
        col: usize,
    ) -> Result<()> {
        let paired = x.rows > 1;
        let per_thread = if paired { 2 } else { 1 };
        let block = Block::new(x.rows.div_ceil(per_thread), x.cols.div_ceil(16));
        let held = self.common_rows(x.rows, &[("x", x.stride), ("y", y.stride)], x.number())?;
        let most = held.min(block.rows * per_thread * self.grid as usize);
        for (from, rows) in windows(x.rows, most) {
            let pair = [x, y].map(|view| self.window(view, view.number(), from, rows));
            let width = match pair {
                _ if self.wide_loads() && !x.half && pair.iter().all(|window| window.is_wide(8)) => Width::Vec8,
                _ if pair.iter().all(|window| window.is_wide(4)) => Width::Vec4,
                _ => Width::Scalar,
            };
            let params = Params {
                rows: rows as u32,
                cols: x.cols as u32,
                a_start: pair[0].start,
                a_stride: pair[0].stride,
                b_start: pair[1].start,
                b_stride: pair[1].stride,
                first: block.shift,
                ..Params::default()
            }
            .with_dropout(dropout, row + from, col);
            let aligned = stem == Stem::Dropout && params.col_lane == 0 && params.threshold < DRAWS;
            let in_place = stem == Stem::Dropout && x.is_same(&y);
            let variant = Variant { width, aligned, paired, half: x.half, in_place, ..Variant::new(stem) };
            let bound = if in_place { &pair[1..] } else { &pair[..] };
            let grid = [x.cols.div_ceil(16).div_ceil(STRIPS / block.rows), rows.div_ceil(block.rows * per_thread)];
            plan.extend(self.dispatch_grid(variant, bound, params, grid.map(|workgroups| workgroups as u32))?);
        }
        Ok(())
    }

    pub(in crate::gpu) fn mask_bits<'a>(&self, call: &MaskBits<'_, View<'a>>) -> Result<Vec<Dispatch<'a>>> {
        call.check()?;
        let bits = *call.bits;
        check_operands("mask_bits", 4, &[write("bits", bits)])?;
        // The shader counts columns in 32 bits, up to the end of the last word.
        let bound = u64::from(u32::MAX) - 31;
        if call.cols as u64 > bound {
            return Err(Error::TooLarge { what: "columns of a mask as bits".to_owned(), value: call.cols as u64, bound });
        }
        let mut plan = Vec::new();
        for (from, rows) in windows(bits.rows, self.rows_per_binding("bits", bits.stride, 4)?) {
            let window = self.window(bits, 4, from, rows);
            let params = Params {
                rows: rows as u32,
                cols: call.cols as u32,
                a_start: window.start,
                a_stride: window.stride,
                ..Params::default()
            }
            .with_mask(&call.mask, from, 0);
            let words = rows as u64 * bits.cols as u64;
            plan.extend(self.dispatch(Variant::new(Stem::MaskBits), &[window], params, words.div_ceil(64))?);
        }
        Ok(plan)
    }

    pub(in crate::gpu) fn gather<'a>(&self, call: &Gather<'_, View<'a>, View<'a>, View<'a>>) -> Result<Vec<Dispatch<'a>>> {
        call.check()?;
        let (data, element) = match call.data {
            Features::Bytes(bytes) => (*bytes, 1),
            Features::Floats(floats) => (*floats, 4),
        };
        let (order, all_labels, x, labels) = (*call.order, *call.all_labels, *call.x, *call.labels);
        let data_operand = Operand { element: Some(element), ..read("data", data).packed() };
        let read_operands = [data_operand, read("order", order).packed(), read("all_labels", all_labels).packed()];
        check_operands("gather", 4, &[&read_operands[..], &[write("x", x).packed(), write("labels", labels).packed()]].concat())?;
        let (order, all_labels) = (self.whole("order", order)?, self.whole("all_labels", all_labels)?);
        let (labels, x) = (self.whole("labels", labels)?, self.whole("x", x)?);
        let mut plan = Vec::new();
        for (from, count) in windows(data.rows, self.rows_per_binding("data", data.cols, element)?) {
            let window = self.window(data, element, from, count);
            let params = Params {
                rows: call.x.rows as u32,
                cols: data.cols as u32,
                flags: if from == 0 { LABELS } else { 0 },
                a_start: window.start,
                a_stride: window.stride,
                b_stride: all_labels.start,
                c_start: order.start,
                c_stride: from as u32,
                d_start: x.start,
                d_stride: labels.start,
                first: call.first as u32,
                count: count as u32,
                rate: call.unit,
                ..Params::default()
            }
            .with_dropout(&call.dropout, 0, 0);
            // Rows without features still have labels.
            let strips = call.x.rows as u64 * data.cols.div_ceil(8).max(1) as u64;
            let variant = Variant { bytes: element == 1, ..Variant::new(Stem::Gather) };
            plan.extend(self.dispatch(variant, &[window, order, all_labels, x, labels], params, strips.div_ceil(64))?);
        }
        Ok(plan)
    }
}

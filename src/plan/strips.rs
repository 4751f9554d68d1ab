//! Plans for the kernels of `block.wgsl`: a matrix is divided into windows, and each window among
//! the threads of a grid.
//!
//! A strip is eight columns of a row: two quads, which may lie apart (see `block.wgsl`).

use super::{
    Division, Operand, Own, Params, Plan, Planner, STACK, Stem, Variant, View, Width, Window, Work,
    check_tensors, read, windows, write,
};
use crate::Result;
use crate::mask::DRAWS;

/// Own parameter words of a kernel of strips.
pub(crate) trait StripsOwn: Own {
    /// Returns the binary logarithm of the number of a workgroup's threads along the columns.
    fn across_log2(&mut self) -> &mut u32;
}

/// Implements [`StripsOwn`] for a struct with a field `across_log2`.
macro_rules! strips_own {
    ($name:ident) => {
        impl $crate::plan::StripsOwn for $name {
            fn across_log2(&mut self) -> &mut u32 {
                &mut self.across_log2
            }
        }
    };
}
pub(crate) use strips_own;

crate::plan::own! {
    /// Own parameter words of a kernel of strips that needs no others.
    PlainStrips {
        across_log2: u32,
    }
}
strips_own!(PlainStrips);

/// Number of threads in a workgroup of `block.wgsl`.
const THREADS: usize = 64;

/// Arrangement of a workgroup's threads: `rows` rows, a power of two, by 2^`shift` columns.
struct Block {
    rows: usize,
    shift: u32,
}

impl Block {
    /// Returns the block that covers `rows × cols` threads with the fewest workgroups. Among equals
    /// it is the widest, so that neighboring threads load neighboring elements.
    fn new(rows: usize, cols: usize) -> Self {
        let blocks = (0..=THREADS.ilog2()).map(|shift| Self { rows: THREADS >> shift, shift });
        let workgroups = |block: &Self| {
            (rows.div_ceil(block.rows) as u64) * (cols.div_ceil(1 << block.shift) as u64)
        };
        blocks.rev().min_by_key(workgroups).unwrap_or(Self { rows: 1, shift: THREADS.ilog2() })
    }
}

/// A second input of a kernel of strips.
#[derive(Clone, Copy)]
pub(crate) enum Beside<'a> {
    /// A given mask, one bit per column.
    Bits(View<'a>),
    /// Numbers, in the shape of the first input.
    Numbers(&'static str, View<'a>),
}

impl<'a> Beside<'a> {
    fn operand(self) -> Operand<'a> {
        match self {
            Self::Bits(view) => read("bits", view),
            Self::Numbers(name, view) => read(name, view),
        }
    }
}

/// A call of a kernel of strips. It is in place if the input and the output are the same elements.
#[derive(Clone, Copy)]
pub(crate) struct Strips<'a, 'f, O> {
    /// The kernel's form. It has the choice `ALIGNED` or `GROUPED` if its strips coincide with
    /// groups of draws in every window that starts with a group.
    pub variant: Variant,
    pub x: View<'a>,
    /// A second input.
    pub beside: Option<Beside<'a>>,
    pub y: View<'a>,
    /// Returns the mask's parameters and the own words of a dispatch that starts at local
    /// `(row, col)`.
    pub params: &'f dyn Fn(usize, usize) -> (Params, O),
}

impl<'a, O: StripsOwn> Strips<'a, '_, O> {
    /// Returns the call on `cols` columns of row `row`, from column `col` on, a multiple of 32.
    fn piece(&self, row: usize, col: usize, cols: usize) -> Self {
        let part = |view: View<'a>, element: u64, col: usize, cols: usize| {
            let offset = view.offset + element * (row * view.stride + col) as u64;
            View { offset, rows: 1, cols, stride: cols, ..view }
        };
        let numbers = |view: View<'a>| part(view, view.number(), col, cols);
        let beside = self.beside.map(|beside| match beside {
            Beside::Bits(bits) => Beside::Bits(part(bits, 4, col / 32, cols.div_ceil(32))),
            Beside::Numbers(name, view) => Beside::Numbers(name, numbers(view)),
        });
        Self { x: numbers(self.x), beside, y: numbers(self.y), ..*self }
    }

    fn in_place(&self) -> bool {
        self.variant.stem != Stem::Copy && self.x.is_same(&self.y)
    }

    /// Returns the tensors in the order of their bindings.
    fn operands(&self) -> Vec<Operand<'a>> {
        let x = (!self.in_place()).then(|| read("x", self.x));
        x.into_iter().chain(self.beside.map(Beside::operand)).chain([write("y", self.y)]).collect()
    }
}

impl Planner {
    /// Plans a kernel of strips.
    pub(crate) fn strips<'a, O: StripsOwn>(&self, call: &Strips<'a, '_, O>) -> Result<Plan<'a>> {
        let (x, stem) = (call.x, call.variant.stem);
        if stem.takes_half() {
            self.check_numbers(stem, &call.operands())?;
        } else {
            check_tensors(stem, &call.operands())?;
        }
        let mut plan = Vec::new();
        // A row larger than a binding, or longer than a grid is wide, is itself cut into windows,
        // each a matrix of one row.
        let longest = (self.rows_per_binding("x", 1, x.number())? / 64 * 64)
            .clamp(1, THREADS * 8 * self.grid as usize);
        let pieces: Vec<(usize, usize)> = windows(x.cols, longest).collect();
        if pieces.len() > 1 {
            for row in 0..x.rows {
                for &(col, cols) in &pieces {
                    let params = |_, _| (call.params)(row, col);
                    let piece = Strips { params: &params, ..call.piece(row, col, cols) };
                    self.strips_of_rows(&mut plan, &piece)?;
                }
            }
        } else {
            self.strips_of_rows(&mut plan, call)?;
        }
        Ok(plan)
    }

    /// Plans rows of which each fits a binding.
    fn strips_of_rows<'a, O: StripsOwn>(
        &self,
        plan: &mut Plan<'a>,
        call: &Strips<'a, '_, O>,
    ) -> Result<()> {
        let (x, y) = (call.x, call.y);
        let can_stack = call.variant.stem.is_stacked() && x.rows >= STACK;
        let division = match (self.wide, can_stack) {
            (false, _) => Division::Flat,
            (true, true) => Division::Stacked,
            (true, false) => Division::Pairs,
        };
        let variant = Variant { division, half: x.half, in_place: call.in_place(), ..call.variant };
        let [rows, strips] = variant.block();
        let per_thread = [rows, 8 * strips];
        let threads = [x.rows.div_ceil(per_thread[0]), x.cols.div_ceil(per_thread[1])];
        let block = Block::new(threads[0], threads[1]);
        let held = self.common_rows(x.rows, &[("x", x.stride), ("y", y.stride)], x.number())?;
        let beside = call.beside.map(Beside::operand);
        let held = beside.map_or(Ok(held), |input| {
            self.common_rows(held, &[(input.name, input.view.stride)], 4)
        })?;
        let most = held.min(block.rows * per_thread[0] * self.grid as usize);
        for (from, rows) in windows(x.rows, most) {
            let window = |view: View<'a>, element: u64| self.window(view, element, from, rows);
            let [a, b] = [x, y].map(|view| window(view, view.number()));
            let beside = beside.map(|input| window(input.view, 4));
            // A mask of bits is read one word at a time, so it does not limit the width.
            let numbers = beside.filter(|_| matches!(call.beside, Some(Beside::Numbers(..))));
            let wide = |elements| {
                [Some(a), Some(b), numbers].iter().flatten().all(|window| window.is_wide(elements))
            };
            let eight = if x.half { !self.wide } else { self.wide_loads() };
            let width = match () {
                () if eight && wide(8) => Width::Vec8,
                () if wide(4) => Width::Vec4,
                () => Width::Scalar,
            };
            let (mask, mut own) = (call.params)(from, 0);
            *own.across_log2() = block.shift;
            let params = Params { rows: rows as u32, cols: x.cols as u32, ..mask };
            let mut variant = Variant { width, ..variant };
            // The forms whose strips are groups of draws require a rate at which draws matter and a
            // window that starts with a group.
            let draws = mask.col_lane == 0 && (mask.threshold < DRAWS || self.state);
            for choice in ["ALIGNED", "GROUPED"] {
                if variant.is(choice, "yes") {
                    variant = variant.with_if(choice, draws);
                }
            }
            let tensors: Vec<Window<'a>> = [a].into_iter().chain(beside).chain([b]).collect();
            let grid =
                [threads[1].div_ceil(1 << block.shift), rows.div_ceil(block.rows * per_thread[0])];
            // Two strips of eight elements, at most.
            let loops = if variant.is("FREE", "yes") { 2 * 9 } else { 0 };
            let work = Work { variant, tensors: &tensors, params, own, loops };
            plan.extend(self.dispatch_grid(work, grid.map(|workgroups| workgroups as u32))?);
        }
        Ok(())
    }
}

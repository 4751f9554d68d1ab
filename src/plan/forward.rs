//! Forward matrix products, `linear_forward` and `linear_activation`: one plan for both.

use super::product::product_own;
use super::{
    Binding, HALF_IS_UNCUT, Operand, Params, Plan, Planner, Stem, Variant, View, Window, Work, own,
    read, windows, windows_or_one, write,
};
use crate::{Dropout, Result, order};

/// Flag: the sum starts in this dispatch.
pub(crate) const FIRST: u32 = 1;
/// Flag: the sum ends in this dispatch.
pub(crate) const LAST: u32 = 2;
/// Flag: ReLU stands before the dropout.
pub(crate) const RELU: u32 = 4;
/// Flag: there is a bias.
pub(super) const BIAS: u32 = 8;
/// Factor of an activation's number among the flags, where it takes three bits.
pub(crate) const ACTIVATION: u32 = 16;
/// Flag: `Z` is saved.
pub(crate) const SAVE: u32 = 128;
/// Flag: there is a residual.
pub(crate) const RESIDUAL: u32 = 256;
/// Flag: the residual is what the output holds.
pub(crate) const IN_PLACE: u32 = 512;

own! {
    /// Own words of a forward product.
    ForwardOwn {
        inner: u32,
        terms: u32,
        flags: u32,
    }
}
product_own!(ForwardOwn);

/// A forward product of either kernel.
pub(crate) struct Forward<'a> {
    pub stem: Stem,
    pub x: View<'a>,
    pub weight: View<'a>,
    pub bias: Option<View<'a>>,
    pub residual: Option<View<'a>>,
    pub z: Option<View<'a>>,
    pub y: View<'a>,
    /// Flags of the epilogue.
    pub flags: u32,
    pub dropout: Dropout,
}

/// Windows of the tensors that a forward product has besides its factors.
pub(super) struct Epilogue<'a> {
    residual: Option<Window<'a>>,
    z: Option<Window<'a>>,
    y: Window<'a>,
}

impl<'a> Epilogue<'a> {
    /// Returns the windows of the kernel's tensors from column `col` of the output on. A tensor
    /// that the call lacks is never touched, but needs something to be bound.
    pub fn tensors(
        &self,
        stem: Stem,
        [x, weight]: [Window<'a>; 2],
        bias: Option<Window<'a>>,
        col: usize,
    ) -> Vec<Window<'a>> {
        let mut tensors = vec![x, weight, bias.unwrap_or(weight), self.y.after_col(col)];
        if stem == Stem::LinearActivation {
            tensors.push(self.residual.map_or(weight, |residual| residual.after_col(col)));
            tensors.push(self.z.map_or(NOTHING, |z| z.after_col(col)));
        }
        tensors
    }

    /// Returns the tensors that are loaded and stored as vectors.
    pub fn wide(&self, col: usize) -> impl Iterator<Item = Window<'a>> {
        [Some(self.y), self.residual, self.z].into_iter().flatten().map(move |w| w.after_col(col))
    }
}

/// The start of the scratch buffer, as long as the widest element, for an output that the call
/// lacks.
const NOTHING: Window<'static> = Window {
    binding: Binding { buffer: None, offset: 0, size: 32 },
    start: 0,
    stride: 0,
    cols: 0,
    element: 4,
};

impl<'a> Forward<'a> {
    /// Returns the tensors of the call.
    pub fn operands(&self) -> Vec<Operand<'a>> {
        let mut operands = vec![read("x", self.x), read("weight", self.weight), write("y", self.y)];
        operands.extend(self.bias.map(|bias| read("bias", bias)));
        operands.extend(self.residual.map(|residual| read("residual", residual)));
        operands.extend(self.z.map(|z| write("z", z)));
        operands
    }

    /// Returns the row strides of all tensors whose rows are the batch's.
    pub(super) fn strides(&self) -> Vec<(&'static str, usize)> {
        let beside = [("residual", self.residual), ("z", self.z)];
        let beside = beside.into_iter().filter_map(|(name, view)| Some((name, view?.stride)));
        [("x", self.x.stride), ("y", self.y.stride)].into_iter().chain(beside).collect()
    }
}

impl Planner {
    /// Returns true if the device cannot bind all tensors of a forward product at once.
    pub(crate) fn has_few(&self, stem: Stem) -> bool {
        Variant::new(stem).tensors() > self.buffers as usize
    }

    /// Plans a forward product whose tensors were checked, of `element` bytes a number.
    pub(crate) fn forward<'a>(&self, call: &Forward<'a>, element: u64) -> Result<Plan<'a>> {
        let (inner, cols) = (call.weight.rows, call.weight.cols);
        // If not all can be bound at once, the epilogue is a dispatch of its own, as after a
        // split sum.
        let few = self.has_few(call.stem).then_some(inner.max(1));
        if let Some(part) = order::part(call.y.rows, cols, inner).or(few) {
            return self.split_forward(call, part, element);
        }
        let terms = self.sum_part(inner, &[("weight", call.weight.stride)], element)?;
        let uncut = |why| {
            let row = call.weight.stride as u64 * element;
            self.check_uncut(("weight", row), [inner, terms], why)
        };
        if element == 2 {
            uncut(HALF_IS_UNCUT)?;
        }
        if call.flags & IN_PLACE != 0 {
            uncut("a sum over a residual in place is not divided among dispatches")?;
        }
        let rows = self
            .common_rows(call.y.rows, &call.strides(), element)?
            .min(self.rows_per_budget(cols, terms));
        let bias = call.bias.map(|bias| self.whole("bias", bias)).transpose()?;
        let variant = Variant { half: element == 2, ..Variant::new(call.stem) };
        let variant = variant.with_if("PART", terms < inner);
        let mut plan = Vec::new();
        for (m, rows) in windows(call.y.rows, rows) {
            let epilogue = self.epilogue(call, element, m, rows);
            let params = Params::of(rows, cols).with_dropout(&call.dropout, m, 0);
            for (k, terms) in windows_or_one(inner, terms) {
                let x = self.window(call.x, element, m, rows).after_col(k);
                let weight = self.window(call.weight, element, k, terms);
                let mut flags = call.flags;
                for (set, flag) in
                    [(k == 0, FIRST), (k + terms == inner, LAST), (bias.is_some(), BIAS)]
                {
                    flags |= if set { flag } else { 0 };
                }
                let own = ForwardOwn { inner: terms as u32, terms: 0, flags };
                let tensors = &epilogue.tensors(call.stem, [x, weight], bias, 0);
                let wide: Vec<_> = [x, weight].into_iter().chain(epilogue.wide(0)).collect();
                plan.extend(self.product(Work { variant, tensors, params, own, loops: 0 }, &wide)?);
            }
        }
        Ok(plan)
    }

    pub(super) fn epilogue<'a>(
        &self,
        call: &Forward<'a>,
        element: u64,
        from: usize,
        rows: usize,
    ) -> Epilogue<'a> {
        let window = |view: View<'a>| self.window(view, element, from, rows);
        Epilogue { residual: call.residual.map(window), z: call.z.map(window), y: window(call.y) }
    }
}

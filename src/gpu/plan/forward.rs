//! Plans of the forward matrix products, `linear_forward` and `linear_activation`; and of
//! `activation_grad`, the way back through the latter.

use super::product::{whole_in_half, windows_or_one};
use super::strips::{Beside, Strips};
use super::{Binding, Dispatch, Operand, Planner, Window, check_operands, read, windows, write};
use crate::call::{ActivationGrad, LinearActivation, LinearForward};
use crate::gpu::bindings::Bound;
use crate::gpu::params::{ACTIVATION, BIAS, FIRST, IN_PLACE, LAST, Params, RELU, RESIDUAL, SAVE};
use crate::gpu::stem::Stem;
use crate::gpu::variant::Variant;
use crate::gpu::view::View;
use crate::{Dropout, Error, Result, order};

/// A forward product of either kernel.
pub(super) struct Forward<'a> {
    pub stem: Stem,
    pub x: View<'a>,
    pub weight: View<'a>,
    pub bias: Option<View<'a>>,
    pub residual: Option<View<'a>>,
    pub z: Option<View<'a>>,
    pub y: View<'a>,
    /// What the epilogue does.
    pub flags: u32,
    pub dropout: Dropout,
}

/// Windows of what a forward product has besides its factors.
pub(super) struct Epilogue<'a> {
    residual: Option<Window<'a>>,
    z: Option<Window<'a>>,
    y: Window<'a>,
}

impl<'a> Epilogue<'a> {
    /// Everything bound, `x` first. What is not there is never touched, but bound all the same.
    pub fn bound(
        &self,
        stem: Stem,
        x: Window<'a>,
        weight: Window<'a>,
        bias: Option<Window<'a>>,
    ) -> Vec<Window<'a>> {
        let bias = bias.unwrap_or(weight);
        match stem {
            Stem::LinearActivation => vec![
                x,
                weight,
                bias,
                self.residual.unwrap_or(weight),
                self.y,
                self.z.unwrap_or(NOTHING),
            ],
            _ => vec![x, weight, bias, self.y],
        }
    }

    /// The tensors that are loaded and stored as vectors.
    pub fn wide(&self) -> impl Iterator<Item = Window<'a>> {
        [Some(self.y), self.residual, self.z].into_iter().flatten()
    }

    /// Its part of the parameters, from local column `col` on.
    pub fn params(&self, params: Params, col: usize) -> Params {
        let [residual, z] = [self.residual, self.z]
            .map(|window| window.map_or((0, 0), |window| (window.start, window.stride)));
        Params {
            d_start: self.y.start + col as u32,
            d_stride: self.y.stride,
            e_start: residual.0 + col as u32,
            e_stride: residual.1,
            f_start: z.0 + col as u32,
            f_stride: z.1,
            ..params
        }
    }
}

/// The start of the scratch buffer, as long as the widest element, for an output that is not there.
const NOTHING: Window<'static> = Window {
    binding: Binding { buffer: None, offset: 0, size: 32 },
    start: 0,
    stride: 0,
    cols: 0,
    element: 4,
};

impl<'a> Forward<'a> {
    fn operands(&self) -> Vec<Operand<'a>> {
        let mut operands = vec![read("x", self.x), read("weight", self.weight), write("y", self.y)];
        operands.extend(self.bias.map(|bias| read("bias", bias)));
        operands.extend(self.residual.map(|residual| read("residual", residual)));
        operands.extend(self.z.map(|z| write("z", z)));
        operands
    }

    /// The distances between rows of all tensors of the batch's rows.
    pub fn strides(&self) -> Vec<(&'static str, usize)> {
        let beside = [("residual", self.residual), ("z", self.z)];
        let beside = beside.into_iter().filter_map(|(name, view)| Some((name, view?.stride)));
        [("x", self.x.stride), ("y", self.y.stride)].into_iter().chain(beside).collect()
    }
}

impl Planner {
    pub(in crate::gpu) fn linear_forward<'a>(
        &self,
        call: &LinearForward<'_, View<'a>>,
    ) -> Result<Vec<Dispatch<'a>>> {
        call.check()?;
        let forward = Forward {
            stem: Stem::LinearForward,
            x: *call.x,
            weight: *call.weight,
            bias: call.bias.copied(),
            residual: None,
            z: None,
            y: *call.y,
            flags: if call.relu { RELU } else { 0 },
            dropout: call.dropout,
        };
        let element = self.check_numbers(forward.stem.name(), &forward.operands())?;
        self.forward(&forward, element)
    }

    pub(in crate::gpu) fn linear_activation<'a>(
        &self,
        call: &LinearActivation<'_, View<'a>>,
    ) -> Result<Vec<Dispatch<'a>>> {
        call.check()?;
        let in_place = call.residual.is_some_and(|residual| residual.is_same(call.y));
        let residual = call.residual.copied().filter(|_| !in_place);
        let mut flags = ACTIVATION * call.activation as u32;
        for (set, flag) in
            [(call.z.is_some(), SAVE), (residual.is_some(), RESIDUAL), (in_place, IN_PLACE)]
        {
            flags |= if set { flag } else { 0 };
        }
        let forward = Forward {
            stem: Stem::LinearActivation,
            x: *call.x,
            weight: *call.weight,
            bias: call.bias.copied(),
            residual,
            z: call.z.as_deref().copied(),
            y: *call.y,
            flags,
            dropout: call.dropout,
        };
        check_operands(forward.stem.name(), 4, &forward.operands())?;
        match residual.filter(|_| self.has_few(forward.stem)) {
            // Where not all can be bound at once, the residual is first copied to where it is read
            // in place.
            Some(residual) => {
                let mut plan = self.copy(residual, *call.y)?;
                let flags = flags & !RESIDUAL | IN_PLACE;
                plan.extend(self.forward(&Forward { residual: None, flags, ..forward }, 4)?);
                Ok(plan)
            }
            None => self.forward(&forward, 4),
        }
    }

    /// Whether not all tensors of a forward product can be bound at once.
    fn has_few(&self, stem: Stem) -> bool {
        self.bindable(Variant::new(stem)).bound == Bound::Few
    }

    fn forward<'a>(&self, call: &Forward<'a>, element: u64) -> Result<Vec<Dispatch<'a>>> {
        let (x, weight, y) = (call.x, call.weight, call.y);
        let (inner, cols) = (weight.rows, weight.cols);
        // Where not all can be bound at once, what follows the sum is a dispatch of its own, as
        // after a sum in parts.
        if let Some(part) =
            order::part(y.rows, cols, inner).or(self.has_few(call.stem).then_some(inner.max(1)))
        {
            return self.split_forward(call, part, element);
        }
        let terms = self.sum_part(inner, &[("weight", weight.stride)], element)?;
        let terms = whole_in_half(terms, inner, element)?;
        if terms < inner && call.flags & IN_PLACE != 0 {
            let what =
                "rows of a weight under a residual in place, whose sums are not cut".to_owned();
            return Err(Error::TooLarge { what, value: inner as u64, bound: terms as u64 });
        }
        let rows = self
            .common_rows(y.rows, &call.strides(), element)?
            .min(self.rows_per_budget(cols, terms));
        let bias = call.bias.map(|bias| self.whole("bias", bias)).transpose()?;
        let mut plan = Vec::new();
        for (m, rows) in windows(y.rows, rows) {
            let epilogue = self.epilogue(call, element, m, rows);
            for (k, terms) in windows_or_one(inner, terms) {
                let [x, w] =
                    [self.window(x, element, m, rows), self.window(weight, element, k, terms)];
                let mut flags = call.flags;
                for (set, flag) in
                    [(k == 0, FIRST), (k + terms == inner, LAST), (bias.is_some(), BIAS)]
                {
                    flags |= if set { flag } else { 0 };
                }
                let params = Params {
                    rows: rows as u32,
                    cols: cols as u32,
                    inner: terms as u32,
                    flags,
                    a_start: x.start + k as u32,
                    a_stride: x.stride,
                    b_start: w.start,
                    b_stride: w.stride,
                    c_start: bias.map_or(0, |bias| bias.start),
                    ..Params::default()
                };
                let params = epilogue.params(params, 0).with_dropout(&call.dropout, m, 0);
                let variant =
                    Variant { part: terms < inner, half: element == 2, ..Variant::new(call.stem) };
                let wide: Vec<Window<'a>> = [x, w].into_iter().chain(epilogue.wide()).collect();
                plan.extend(self.product(
                    variant,
                    &epilogue.bound(call.stem, x, w, bias),
                    &wide,
                    params,
                )?);
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

    pub(in crate::gpu) fn activation_grad<'a>(
        &self,
        call: &ActivationGrad<'_, View<'a>>,
    ) -> Result<Vec<Dispatch<'a>>> {
        call.check()?;
        let flags = ACTIVATION * call.activation as u32;
        let params =
            |row, col| Params { flags, ..Params::default() }.with_dropout(&call.dropout, row, col);
        let beside = Some(Beside::Numbers("z", *call.z));
        let variant = Variant::new(Stem::ActivationGrad);
        self.strips(&Strips {
            variant,
            x: *call.grad_output,
            beside,
            y: *call.grad_z,
            params: &params,
        })
    }
}

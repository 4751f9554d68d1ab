//! Plans of the backward matrix products: `grad_input`, `grad_weight`, `grad_weight_sgd`.
//!
//! A product larger than a binding is cut along its rows, its columns or its terms, whichever the
//! tensor at fault has for rows; a sum in parts goes on from what the part before left, so that its
//! order stays one ascending chain.

use super::{Dispatch, Operand, Planner, Window, check_operands, read, windows, write};
use crate::call::{GradInput, GradWeight, GradWeightSgd};
use crate::gpu::bindings::Bound;
use crate::gpu::params::{FIRST, Params, THROUGH};
use crate::gpu::source::Width;
use crate::gpu::stem::Stem;
use crate::gpu::tile::Tile;
use crate::gpu::variant::Variant;
use crate::gpu::view::View;
use crate::{Error, Result, order};

impl Planner {
    /// Rows of a product's dispatch: as many as keep it under the budget, in whole tiles.
    pub(super) fn rows_per_budget(&self, cols: usize, inner: usize) -> usize {
        let row = (2 * cols.max(1) as u64).saturating_mul(inner.max(1) as u64);
        usize::try_from(self.flops / row).unwrap_or(usize::MAX).max(64) / 64 * 64
    }

    pub(in crate::gpu) fn grad_input<'a>(
        &self,
        call: &GradInput<'_, View<'a>>,
    ) -> Result<Vec<Dispatch<'a>>> {
        call.check()?;
        let (dy, weight, dx) = (*call.grad_output, *call.weight, *call.grad_input);
        // What is not there is never read, but bound all the same.
        let y = call.output.copied().unwrap_or(dy);
        let (x, rate) = call.through.map_or((dy, 0.0), |(x, scale)| (*x, scale));
        let name = Stem::GradInput.name();
        let operands = [
            read("grad_output", dy),
            read("output", y),
            read("weight", weight),
            read("through", x),
            write("grad_input", dx),
        ];
        let element = self.check_numbers(name, &operands)?;
        let (inner, cols) = (dy.cols, weight.rows);
        // Where not all can be bound at once, what follows the sum is a dispatch of its own, as
        // after a sum in parts.
        let gate = self.gate(call.output.is_some(), &call.dropout);
        let variant =
            self.bindable(Variant { gate, half: element == 2, ..Variant::new(Stem::GradInput) });
        let few = variant.bound == Bound::Few;
        if let Some(part) = order::part(dx.rows, cols, inner)
            .or((few && call.through.is_some()).then_some(inner.max(1)))
        {
            return self.split_grad_input(call, part);
        }
        let part = self.common_rows(cols, &[("weight", weight.stride)], element)?;
        let part = if part < cols { (part / 64 * 64).max(1) } else { part };
        let rows = self
            .common_rows(
                dx.rows,
                &[
                    ("grad_output", dy.stride),
                    ("output", y.stride),
                    ("through", x.stride),
                    ("grad_input", dx.stride),
                ],
                element,
            )?
            .min(self.rows_per_budget(part, inner));
        let mut plan = Vec::new();
        for (m, rows) in windows(dx.rows, rows) {
            for (n, cols) in windows(cols, part) {
                let w = self.window(weight, element, n, cols);
                let [dy, y, x, dx] = [dy, y, x, dx].map(|view| self.window(view, element, m, rows));
                let params = Params {
                    rows: rows as u32,
                    cols: cols as u32,
                    inner: inner as u32,
                    a_start: w.start,
                    a_stride: w.stride,
                    b_start: dy.start,
                    b_stride: dy.stride,
                    c_start: y.start,
                    c_stride: y.stride,
                    d_start: dx.start + n as u32,
                    d_stride: dx.stride,
                    flags: if call.through.is_some() { THROUGH } else { 0 },
                    first: x.start + n as u32,
                    count: x.stride,
                    rate,
                    ..Params::default()
                }
                .with_dropout(&call.dropout, m, 0);
                plan.extend(self.product(
                    variant,
                    &[w, dy, y, x, dx],
                    &[w, dy, y, x, dx],
                    params,
                )?);
            }
        }
        Ok(plan)
    }

    pub(in crate::gpu) fn grad_weight<'a>(
        &self,
        call: &GradWeight<'_, View<'a>>,
    ) -> Result<Vec<Dispatch<'a>>> {
        call.check()?;
        let (x, dy, dw, db) = (*call.x, *call.grad_output, *call.grad_weight, *call.grad_bias);
        let y = call.output.copied().unwrap_or(dy);
        let name = Stem::GradWeight.name();
        let operands = [
            read("x", x),
            read("grad_output", dy),
            read("output", y),
            write("grad_weight", dw),
            write("grad_bias", db),
        ];
        let element = self.check_numbers(name, &operands)?;
        let (inner, inputs, cols) = (x.rows, x.cols, dy.cols);
        let strides = [("x", x.stride), ("grad_output", dy.stride), ("output", y.stride)];
        let terms = self.sum_part(inner, &strides, element)?;
        let terms = whole_in_half(terms, inner, element)?;
        let part = self.weight_rows("grad_weight", dw, terms)?;
        let db = self.whole("grad_bias", db)?;
        let gate = self.gate(call.output.is_some(), &call.dropout);
        let variant =
            self.bindable(Variant { gate, half: element == 2, ..Variant::new(Stem::GradWeight) });
        let few = variant.bound == Bound::Few;
        let mut plan = Vec::new();
        for (m, rows) in rows_and_bias(inputs, part, few) {
            let held = rows.min(inputs - m.min(inputs));
            for (k, terms) in windows_or_one(inner, terms) {
                let [x, dy, y] = [x, dy, y].map(|view| self.window(view, element, k, terms));
                let dw = self.window(dw, element, m.min(inputs), held);
                let params = Params {
                    rows: rows as u32,
                    cols: cols as u32,
                    inner: terms as u32,
                    flags: if k == 0 { FIRST } else { 0 },
                    a_start: x.start + m as u32,
                    a_stride: x.stride,
                    b_start: dy.start,
                    b_stride: dy.stride,
                    c_start: y.start,
                    c_stride: y.stride,
                    d_start: dw.start,
                    d_stride: dw.stride,
                    first: if held < rows { held as u32 } else { u32::MAX },
                    count: db.start,
                    ..Params::default()
                }
                .with_dropout(&call.dropout, k, 0);
                let variant = Variant { part: terms < inner, ..variant };
                let output = if few && held == 0 { db } else { dw };
                plan.extend(self.product(
                    variant,
                    &[x, dy, y, output, db],
                    &[x, dy, y, dw],
                    params,
                )?);
            }
        }
        Ok(plan)
    }

    pub(in crate::gpu) fn grad_weight_sgd<'a>(
        &self,
        call: &GradWeightSgd<'_, View<'a>>,
    ) -> Result<Vec<Dispatch<'a>>> {
        call.check()?;
        let (x, dz, weight, bias) = (*call.x, *call.grad_z, *call.weight, *call.bias);
        let velocity = call.velocity.as_ref().map(|(weight, bias)| (**weight, **bias));
        let name = Stem::GradWeightSgd.name();
        let mut operands: Vec<Operand<'_>> =
            vec![read("x", x), read("grad_z", dz), write("weight", weight), write("bias", bias)];
        if let Some((of_weight, of_bias)) = velocity {
            operands
                .extend([write("weight's velocity", of_weight), write("bias's velocity", of_bias)]);
            if of_weight.rows > 1 && of_weight.stride != weight.stride {
                let what = format!(
                    "its rows are {} elements apart, the weight's {}",
                    of_weight.stride, weight.stride
                );
                return Err(Error::Buffer { kernel: name, tensor: "weight's velocity", what });
            }
        }
        check_operands(name, 4, &operands)?;
        let (inner, inputs, cols) = (x.rows, x.cols, dz.cols);
        let terms = self.sum_part(inner, &[("x", x.stride), ("grad_z", dz.stride)], 4)?;
        let part = self.weight_rows("weight", weight, terms)?;
        let bias = self.whole("bias", bias)?;
        let bias_velocity =
            velocity.map(|(_, bias)| self.whole("bias's velocity", bias)).transpose()?;
        let variant = self.bindable(Variant {
            momentum: velocity.is_some(),
            ..Variant::new(Stem::GradWeightSgd)
        });
        let few = variant.bound == Bound::Few;
        let mut plan = Vec::new();
        for (m, rows) in rows_and_bias(inputs, part, few) {
            let held = rows.min(inputs - m.min(inputs));
            let weight = self.window(weight, 4, m.min(inputs), held);
            let velocity = velocity
                .map(|(velocity, _)| self.window(velocity, 4, m.min(inputs), held))
                .zip(bias_velocity);
            for (k, terms) in windows_or_one(inner, terms) {
                let [x, dz] = [x, dz].map(|view| self.window(view, 4, k, terms));
                let (mut bound, mut wide) = (vec![x, dz, weight, bias], vec![x, dz, weight]);
                if let Some((weight, bias)) = velocity {
                    bound.extend([weight, bias]);
                    wide.push(weight);
                }
                // The first part of the batch changes the velocity and takes the penalties, and
                // where there is a velocity the last moves the weights.
                let (first, last) = (k == 0, k + terms == inner);
                let params = Params {
                    rows: rows as u32,
                    cols: cols as u32,
                    inner: terms as u32,
                    a_start: x.start + m as u32,
                    a_stride: x.stride,
                    b_start: dz.start,
                    b_stride: dz.stride,
                    c_start: velocity.map_or(0, |(weight, _)| weight.start),
                    c_stride: velocity.map_or(0, |(_, bias)| bias.start),
                    d_start: weight.start,
                    d_stride: weight.stride,
                    first: if held < rows { held as u32 } else { u32::MAX },
                    count: bias.start,
                    rate: if last || velocity.is_none() { call.rule.lr } else { 0.0 },
                    momentum: if first { call.rule.momentum } else { 1.0 },
                    decay: if first { call.rule.weight_decay } else { 0.0 },
                    l1: if first { call.rule.l1 } else { 0.0 },
                    ..Params::default()
                };
                if few && held == 0 {
                    (bound[2], bound[4]) = (bound[3], bound[5]);
                }
                plan.extend(self.product(variant, &bound, &wide, params)?);
            }
        }
        Ok(plan)
    }

    /// Terms of a sum in one dispatch, a term being a row of each of these tensors: see
    /// [`common_rows`](Self::common_rows).
    pub(super) fn sum_part(
        &self,
        total: usize,
        tensors: &[(&'static str, usize)],
        element: u64,
    ) -> Result<usize> {
        sum_part(total, self.common_rows(total, tensors, element)?.min(self.terms_per_dispatch()))
    }

    /// Rows of a weight gradient's dispatch, of the weight's rows and the bias's.
    fn weight_rows(&self, what: &'static str, weight: View<'_>, terms: usize) -> Result<usize> {
        let rows = weight.rows + 1;
        let part = self
            .common_rows(rows, &[(what, weight.stride)], weight.number())?
            .min(self.rows_per_budget(weight.cols, terms));
        Ok(if part < rows { (part / 4 * 4).max(1) } else { part })
    }

    /// A matrix product in this device's tile, with wide loads where every tensor of `wide` allows
    /// them.
    pub(super) fn product<'a>(
        &self,
        variant: Variant,
        bound: &[Window<'a>],
        wide: &[Window<'a>],
        params: Params,
    ) -> Result<Option<Dispatch<'a>>> {
        let (rows, cols) = (params.rows as usize, params.cols as usize);
        let tile = self.tiles.pick(variant.stem, rows, cols).for_result(rows, cols, variant.half);
        let eight = tile == Tile::Shuffle && variant.stem != Stem::GradInput && !variant.half;
        // A weight's rows and a bias that are bound at one place are taken number by number.
        let by_numbers = variant.bound == Bound::Few
            && matches!(variant.stem, Stem::GradWeight | Stem::GradWeightSgd);
        let width = if by_numbers { Width::Scalar } else { self.width(wide, &params, eight) };
        let variant = Variant { tile, width, ..variant };
        // Without parts side by side, all terms are of one part.
        let params = Params {
            terms: if params.terms == 0 { params.inner.max(1) } else { params.terms },
            ..params
        };
        let parts = u64::from(params.inner.div_ceil(params.terms).max(1));
        let workgroups = tile.workgroups(width, rows, cols);
        self.dispatch(variant, bound, params, workgroups * parts)
    }

    /// How wide the loads of a product can be; with `eight`, its tile has a form of 256-bit loads.
    pub(super) fn width(&self, wide: &[Window<'_>], params: &Params, eight: bool) -> Width {
        let starts = [params.a_start, params.b_start, params.d_start];
        let all = |n: u32| {
            wide.iter().all(|window| window.is_wide(n))
                && starts.iter().all(|start| start.is_multiple_of(n))
        };
        match () {
            () if eight && self.wide_loads() && all(8) => Width::Vec8,
            () if all(4) => Width::Vec4,
            () => Width::Scalar,
        }
    }
}

/// Windows of a weight gradient's rows, the bias gradient's after the last; `apart` where that is
/// to have a window of its own.
fn rows_and_bias(inputs: usize, most: usize, apart: bool) -> impl Iterator<Item = (usize, usize)> {
    windows(if apart { inputs } else { inputs + 1 }, most).chain(apart.then_some((inputs, 1)))
}

/// As [`windows`], but an empty sum is still one window, whose result is 0.
pub(super) fn windows_or_one(total: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    windows(total, most).chain((total == 0).then_some((0, 0)))
}

/// Terms of a partial sum: all of them, or a multiple of the largest tile's step.
pub(super) fn sum_part(total: usize, most: usize) -> Result<usize> {
    match most {
        most if most >= total => Ok(total),
        most if most >= 16 => Ok(most / 16 * 16),
        _ => Err(Error::TooLarge {
            what: "16 rows of a summed tensor, in rows that a binding holds".to_owned(),
            value: 16,
            bound: most as u64,
        }),
    }
}

/// Refuses sums in parts where the output, which holds them in between, would round them to f16.
pub(super) fn whole_in_half(terms: usize, total: usize, element: u64) -> Result<usize> {
    match element {
        2 if terms < total => {
            let what = "rows of a summed tensor of f16, which is not cut".to_owned();
            Err(Error::TooLarge { what, value: total as u64, bound: terms as u64 })
        }
        _ => Ok(terms),
    }
}

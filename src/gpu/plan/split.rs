//! Plans of products whose sums are cut in parts (see [`crate::order`]): one dispatch leaves the
//! parts side by side in a scratch buffer, a second one adds them and applies what follows the sum.
//!
//! Where the scratch is not a tensor of the call, a binding names no buffer: whoever records the
//! plan puts its own there.

use super::forward::Forward;
use super::product::sum_part;
use super::{Binding, Dispatch, Planner, Window, windows};
use crate::call::GradInput;
use crate::gpu::params::{BIAS, FIRST, LAST, Params, THROUGH};
use crate::gpu::stem::Stem;
use crate::gpu::variant::Variant;
use crate::gpu::view::View;
use crate::{Dropout, Result};

impl Planner {
    /// A forward product with sums cut in parts of `part` terms.
    pub(super) fn split_forward<'a>(
        &self,
        call: &Forward<'a>,
        part: usize,
        element: u64,
    ) -> Result<Vec<Dispatch<'a>>> {
        let (inner, all_cols) = (call.weight.rows, call.weight.cols);
        let parts = inner.div_ceil(part).max(1);
        let bias = call.bias.map(|bias| self.whole("bias", bias)).transpose()?;
        let most = self
            .common_rows(inner, &[("weight", call.weight.stride)], element)?
            .min(self.terms_per_dispatch());
        let pieces = pieces(inner, part, most)?;
        let rows = self.common_rows(call.y.rows, &call.strides(), element)?;
        let (rows, cols) = self.split_block(rows, all_cols, inner, parts);
        let mut plan = Vec::new();
        for (m, rows) in windows(call.y.rows, rows) {
            let epilogue = self.epilogue(call, element, m, rows);
            for (n, cols) in windows(all_cols, cols) {
                let x = self.window(call.x, element, m, rows);
                let scratch = scratch(parts * rows, cols);
                let block = Params { rows: rows as u32, cols: cols as u32, ..Params::default() };
                for &(k, terms) in &pieces {
                    let w = self.window(call.weight, element, k, terms);
                    let params = Params {
                        inner: terms as u32,
                        terms: part as u32,
                        flags: if k % part == 0 { FIRST } else { 0 },
                        a_start: x.start + k as u32,
                        a_stride: x.stride,
                        b_start: w.start + n as u32,
                        b_stride: w.stride,
                        d_start: (k / part * rows * cols) as u32,
                        d_stride: scratch.stride,
                        ..block
                    };
                    // A part knows nothing of what follows the sum.
                    let variant = Variant {
                        part: true,
                        half: element == 2,
                        ..Variant::new(Stem::LinearForward)
                    };
                    plan.extend(self.product(
                        variant,
                        &[x, w, w, scratch],
                        &[x, w, scratch],
                        params,
                    )?);
                }
                let params = Params {
                    inner: parts as u32,
                    flags: call.flags | LAST | if bias.is_some() { BIAS } else { 0 },
                    a_stride: scratch.stride,
                    c_start: bias.map_or(0, |bias| bias.start + n as u32),
                    ..block
                };
                let params = epilogue.params(params, n).with_dropout(&call.dropout, m, n);
                let wide: Vec<Window<'a>> = [scratch].into_iter().chain(epilogue.wide()).collect();
                plan.extend(self.join(
                    call.stem,
                    &epilogue.bound(call.stem, scratch, x, bias),
                    &wide,
                    params,
                )?);
            }
        }
        Ok(plan)
    }

    /// As `grad_input`, with sums cut in parts of `part` terms; a row of the weights fits a
    /// binding.
    pub(super) fn split_grad_input<'a>(
        &self,
        call: &GradInput<'_, View<'a>>,
        part: usize,
    ) -> Result<Vec<Dispatch<'a>>> {
        let (dy, weight, dx) = (*call.grad_output, *call.weight, *call.grad_input);
        let y = call.output.copied().unwrap_or(dy);
        let (x, rate) = call.through.map_or((dy, 0.0), |(x, scale)| (*x, scale));
        let (inner, all_cols, element) = (dy.cols, weight.rows, weight.number());
        let parts = inner.div_ceil(part).max(1);
        let cols = self.common_rows(all_cols, &[("weight", weight.stride)], element)?;
        let rows = self.common_rows(
            dx.rows,
            &[
                ("grad_output", dy.stride),
                ("output", y.stride),
                ("through", x.stride),
                ("grad_input", dx.stride),
            ],
            element,
        )?;
        let (rows, cols) = self.split_block(rows, cols, inner, parts);
        let mut plan = Vec::new();
        for (m, rows) in windows(dx.rows, rows) {
            for (n, cols) in windows(all_cols, cols) {
                let w = self.window(weight, element, n, cols);
                let [dy, y, x, dx] = [dy, y, x, dx].map(|view| self.window(view, element, m, rows));
                let scratch = scratch(parts * rows, cols);
                let block = Params { rows: rows as u32, cols: cols as u32, ..Params::default() };
                let params = Params {
                    inner: inner as u32,
                    terms: part as u32,
                    flags: FIRST,
                    a_start: w.start,
                    a_stride: w.stride,
                    b_start: dy.start,
                    b_stride: dy.stride,
                    c_start: y.start,
                    c_stride: y.stride,
                    d_stride: scratch.stride,
                    ..block
                }
                .with_dropout(&call.dropout, m, 0);
                let gate = self.gate(call.output.is_some(), &call.dropout);
                let variant = self.bindable(Variant {
                    gate,
                    part: true,
                    half: element == 2,
                    ..Variant::new(Stem::GradInput)
                });
                plan.extend(self.product(
                    variant,
                    &[w, dy, y, x, scratch],
                    &[w, dy, y, scratch],
                    params,
                )?);
                let params = Params {
                    inner: parts as u32,
                    flags: if call.through.is_some() { THROUGH } else { 0 },
                    a_stride: scratch.stride,
                    d_start: dx.start + n as u32,
                    d_stride: dx.stride,
                    first: x.start + n as u32,
                    count: x.stride,
                    rate,
                    ..block
                }
                .with_dropout(&Dropout::NONE, 0, 0);
                let wide =
                    if call.through.is_some() { &[scratch, x, dx][..] } else { &[scratch, dx] };
                plan.extend(self.join(Stem::GradInput, &[scratch, dy, y, x, dx], wide, params)?);
            }
        }
        Ok(plan)
    }

    /// Rows and columns of a result that are made at once: few enough for the budget, and for all
    /// their parts to fit a binding.
    fn split_block(&self, rows: usize, cols: usize, inner: usize, parts: usize) -> (usize, usize) {
        let least = rows.min(crate::order::FEW);
        let bytes = (self.binding - self.align - 4) as usize;
        let whole = |cols: usize| if cols < 64 { 64 } else { cols / 64 * 64 };
        let by_budget =
            usize::try_from(self.flops / (2 * (least * inner) as u64).max(1)).unwrap_or(usize::MAX);
        let cols = cols.min(whole(by_budget.min(bytes / (4 * parts * least).max(1))));
        let rows =
            rows.min(self.rows_per_budget(cols, inner)).min(bytes / (4 * parts * cols).max(1));
        (rows.max(1), cols)
    }

    /// The dispatch that adds the parts.
    fn join<'a>(
        &self,
        stem: Stem,
        bound: &[Window<'a>],
        wide: &[Window<'a>],
        params: Params,
    ) -> Result<Option<Dispatch<'a>>> {
        let half = wide.iter().any(|tensor| tensor.element == 2);
        let variant = self.bindable(Variant {
            join: true,
            half,
            width: self.width(wide, &params, false),
            ..Variant::new(stem)
        });
        let strips = u64::from(params.rows) * u64::from(params.cols.div_ceil(8));
        self.dispatch(variant, bound, params, strips.div_ceil(64))
    }
}

/// The scratch buffer's first rows.
pub(super) fn scratch<'a>(rows: usize, cols: usize) -> Window<'a> {
    let size = (4 * rows * cols) as u64;
    Window {
        binding: Binding { buffer: None, offset: 0, size: size.next_multiple_of(16) },
        start: 0,
        stride: cols as u32,
        cols: cols as u32,
        element: 4,
    }
}

/// Terms of each dispatch where a binding holds `most` rows of the weights: whole parts, or pieces
/// of one.
fn pieces(inner: usize, part: usize, most: usize) -> Result<Vec<(usize, usize)>> {
    // An empty sum is still made, of no terms.
    if inner == 0 {
        return Ok(vec![(0, 0)]);
    }
    if most >= part {
        let most = if most < inner { most / part * part } else { inner };
        return Ok(windows(inner, most).collect());
    }
    let piece = sum_part(part, most)?;
    let of_part = |(from, terms)| windows(terms, piece).map(move |(k, terms)| (from + k, terms));
    Ok(windows(inner, part).flat_map(of_part).collect())
}

#[cfg(test)]
mod tests {
    use super::pieces;

    #[test]
    fn pieces_are_whole_parts_or_lie_within_one() {
        assert_eq!(pieces(1000, 128, usize::MAX).unwrap(), [(0, 1000)]);
        assert_eq!(pieces(1000, 128, 300).unwrap(), [(0, 256), (256, 256), (512, 256), (768, 232)]);
        assert_eq!(
            pieces(300, 128, 100).unwrap(),
            [(0, 96), (96, 32), (128, 96), (224, 32), (256, 44)]
        );
        assert!(pieces(300, 128, 15).is_err());
    }
}

//! Split-K products, whose sums are cut into parts (see [`crate::order`]). One dispatch writes the
//! parts side by side into a scratch buffer; a second one adds them and applies the epilogue.
//!
//! The scratch buffer is not a tensor of the call, so its binding names no buffer. The recorder of
//! the plan substitutes its own.

use super::forward::{BIAS, FIRST, Forward, ForwardOwn, LAST};
use super::{Binding, Params, Plan, Planner, Stem, Variant, Window, Work, sum_part, windows};
use crate::Result;

impl Planner {
    /// Plans a forward product whose sums are cut into parts of `part` terms.
    pub(super) fn split_forward<'a>(
        &self,
        call: &Forward<'a>,
        part: usize,
        element: u64,
    ) -> Result<Plan<'a>> {
        let (inner, all_cols) = (call.weight.rows, call.weight.cols);
        let parts = inner.div_ceil(part).max(1);
        let bias = call.bias.map(|bias| self.whole("bias", bias)).transpose()?;
        let most = self
            .common_rows(inner, &[("weight", call.weight.stride)], element)?
            .min(self.terms_per_dispatch());
        let pieces = pieces(inner, part, most);
        let rows = self.common_rows(call.y.rows, &call.strides(), element)?;
        let (rows, cols) = self.split_block(rows, all_cols, inner, parts);
        // The dispatches that compute parts have no epilogue.
        let variant = Variant { half: element == 2, ..Variant::new(Stem::LinearForward) };
        let variant = variant.with("PART", "yes");
        let mut plan = Vec::new();
        for (m, rows) in windows(call.y.rows, rows) {
            let epilogue = self.epilogue(call, element, m, rows);
            for (n, cols) in windows(all_cols, cols) {
                let x = self.window(call.x, element, m, rows);
                let scratch = scratch(parts * rows, cols);
                let params = Params::of(rows, cols);
                for &(k, terms) in &pieces {
                    let x = x.after_col(k);
                    let w = self.window(call.weight, element, k, terms).after_col(n);
                    let to = Window { start: (k / part * rows * cols) as u32, ..scratch };
                    let own = ForwardOwn {
                        inner: terms as u32,
                        terms: part as u32,
                        flags: if k % part == 0 { FIRST } else { 0 },
                    };
                    let work = Work { variant, tensors: &[x, w, w, to], params, own, loops: 0 };
                    plan.extend(self.product(work, &[x, w, to])?);
                }
                let own = ForwardOwn {
                    inner: parts as u32,
                    terms: 0,
                    flags: call.flags | LAST | if bias.is_some() { BIAS } else { 0 },
                };
                let bias = bias.map(|bias| bias.after_col(n));
                let tensors = epilogue.tensors(call.stem, [scratch, x], bias, n);
                let wide: Vec<_> = [scratch].into_iter().chain(epilogue.wide(n)).collect();
                let params = params.with_dropout(&call.dropout, m, n);
                plan.extend(self.join(call.stem, (&tensors, &wide), params, own)?);
            }
        }
        Ok(plan)
    }

    /// Returns the number of rows and columns of the result that are computed at once. The block
    /// stays within the budget of operations, and all its parts fit a binding.
    pub(crate) fn split_block(
        &self,
        rows: usize,
        cols: usize,
        inner: usize,
        parts: usize,
    ) -> (usize, usize) {
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
}

/// Returns a window of the first `rows` rows of the scratch buffer, packed rows of `cols` sums.
pub(crate) fn scratch<'a>(rows: usize, cols: usize) -> Window<'a> {
    let size = (4 * rows * cols) as u64;
    Window {
        binding: Binding { buffer: None, offset: 0, size: size.next_multiple_of(16) },
        start: 0,
        stride: cols as u32,
        cols: cols as u32,
        element: 4,
    }
}

/// Returns the terms `(first, count)` of each dispatch that computes parts: whole parts, or pieces
/// of one part. A dispatch takes at most `most` terms, that is, rows of the weights.
fn pieces(inner: usize, part: usize, most: usize) -> Vec<(usize, usize)> {
    // An empty sum still takes a dispatch, of no terms.
    if inner == 0 {
        return vec![(0, 0)];
    }
    if most >= part {
        let most = if most < inner { most / part * part } else { inner };
        return windows(inner, most).collect();
    }
    let piece = sum_part(part, most);
    let of_part = |(from, terms)| windows(terms, piece).map(move |(k, terms)| (from + k, terms));
    windows(inner, part).flat_map(of_part).collect()
}

#[cfg(test)]
mod tests {
    use super::pieces;

    #[test]
    fn pieces_are_whole_parts_or_lie_within_one() {
        assert_eq!(pieces(1000, 128, usize::MAX), [(0, 1000)]);
        assert_eq!(pieces(1000, 128, 300), [(0, 256), (256, 256), (512, 256), (768, 232)]);
        assert_eq!(pieces(300, 128, 100), [(0, 96), (96, 32), (128, 96), (224, 32), (256, 44)]);
        assert_eq!(
            pieces(33, 16, 7),
            [(0, 4), (4, 4), (8, 4), (12, 4), (16, 4), (20, 4), (24, 4), (28, 4), (32, 1)]
        );
        assert_eq!(pieces(3, 2, 1), [(0, 1), (1, 1), (2, 1)]);
    }
}

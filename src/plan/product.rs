//! Matrix products: windows of their operands, and the tile and width of a dispatch.
//!
//! A product larger than a binding is cut along its rows, its columns or its terms, whichever the
//! tensor at fault has for rows. A sum in several dispatches continues from the partial sum that
//! the one before left, so its order stays one ascending chain.

use super::{
    Dispatch, Own, Params, Planner, Stem, Tile, View, Width, Window, Work, loops, windows,
};
use super::{Division, Variant};
use crate::{Error, Result};

/// Own words that every product has, whatever else it adds.
pub(crate) trait ProductOwn: Own {
    /// Terms of each sum in this dispatch; for a join, the number of parts.
    fn inner(&self) -> u32;
    /// Terms of each part of a sum if parts lie side by side, else 0 for all terms.
    fn terms(&mut self) -> &mut u32;
}

/// Implements [`ProductOwn`] for words named `inner` and `terms`.
macro_rules! product_own {
    ($name:ident) => {
        impl $crate::plan::ProductOwn for $name {
            fn inner(&self) -> u32 {
                self.inner
            }

            fn terms(&mut self) -> &mut u32 {
                &mut self.terms
            }
        }
    };
}
pub(crate) use product_own;

impl Planner {
    /// Returns the rows of a product's dispatch: as many as keep it under the budget, in whole
    /// tiles.
    pub(crate) fn rows_per_budget(&self, cols: usize, inner: usize) -> usize {
        let row = (2 * cols.max(1) as u64).saturating_mul(inner.max(1) as u64);
        usize::try_from(self.flops / row).unwrap_or(usize::MAX).max(64) / 64 * 64
    }

    /// Returns the terms of a sum in one dispatch, a term being a row of each of these tensors; see
    /// [`common_rows`](Self::common_rows).
    pub(crate) fn sum_part(
        &self,
        total: usize,
        tensors: &[(&'static str, usize)],
        element: u64,
    ) -> Result<usize> {
        let most = self.common_rows(total, tensors, element)?.min(self.terms_per_dispatch());
        Ok(sum_part(total, most))
    }

    /// Returns the rows of a weight gradient's dispatch, of the weight's rows and the bias's.
    pub(crate) fn weight_rows(
        &self,
        what: &'static str,
        weight: View<'_>,
        terms: usize,
    ) -> Result<usize> {
        let rows = weight.rows + 1;
        let part = self
            .common_rows(rows, &[(what, weight.stride)], weight.number())?
            .min(self.rows_per_budget(weight.cols, terms));
        Ok(if part < rows { (part / 4 * 4).max(1) } else { part })
    }

    /// Returns the dispatch of a product in this device's tile, with wide loads if every tensor of
    /// `wide` allows them. The work's loops are the product's own.
    pub(crate) fn product<'a, O: ProductOwn>(
        &self,
        work: Work<'_, 'a, O>,
        wide: &[Window<'a>],
    ) -> Result<Option<Dispatch<'a>>> {
        let Work { variant, params, mut own, .. } = work;
        let (rows, cols) = (params.rows as usize, params.cols as usize);
        let tile = self.tiles.pick(variant.stem, rows, cols).for_result(rows, cols, variant.half);
        let eight = tile == Tile::Shuffle && variant.stem != Stem::GradInput && !variant.half;
        // A weight's rows and a bias that are bound at one place are taken number by number.
        let by_numbers = variant.is("BOUND", "few")
            && matches!(variant.stem, Stem::GradWeight | Stem::GradWeightSgd);
        let width = if by_numbers { Width::Scalar } else { self.width(wide, eight) };
        // Without parts side by side, all terms are of one part.
        let inner = own.inner();
        let terms = own.terms();
        *terms = if *terms == 0 { inner.max(1) } else { *terms };
        let (parts, loops) =
            (inner.div_ceil(*terms).max(1), loops::of_product(inner.min(*terms).into()));
        let workgroups = tile.workgroups(width, rows, cols) * u64::from(parts);
        let variant = Variant { division: Division::Tile(tile), width, ..variant };
        self.dispatch(Work { variant, own, loops, ..work }, workgroups)
    }

    /// Returns the dispatch that adds the parts of a split sum.
    pub(crate) fn join<'a, O: ProductOwn>(
        &self,
        stem: Stem,
        (tensors, wide): (&[Window<'a>], &[Window<'a>]),
        params: Params,
        own: O,
    ) -> Result<Option<Dispatch<'a>>> {
        let half = wide.iter().any(|tensor| tensor.element == 2);
        let width = self.width(wide, false);
        let division = Division::Join;
        let variant = self.bindable(Variant { division, half, width, ..Variant::new(stem) });
        let strips = u64::from(params.rows) * u64::from(params.cols.div_ceil(8));
        let loops = u64::from(own.inner()) + loops::EPILOGUE;
        self.dispatch(Work { variant, tensors, params, own, loops }, strips.div_ceil(64))
    }

    /// Returns the width of a product's loads. With `eight`, its tile has a form of 256-bit loads.
    pub(crate) fn width(&self, wide: &[Window<'_>], eight: bool) -> Width {
        let all = |n: u32| wide.iter().all(|window| window.is_wide(n));
        match () {
            () if eight && self.wide_loads() && all(8) => Width::Vec8,
            () if all(4) => Width::Vec4,
            () => Width::Scalar,
        }
    }
}

/// Returns the windows of a weight gradient's rows, the bias gradient's after the last one; `apart`
/// if that has a window of its own.
pub(crate) fn rows_and_bias(
    inputs: usize,
    most: usize,
    apart: bool,
) -> impl Iterator<Item = (usize, usize)> {
    windows(if apart { inputs } else { inputs + 1 }, most).chain(apart.then_some((inputs, 1)))
}

/// As [`windows`], but an empty sum is still one window, whose result is 0.
pub(crate) fn windows_or_one(total: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    windows(total, most).chain((total == 0).then_some((0, 0)))
}

/// Returns the terms of a partial sum, of which a binding holds at least one: all of them, or as
/// many whole steps of the largest tile as a binding holds. If it holds less than one step, whole
/// vectors or single terms are slower, but right.
pub(crate) fn sum_part(total: usize, most: usize) -> usize {
    match most {
        most if most >= total => total,
        16.. => most / 16 * 16,
        4.. => most / 4 * 4,
        _ => most.max(1),
    }
}

/// Reason why sums of f16 are not cut: the output, which holds a sum in between, would round it.
pub(crate) const HALF_IS_UNCUT: &str = "a sum of f16 is not divided among dispatches";

impl Planner {
    /// Checks that one dispatch takes all rows of a summed tensor, given by its name and the bytes
    /// of a row. `why` says why the sum cannot be cut. A dispatch takes `held` of the `rows`.
    pub(crate) fn check_uncut(
        &self,
        (tensor, row): (&str, u64),
        [rows, held]: [usize; 2],
        why: &str,
    ) -> Result<()> {
        let bound = self.terms_per_dispatch();
        if held < rows && bound < rows {
            let what =
                format!("the number of terms of a sum ({why}, and llvmpipe ends long loops)");
            return Err(Error::TooLarge { what, value: rows as u64, bound: bound as u64 });
        }
        if held < rows {
            self.check_binding(format_args!("all of `{tensor}` ({why})"), rows as u64 * row)?;
        }
        Ok(())
    }
}

//! Windows: the rows of a tensor that one binding holds.

use super::{Binding, Planner, View};
use crate::{Error, Lack, Result};

/// Rows of a tensor bound for one dispatch: the bound range, and the element of the range at which
/// the rows start.
#[derive(Clone, Copy)]
pub(crate) struct Window<'a> {
    pub binding: Binding<'a>,
    pub start: u32,
    pub stride: u32,
    pub cols: u32,
    /// Size of an element in bytes.
    pub element: u64,
}

impl Window<'_> {
    /// Returns the window that starts `col` columns further right.
    pub fn after_col(self, col: usize) -> Self {
        Self { start: self.start + col as u32, ..self }
    }

    /// Returns true if every row consists of whole, aligned vectors of `elements` elements.
    pub fn is_wide(&self, elements: u32) -> bool {
        let bytes = self.element * u64::from(elements);
        [self.start, self.stride, self.cols].iter().all(|n| n.is_multiple_of(elements))
            && self.binding.size.is_multiple_of(bytes)
    }
}

impl Planner {
    /// Returns the number of rows that one binding holds, whatever the alignment of the first one.
    /// Rows are `stride` elements of `element` bytes apart.
    pub(crate) fn rows_per_binding(
        &self,
        what: &'static str,
        stride: usize,
        element: u64,
    ) -> Result<usize> {
        let row = (stride as u64 * element).max(1);
        self.check_binding(format_args!("a row of `{what}`"), row)?;
        let rows = self.binding.saturating_sub(self.align + 4) / row;
        Ok(usize::try_from(rows).unwrap_or(usize::MAX))
    }

    /// Checks that a binding holds `bytes`, whatever the alignment of the first one.
    pub(crate) fn check_binding(&self, what: std::fmt::Arguments<'_>, bytes: u64) -> Result<()> {
        let (has, needs) = (self.binding, bytes.saturating_add(self.align + 4));
        if needs <= has {
            return Ok(());
        }
        let lack = Lack { limit: "max_storage_buffer_binding_size", has, needs };
        Err(Error::Limit { what: format!("{what} in one binding"), lack })
    }

    /// Returns the window of `rows` rows from row `from` on. If the whole tensor fits a binding, it
    /// is bound whole, so that all windows of the tensor share one binding.
    pub(crate) fn window<'a>(
        &self,
        view: View<'a>,
        element: u64,
        from: usize,
        rows: usize,
    ) -> Window<'a> {
        let row = view.stride as u64 * element;
        // An empty window at the tensor's end would start past its buffer, so it is bound at the
        // tensor's start; an empty tensor, at the buffer's.
        let from = if rows == 0 { 0 } else { from };
        let offset = if view.extent(element) == 0 { 0 } else { view.offset };
        let view = View { offset, ..view };
        let (whole_from, whole_rows) = match row * view.rows as u64 + self.align + 4 <= self.binding
        {
            true => (0, view.rows),
            false => (from, rows),
        };
        let begin = view.offset + whole_from as u64 * row;
        let offset = begin - begin % self.align;
        let end = begin + View { rows: whole_rows, ..view }.extent(element).max(4);
        Window {
            binding: Binding {
                buffer: Some(view.buffer),
                offset,
                size: end.next_multiple_of(4) - offset,
            },
            start: ((view.offset + from as u64 * row - offset) / element) as u32,
            stride: view.stride as u32,
            cols: view.cols as u32,
            element,
        }
    }

    /// Returns the window of a whole tensor, which must fit one binding.
    pub(crate) fn whole<'a>(&self, what: &'static str, view: View<'a>) -> Result<Window<'a>> {
        self.check_binding(format_args!("all of `{what}`"), view.extent(view.number()))?;
        Ok(self.window(view, view.number(), 0, view.rows))
    }

    /// Returns the number of rows that a binding can hold of every tensor in `tensors`, at most
    /// `total`. Each tensor is given by its name and the distance between its rows, in elements of
    /// `element` bytes.
    pub(crate) fn common_rows(
        &self,
        total: usize,
        tensors: &[(&'static str, usize)],
        element: u64,
    ) -> Result<usize> {
        tensors.iter().try_fold(total, |rows, &(name, stride)| {
            Ok(rows.min(self.rows_per_binding(name, stride, element)?))
        })
    }
}

/// Cuts `total` into windows `(start, length)` of at most `most`. Yields none if `total` is 0.
pub(crate) fn windows(total: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..total).step_by(most.max(1)).map(move |from| (from, most.min(total - from)))
}

//! Tensors as ranges of a caller's buffers.

use crate::{Error, Matrix, Result};

/// Row-major matrix in a range of a [`wgpu::Buffer`], which kernels on a caller's own device read
/// and write.
///
/// The elements are f32 or u32 (4 bytes each), bytes if the kernel says so, or f16 by
/// [`half`](Self::half). The buffer requires the usage STORAGE only. Tensors of a call may be
/// ranges of one buffer, as in engines that sub-allocate. A kernel's output must not share an
/// element with another of its tensors, unless the call's documentation allows it to be in place.
///
/// Views are passed by value, also by helpers of a caller's own:
///
/// ```no_run
/// use wgpu_dropout::gpu::{Kernels, Prepared, View};
/// use wgpu_dropout::{Dropout, Result, call::DropoutCall};
///
/// fn drop(kernels: &Kernels, x: View<'_>, y: View<'_>, dropout: Dropout) -> Result<Prepared> {
///     kernels.prepare(&DropoutCall { x, y, dropout })
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View<'a> {
    /// Buffer that holds the matrix.
    pub buffer: &'a wgpu::Buffer,
    /// Offset of the first element in bytes, a multiple of 4.
    pub offset: u64,
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
    /// Elements from the start of a row to the start of the next, at least [`cols`](Self::cols).
    pub stride: usize,
    /// True if numbers are stored as f16, for the kernels that take them: dropout and matrix
    /// products. They compute in f32.
    pub half: bool,
}

impl<'a> View<'a> {
    /// Returns a view of a matrix that starts at the buffer's first byte, its rows without gaps.
    pub fn new(buffer: &'a wgpu::Buffer, rows: usize, cols: usize) -> Self {
        Self { buffer, offset: 0, rows, cols, stride: cols, half: false }
    }

    /// Returns the view moved to byte `offset` of the buffer.
    pub fn at(self, offset: u64) -> Self {
        Self { offset, ..self }
    }

    /// Returns the view with rows that start `stride` elements apart: a range of the columns of a
    /// wider matrix. Elements between rows are neither read nor written.
    ///
    /// A kernel that takes a tensor as one run of elements refuses gaps, with [`Error::Buffer`];
    /// the page on embedding lists these tensors.
    pub fn strided(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    /// Returns the view with numbers of f16, 2 bytes each.
    pub fn half(self) -> Self {
        Self { half: true, ..self }
    }

    /// Returns the size of a number in bytes.
    pub(crate) fn number(&self) -> u64 {
        if self.half { 2 } else { 4 }
    }

    /// Returns the bytes from the start of the first element to the end of the last one, if each
    /// has `element` bytes.
    pub(crate) fn extent(&self, element: u64) -> u64 {
        match (self.rows, self.cols) {
            (0, _) | (_, 0) => 0,
            (rows, cols) => ((rows - 1) * self.stride + cols) as u64 * element,
        }
    }

    /// Returns true if both views have the same elements at the same places.
    pub(crate) fn is_same(&self, other: &View<'_>) -> bool {
        self == other || self.rows <= 1 && View { stride: other.stride, ..*self } == *other
    }

    /// Returns true if the two views share a byte, given the size of each one's elements in bytes.
    pub(crate) fn overlaps(&self, element: u64, other: &View<'_>, others_element: u64) -> bool {
        let ours = self.extent(element);
        let theirs = other.extent(others_element);
        if ours == 0
            || theirs == 0
            || self.buffer != other.buffer
            || self.offset + ours <= other.offset
            || other.offset + theirs <= self.offset
        {
            return false;
        }
        // Two ranges of the columns of a wider matrix may lie side by side and share nothing.
        let [left, right] = if self.offset <= other.offset { [self, other] } else { [other, self] };
        let distance = right.offset - left.offset;
        let row = self.stride as u64;
        let alike = self.stride == other.stride
            && element == others_element
            && distance.is_multiple_of(element);
        let column = distance / element % row.max(1);
        !(alike && left.cols as u64 <= column && column + right.cols as u64 <= row)
    }

    /// Checks that a kernel can bind the view. f16 requires elements of 2 bytes, and only f16 has
    /// them.
    ///
    /// # Errors
    /// [`Error::Buffer`], which says what is wrong; [`Error::TooLarge`] if the extent overflows.
    pub(crate) fn check(
        &self,
        kernel: &'static str,
        tensor: &'static str,
        element: u64,
    ) -> Result<()> {
        let fail = |what: String| Err(Error::Buffer { kernel, tensor, what });
        if self.half != (element == 2) {
            let [is, wanted] = if self.half {
                ["f16", "no f16"]
            } else {
                ["no f16", "f16, as the first tensor of the call"]
            };
            return fail(format!("it holds {is}; the kernel takes {wanted} here"));
        }
        if !self.buffer.usage().contains(wgpu::BufferUsages::STORAGE) {
            return fail("it lacks the usage STORAGE".to_owned());
        }
        if !self.offset.is_multiple_of(4) {
            return fail(format!("offset {} is not a multiple of 4", self.offset));
        }
        if self.stride < self.cols {
            return fail(format!("rows of {} elements are {} apart", self.cols, self.stride));
        }
        // Refuses sizes that would overflow in the computation of the extent.
        crate::shape::elements(tensor, self.rows, self.stride)?;
        let (bytes, size) = (self.extent(element), self.buffer.size());
        let end = self.offset.checked_add(bytes.next_multiple_of(4));
        if end.is_none_or(|end| end > size) {
            return fail(format!(
                "{bytes} bytes from {} on do not fit its size of {size}",
                self.offset
            ));
        }
        // An empty matrix is still bound, somewhere in its buffer.
        if size < 4 {
            return fail(format!("its size is {size}, and a kernel binds at least 4 bytes"));
        }
        Ok(())
    }

    /// Returns true if rows have no gaps.
    pub(crate) fn is_packed(&self) -> bool {
        self.rows <= 1 || self.stride == self.cols
    }

    /// Checks that rows have no gaps, for a kernel that takes a tensor as one run of elements.
    ///
    /// # Errors
    /// [`Error::Buffer`] if rows have gaps.
    pub(crate) fn check_packed(&self, kernel: &'static str, tensor: &'static str) -> Result<()> {
        if self.is_packed() {
            Ok(())
        } else {
            let what = format!(
                "rows of {} elements are {} apart; the kernel requires rows without gaps",
                self.cols, self.stride
            );
            Err(Error::Buffer { kernel, tensor, what })
        }
    }
}

impl Matrix for View<'_> {
    fn rows(&self) -> usize {
        self.rows
    }

    fn cols(&self) -> usize {
        self.cols
    }
}

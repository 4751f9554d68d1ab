//! A tensor as a range of somebody's buffer.

use crate::{Error, Matrix, Result};

/// A row-major matrix in a range of a [`wgpu::Buffer`]: what kernels on a caller's own device read
/// and write.
///
/// The elements are f32 or u32 (4 bytes), or bytes where a kernel says so, or f16 by
/// [`half`](Self::half). STORAGE is all the usage that the buffer needs. Tensors of a call may be
/// ranges of one buffer, as engines that sub-allocate have them: a kernel's output shares no
/// element with another of its tensors, but for what a call says may be in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View<'a> {
    /// The buffer.
    pub buffer: &'a wgpu::Buffer,
    /// Byte at which the first element lies, a multiple of 4.
    pub offset: u64,
    /// Rows of the matrix.
    pub rows: usize,
    /// Columns of the matrix.
    pub cols: usize,
    /// Elements from the start of a row to that of the next, at least [`cols`](Self::cols).
    pub stride: usize,
    /// Whether numbers are stored as f16, for the kernels that take them: dropout and matrix
    /// products. They compute in f32.
    pub half: bool,
}

impl<'a> View<'a> {
    /// A matrix that starts at the buffer's first byte, its rows without a gap.
    pub fn new(buffer: &'a wgpu::Buffer, rows: usize, cols: usize) -> Self {
        Self { buffer, offset: 0, rows, cols, stride: cols, half: false }
    }

    /// The same matrix at another byte of the buffer.
    pub fn at(self, offset: u64) -> Self {
        Self { offset, ..self }
    }

    /// The same matrix with rows that start `stride` elements apart: a range of the columns of a
    /// wider one. What lies between rows is neither read nor written.
    pub fn strided(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    /// The same range as f16, 2 bytes a number.
    pub fn half(self) -> Self {
        Self { half: true, ..self }
    }

    /// Bytes of a number.
    pub(crate) fn number(&self) -> u64 {
        if self.half { 2 } else { 4 }
    }

    /// Bytes from the first element to the end of the last one, each `element` bytes.
    pub(crate) fn extent(&self, element: u64) -> u64 {
        match (self.rows, self.cols) {
            (0, _) | (_, 0) => 0,
            (rows, cols) => ((rows - 1) * self.stride + cols) as u64 * element,
        }
    }

    /// Whether a buffer holds the same elements at the same places.
    pub(crate) fn is_same(&self, other: &View<'_>) -> bool {
        self == other || self.rows <= 1 && View { stride: other.stride, ..*self } == *other
    }

    /// Whether the two have a byte in common, where each is of elements of so many bytes.
    pub(crate) fn overlaps(&self, element: u64, other: &View<'_>, others_element: u64) -> bool {
        let (ours, theirs) = (self.extent(element), other.extent(others_element));
        if self.buffer != other.buffer
            || self.offset + ours <= other.offset
            || other.offset + theirs <= self.offset
        {
            return false;
        }
        // Two ranges of the columns of one wider matrix lie side by side.
        let [left, right] = if self.offset <= other.offset { [self, other] } else { [other, self] };
        let (distance, row) = (right.offset - left.offset, self.stride as u64);
        let alike = self.stride == other.stride
            && element == others_element
            && distance.is_multiple_of(element);
        let column = distance / element % row.max(1);
        !(alike && left.cols as u64 <= column && column + right.cols as u64 <= row)
    }

    /// Refuses what no kernel could bind, and f16 where `element` is another size.
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
            return fail(format!("it holds {is}, the kernel takes {wanted} here"));
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
        // What could overflow while the extent is computed.
        crate::shape::elements(tensor, self.rows, self.stride)?;
        let bytes = self.extent(element);
        // An empty matrix is still bound, so it needs one word.
        let end = self.offset.checked_add(bytes.max(4).next_multiple_of(4));
        if end.is_none_or(|end| end > self.buffer.size()) {
            return fail(format!(
                "{bytes} bytes from {} on do not fit its size of {}",
                self.offset,
                self.buffer.size()
            ));
        }
        Ok(())
    }

    /// Refuses rows with gaps, for a kernel that takes a tensor as one run of elements.
    pub(crate) fn check_packed(&self, kernel: &'static str, tensor: &'static str) -> Result<()> {
        match self.rows <= 1 || self.stride == self.cols {
            true => Ok(()),
            false => {
                let what = format!(
                    "rows of {} elements are {} apart, the kernel takes none with gaps",
                    self.cols, self.stride
                );
                Err(Error::Buffer { kernel, tensor, what })
            }
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

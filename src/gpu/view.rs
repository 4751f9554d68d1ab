//! A tensor as a range of somebody's buffer.

use crate::{Error, Matrix, Result};

/// A row-major matrix in a range of a [`wgpu::Buffer`]: what kernels on a caller's own device read and write.
///
/// The elements are f32 or u32 (4 bytes), or bytes where a kernel says so, or f16 by [`half`](Self::half). STORAGE is all the usage that the
/// buffer needs.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The buffer.
    pub buffer: &'a wgpu::Buffer,
    /// Byte at which the first element lies, a multiple of 4.
    pub offset: u64,
    /// Rows of the matrix.
    pub rows: usize,
    /// Columns of the matrix; rows follow one another without a gap.
    pub cols: usize,
    /// Whether numbers are stored as f16, for the kernels that take them: dropout and matrix products. They compute in f32.
    pub half: bool,
}

impl<'a> View<'a> {
    /// A matrix that starts at the buffer's first byte.
    pub fn new(buffer: &'a wgpu::Buffer, rows: usize, cols: usize) -> Self {
        Self { buffer, offset: 0, rows, cols, half: false }
    }

    /// The same matrix at another byte of the buffer.
    pub fn at(self, offset: u64) -> Self {
        Self { offset, ..self }
    }

    /// The same range as f16, 2 bytes a number.
    pub fn half(self) -> Self {
        Self { half: true, ..self }
    }

    /// Bytes of a number.
    pub(super) fn number(&self) -> u64 {
        if self.half { 2 } else { 4 }
    }

    /// Refuses what no kernel could bind, and f16 where `element` is another size.
    pub(super) fn check(&self, kernel: &'static str, tensor: &'static str, element: u64) -> Result<()> {
        let fail = |what: String| Err(Error::Buffer { kernel, tensor, what });
        if self.half != (element == 2) {
            let [is, wanted] = if self.half { ["f16", "no f16"] } else { ["no f16", "f16, as the first tensor of the call"] };
            return fail(format!("it holds {is}, the kernel takes {wanted} here"));
        }
        if !self.buffer.usage().contains(wgpu::BufferUsages::STORAGE) {
            return fail("it lacks the usage STORAGE".to_owned());
        }
        if !self.offset.is_multiple_of(4) {
            return fail(format!("offset {} is not a multiple of 4", self.offset));
        }
        let bytes = crate::shape::elements(tensor, self.rows, self.cols)? as u64 * element;
        // An empty matrix is still bound, so it needs one word.
        let end = self.offset.checked_add(bytes.max(4).next_multiple_of(4));
        if end.is_none_or(|end| end > self.buffer.size()) {
            return fail(format!("{bytes} bytes from {} on do not fit its size of {}", self.offset, self.buffer.size()));
        }
        Ok(())
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

//! Matrices in buffers of a [`Gpu`](super::Gpu).

use super::guard::Guard;
use crate::backend::Element;
use crate::plan::View;
use crate::{Error, Lack, Matrix, Result, shape::elements};
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

/// Buffers whose tensors were dropped, so that objects cached for them can be dropped too.
pub(super) type Retired = Arc<Mutex<Vec<wgpu::Buffer>>>;

/// Row-major matrix in device memory.
#[derive(Debug)]
pub struct GpuTensor<T> {
    rows: usize,
    cols: usize,
    pub(super) buffer: wgpu::Buffer,
    retired: Retired,
    element: PhantomData<T>,
}

impl<T: Element> GpuTensor<T> {
    /// Allocates a matrix of zeros.
    ///
    /// # Errors
    /// - [`Error::TooLarge`] past what this machine can address.
    /// - [`Error::Limit`] past the largest buffer of the device.
    /// - [`Error::OutOfMemory`].
    /// - [`Error::Device`] if the device was lost.
    pub(super) fn zeros(
        guard: &Guard,
        retired: &Retired,
        rows: usize,
        cols: usize,
    ) -> Result<Self> {
        let bytes = elements("tensor", rows, cols)? as u64 * size_of::<T>() as u64;
        // A whole number of vectors and at least one: an empty matrix is still bound.
        let size = bytes.next_multiple_of(16).max(16);
        let has = guard.device().limits().max_buffer_size;
        if size > has {
            let lack = Lack { limit: "max_buffer_size", has, needs: size };
            return Err(Error::Limit { what: format!("a {rows}×{cols} tensor"), lack });
        }
        let descriptor = wgpu::BufferDescriptor {
            label: Some("wgpu-dropout tensor"),
            size,
            usage: wgpu::BufferUsages::STORAGE
                | wgpu::BufferUsages::COPY_SRC
                | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        };
        let buffer = guard.buffer(&descriptor)?;
        Ok(Self { rows, cols, buffer, retired: retired.clone(), element: PhantomData })
    }

    /// Returns the size of the matrix in bytes, without padding.
    pub(super) fn bytes(&self) -> u64 {
        (self.rows * self.cols * size_of::<T>()) as u64
    }

    /// Returns a view of the tensor for kernels.
    pub fn view(&self) -> View<'_> {
        View::new(&self.buffer, self.rows, self.cols)
    }
}

impl<T> Drop for GpuTensor<T> {
    fn drop(&mut self) {
        self.retired.lock().unwrap_or_else(PoisonError::into_inner).push(self.buffer.clone());
    }
}

impl<T> Matrix for GpuTensor<T> {
    fn rows(&self) -> usize {
        self.rows
    }

    fn cols(&self) -> usize {
        self.cols
    }
}

//! Matrix products on all threads, by the `gemm` crate.
//!
//! Measured against the loops of the reference for 128×784 by 784×1024 on two cores: see `bench`. `unsafe` is one call, whose pointers and
//! strides the checks before it keep inside the slices.
#![allow(unsafe_code)]

use gemm::Parallelism;

/// A row-major matrix, or its transpose.
#[derive(Clone, Copy)]
pub(super) struct Factor<'a> {
    values: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> Factor<'a> {
    /// `values` as `rows × cols`.
    pub fn new(values: &'a [f32], rows: usize, cols: usize) -> Self {
        assert_eq!(values.len(), rows * cols);
        Self { values, rows, cols, row_stride: cols, col_stride: 1 }
    }

    /// The transpose.
    pub fn transposed(self) -> Self {
        Self { rows: self.cols, cols: self.rows, row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }
}

/// `product = a·b`, row-major.
pub(super) fn matmul(a: Factor<'_>, b: Factor<'_>, product: &mut [f32]) {
    assert_eq!((a.cols, product.len()), (b.rows, a.rows * b.cols));
    if a.cols == 0 || product.is_empty() {
        product.fill(0.0);
        return;
    }
    // Below this a second thread costs more than it brings.
    let work = a.rows * a.cols * b.cols;
    let parallelism = if work < 1 << 18 { Parallelism::None } else { Parallelism::Rayon(0) };
    // SAFETY: each factor's rows and columns span exactly its slice by construction, and `product` holds a.rows × b.cols elements.
    // `read_dst` is false, so what `product` held is not looked at.
    unsafe {
        gemm::gemm(
            a.rows,
            b.cols,
            a.cols,
            product.as_mut_ptr(),
            1,
            b.cols as isize,
            false,
            a.values.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.values.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            0.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
    if a.cols <= 2 || a.rows == 1 || b.cols == 1 {
        // A sum starts from +0, but `gemm` starts short ones, and products with a vector, from their first product, which may be −0.
        product.iter_mut().for_each(|element| *element += 0.0);
    }
}

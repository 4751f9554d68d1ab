//! Sizes: products that cannot overflow, and the shape that every tensor has.

use crate::{Error, Result};

/// A row-major matrix of any backend: a tensor of any rank seen as rows × cols.
pub trait Matrix {
    /// Returns the product of the leading dimensions.
    fn rows(&self) -> usize;
    /// Returns the last dimension.
    fn cols(&self) -> usize;
}

impl<M: Matrix + ?Sized> Matrix for &M {
    fn rows(&self) -> usize {
        (**self).rows()
    }

    fn cols(&self) -> usize {
        (**self).cols()
    }
}

impl<M: Matrix + ?Sized> Matrix for &mut M {
    fn rows(&self) -> usize {
        (**self).rows()
    }

    fn cols(&self) -> usize {
        (**self).cols()
    }
}

/// Returns the number of elements of a `rows × cols` tensor.
///
/// # Errors
/// [`Error::TooLarge`] if the product exceeds `isize::MAX / 8`.
pub fn elements(what: &str, rows: usize, cols: usize) -> Result<usize> {
    rows.checked_mul(cols).filter(|&n| n <= isize::MAX as usize / 8).ok_or_else(|| {
        Error::TooLarge {
            what: format!("{what} {rows}×{cols}"),
            value: u64::MAX,
            bound: isize::MAX as u64 / 8,
        }
    })
}

/// Checks that a tensor has the expected shape.
pub(crate) fn expect(
    kernel: &'static str,
    name: &str,
    tensor: &(impl Matrix + ?Sized),
    rows: usize,
    cols: usize,
) -> Result<()> {
    if (tensor.rows(), tensor.cols()) == (rows, cols) {
        return Ok(());
    }
    Err(Error::shape(
        kernel,
        format!("{name} is {}×{}, expected {rows}×{cols}", tensor.rows(), tensor.cols()),
    ))
}

//! Sizes: products that cannot overflow, and the shape that every tensor has.

use crate::{Error, Result};

/// A row-major matrix of any backend: a tensor of any rank seen as rows × cols.
pub trait Matrix {
    /// The product of the leading dimensions.
    fn rows(&self) -> usize;
    /// The last dimension.
    fn cols(&self) -> usize;
}

/// The number of elements of a `rows × cols` tensor.
///
/// # Errors
/// [`Error::TooLarge`] where the product overflows the machine's word.
pub fn elements(what: &str, rows: usize, cols: usize) -> Result<usize> {
    rows.checked_mul(cols).filter(|&n| n <= isize::MAX as usize / 8).ok_or_else(|| {
        Error::TooLarge {
            what: format!("{what} {rows}×{cols}"),
            value: u64::MAX,
            bound: isize::MAX as u64 / 8,
        }
    })
}

/// Refuses a tensor whose shape is not the one expected.
pub(crate) fn expect(
    kernel: &'static str,
    name: &str,
    tensor: &impl Matrix,
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

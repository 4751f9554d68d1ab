//! Calls of dropout's other forms: a mask that is broadcast or given, alpha and Gaussian dropout;
//! and the mask as bytes.

use crate::shape::{Matrix, expect};
use crate::{AlphaDropout, AxisMap, Dropout, Error, GaussianDropout, Mask, Result};

/// `y = M·s·x` with a mask that is broadcast: the element at `(row, col)` of an [`AxisMap`] is kept
/// where the mask's is. On `dy` it is its own backward pass.
#[derive(Debug)]
pub struct DropoutBroadcast<'a, T> {
    /// Input, a matrix of as many elements as the map's tensor has, in the same order.
    pub x: &'a T,
    /// Output, the input's shape.
    pub y: &'a mut T,
    /// Which axes feed the mask's rows and columns.
    pub axes: &'a AxisMap,
    /// Mask, of which the offsets are in rows and columns of the map, and scale.
    pub dropout: Dropout,
}

impl<T: Matrix> DropoutBroadcast<'_, T> {
    pub(crate) fn check(&self) -> Result<()> {
        let (kernel, rows, cols) = ("dropout_broadcast", self.x.rows(), self.x.cols());
        if rows.checked_mul(cols) != Some(self.axes.elements()) {
            return Err(Error::shape(
                kernel,
                format!("x is {rows}×{cols}, expected the elements of {:?}", self.axes.shape()),
            ));
        }
        expect(kernel, "y", self.y, rows, cols)?;
        self.dropout.mask.check(self.axes.rows(), self.axes.cols())
    }
}

/// `y = M·s·x` with a mask that is given, a bit an element as [`MaskBits`](super::MaskBits) writes
/// it. On `dy` it is its own backward pass.
///
/// For masks from elsewhere: of another library, of an ensemble's members, of a structure learnt.
/// What is dropped is 0 by selection.
#[derive(Debug)]
pub struct DropoutBits<'a, T, U> {
    /// Input, any shape.
    pub x: &'a T,
    /// `[rows, ⌈cols / 32⌉]`: element (r, c) is kept where bit c % 32 of word c / 32 of row r is
    /// 1. Bits past the columns are not looked at.
    pub bits: &'a U,
    /// Output, the input's shape.
    pub y: &'a mut T,
    /// What kept elements are multiplied by.
    pub scale: f32,
}

impl<T: Matrix, U: Matrix> DropoutBits<'_, T, U> {
    pub(crate) fn check(&self) -> Result<()> {
        let (kernel, rows, cols) = ("dropout_bits", self.x.rows(), self.x.cols());
        expect(kernel, "bits", self.bits, rows, cols.div_ceil(32))?;
        expect(kernel, "y", self.y, rows, cols)
    }
}

/// The mask as bytes, 1 where an element is kept, else 0; row-major, without a gap.
#[derive(Debug)]
pub struct MaskBytes<'a, V> {
    /// Output `[rows, cols]`.
    pub bytes: &'a mut V,
    /// What is drawn.
    pub mask: Mask,
}

impl<V: Matrix> MaskBytes<'_, V> {
    pub(crate) fn check(&self) -> Result<()> {
        self.mask.check(self.bytes.rows(), self.bytes.cols())
    }
}

/// `y = a·x + b` where the mask keeps, else `a·α' + b`: see [`AlphaDropout`]. The backward pass is
/// a [`DropoutCall`](super::DropoutCall) with [`AlphaDropout::backward`].
#[derive(Debug)]
pub struct AlphaDropoutCall<'a, T> {
    /// Input, any shape.
    pub x: &'a T,
    /// Output, the input's shape.
    pub y: &'a mut T,
    /// Mask and factors.
    pub dropout: AlphaDropout,
}

impl<T: Matrix> AlphaDropoutCall<'_, T> {
    pub(crate) fn check(&self) -> Result<()> {
        expect("alpha_dropout", "y", self.y, self.x.rows(), self.x.cols())?;
        self.dropout.mask.check(self.x.rows(), self.x.cols())
    }
}

/// `y = x·(1 + σ·n)`: see [`GaussianDropout`]. On `dy` it is its own backward pass.
#[derive(Debug)]
pub struct GaussianDropoutCall<'a, T> {
    /// Input, any shape.
    pub x: &'a T,
    /// Output, the input's shape.
    pub y: &'a mut T,
    /// Where the noise is drawn from, and its size.
    pub dropout: GaussianDropout,
}

impl<T: Matrix> GaussianDropoutCall<'_, T> {
    pub(crate) fn check(&self) -> Result<()> {
        expect("gaussian_dropout", "y", self.y, self.x.rows(), self.x.cols())?;
        self.dropout.mask().check(self.x.rows(), self.x.cols())
    }
}

//! Calls of the other forms of dropout: broadcast and given masks, alpha and Gaussian dropout, and
//! the mask as bytes.

use crate::shape::{Matrix, expect};
use crate::{AlphaDropout, AxisMap, Dropout, Error, GaussianDropout, Mask, Result};

/// Dropout with a broadcast mask: `y = M·s·x`.
///
/// An element of `x` is kept if the mask keeps the `(row, col)` to which its [`AxisMap`] maps it.
/// Applied to `dy`, the same call is its own backward pass.
///
/// Source: the mask contract, [`crate::mask`]; [`AxisMap`] names the source of each broadcast.
#[derive(Debug)]
pub struct DropoutBroadcast<'a, T> {
    /// Input: a matrix with as many elements as the map's tensor, in the same order.
    pub x: &'a T,
    /// Output, the input's shape.
    pub y: &'a mut T,
    /// Axes that feed the mask's rows and columns.
    pub axes: &'a AxisMap,
    /// Mask and scale. The mask's offsets count rows and columns of the map.
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

/// Dropout with a given mask, one bit per element as [`MaskBits`](super::MaskBits) writes it:
/// `y = M·s·x`.
///
/// Applied to `dy`, the same call is its own backward pass. It serves masks that this crate does
/// not draw: those of another library, of an ensemble's members, or of a learned structure. A
/// dropped element is 0 by selection.
///
/// Source: as [`DropoutCall`](super::DropoutCall).
#[derive(Debug)]
pub struct DropoutBits<'a, T, U> {
    /// Input, any shape.
    pub x: &'a T,
    /// `[rows, ⌈cols / 32⌉]`: element (r, c) is kept if bit `c % 32` of word `c / 32` of row r is
    /// 1. Bits past the last column are ignored.
    pub bits: &'a U,
    /// Output, the input's shape.
    pub y: &'a mut T,
    /// Factor of the kept elements.
    pub scale: f32,
}

impl<T: Matrix, U: Matrix> DropoutBits<'_, T, U> {
    pub(crate) fn check(&self) -> Result<()> {
        let (kernel, rows, cols) = ("dropout_bits", self.x.rows(), self.x.cols());
        expect(kernel, "bits", self.bits, rows, cols.div_ceil(32))?;
        expect(kernel, "y", self.y, rows, cols)
    }
}

/// The mask as bytes: 1 for a kept element, else 0; row-major, without gaps.
#[derive(Debug)]
pub struct MaskBytes<'a, V> {
    /// Output `[rows, cols]`.
    pub bytes: &'a mut V,
    /// Mask to draw.
    pub mask: Mask,
}

impl<V: Matrix> MaskBytes<'_, V> {
    pub(crate) fn check(&self) -> Result<()> {
        self.mask.check(self.bytes.rows(), self.bytes.cols())
    }
}

/// Alpha dropout: `y = a·x + b` for a kept element, else `y = a·α' + b`.
///
/// [`AlphaDropout`] gives the factors and their source. The backward pass is a
/// [`DropoutCall`](super::DropoutCall) with [`AlphaDropout::backward`].
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

/// Gaussian dropout: `y = x·(1 + σ·n)` with standard normal noise `n`.
///
/// Applied to `dy`, the same call is its own backward pass. [`GaussianDropout`] defines the noise
/// and names its source.
#[derive(Debug)]
pub struct GaussianDropoutCall<'a, T> {
    /// Input, any shape.
    pub x: &'a T,
    /// Output, the input's shape.
    pub y: &'a mut T,
    /// Noise: its key and standard deviation.
    pub dropout: GaussianDropout,
}

impl<T: Matrix> GaussianDropoutCall<'_, T> {
    pub(crate) fn check(&self) -> Result<()> {
        expect("gaussian_dropout", "y", self.y, self.x.rows(), self.x.cols())?;
        self.dropout.mask().check(self.x.rows(), self.x.cols())
    }
}

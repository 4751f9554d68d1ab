//! Calls of batch normalization: the statistics of a mini-batch, what is made of them, and the way
//! back.

use crate::shape::{Matrix, expect};
use crate::{Dropout, Error, Result};

/// What is added to a variance before its root is taken, as in PyTorch.
pub const EPSILON: f32 = 1e-5;

/// Mean and variance of each column of `X [B, C]`, and the running ones, which move by `m` towards
/// them.
///
/// `mean = Σ_r x/B`, `variance = Σ_r (x − mean)²/B`; the running variance takes `B/(B − 1)` times
/// that, which is unbiased (1 times where B is 1). Source: Ioffe, Szegedy, "Batch normalization",
/// ICML 2015, algorithm 1.
#[derive(Debug)]
pub struct BatchStatistics<'a, T> {
    /// `X [B, C]`, B at least 1.
    pub x: &'a T,
    /// `[2, C]`, written: means, then variances.
    pub statistics: &'a mut T,
    /// `[2, C]`, updated: the same for prediction.
    pub running: &'a mut T,
    /// `m`, 0 to 1.
    pub momentum: f32,
}

impl<T: Matrix> BatchStatistics<'_, T> {
    pub(crate) fn check(&self) -> Result<()> {
        let (kernel, cols) = ("batch_statistics", self.x.cols());
        expect(kernel, "statistics", self.statistics, 2, cols)?;
        expect(kernel, "running", self.running, 2, cols)?;
        match self.x.rows() {
            0 => Err(Error::shape(kernel, "a mini-batch of no rows has no statistics".to_owned())),
            _ => Ok(()),
        }
    }
}

/// `Y = M·s·relu(γ·(X − mean)/√(variance + ε) + β)`, with ReLU and dropout where they are asked
/// for.
///
/// In training the statistics are those of the mini-batch ([`BatchStatistics`]), in prediction the
/// running ones. Source: Ioffe, Szegedy, "Batch normalization", ICML 2015.
#[derive(Debug)]
pub struct BatchNorm<'a, T> {
    /// `X [B, C]`
    pub x: &'a T,
    /// `[2, C]`: means, then variances.
    pub statistics: &'a T,
    /// `[2, C]`: γ, then β.
    pub affine: &'a T,
    /// `Y [B, C]`, written.
    pub y: &'a mut T,
    /// `ε`, above 0; [`EPSILON`] is usual.
    pub epsilon: f32,
    /// Whether there is a ReLU.
    pub relu: bool,
    /// Mask and scale.
    pub dropout: Dropout,
}

impl<T: Matrix> BatchNorm<'_, T> {
    pub(crate) fn check(&self) -> Result<()> {
        let (kernel, rows, cols) = ("batch_norm", self.x.rows(), self.x.cols());
        expect(kernel, "statistics", self.statistics, 2, cols)?;
        expect(kernel, "affine", self.affine, 2, cols)?;
        expect(kernel, "y", self.y, rows, cols)?;
        self.dropout.mask.check(rows, cols)
    }
}

/// The way back through [`BatchNorm`] in training, from the gradient after its ReLU and dropout are
/// gone back through.
///
/// With `n = (X − mean)/√(variance + ε)`: `dγ = Σ_r dY·n`, `dβ = Σ_r dY`, `dX = γ/√(variance +
/// ε)·(dY − dβ/B − n·dγ/B)`.
#[derive(Debug)]
pub struct BatchNormGrad<'a, T> {
    /// `X [B, C]` of the forward pass.
    pub x: &'a T,
    /// `[2, C]`: the mini-batch's means, then variances.
    pub statistics: &'a T,
    /// `[2, C]`: γ, then β.
    pub affine: &'a T,
    /// `dY [B, C]`
    pub grad_y: &'a T,
    /// `[2, C]`, written: dγ, then dβ.
    pub grad_affine: &'a mut T,
    /// `dX [B, C]`, written.
    pub grad_x: &'a mut T,
    /// `ε` of the forward pass.
    pub epsilon: f32,
    /// Where `X` is the output of ReLU and dropout, the scale of that dropout: `dX` is then gone
    /// back through both.
    pub through: Option<f32>,
}

impl<T: Matrix> BatchNormGrad<'_, T> {
    pub(crate) fn check(&self) -> Result<()> {
        let (kernel, rows, cols) = ("batch_norm_grad", self.x.rows(), self.x.cols());
        expect(kernel, "statistics", self.statistics, 2, cols)?;
        expect(kernel, "affine", self.affine, 2, cols)?;
        expect(kernel, "grad_y", self.grad_y, rows, cols)?;
        expect(kernel, "grad_affine", self.grad_affine, 2, cols)?;
        expect(kernel, "grad_x", self.grad_x, rows, cols)
    }
}

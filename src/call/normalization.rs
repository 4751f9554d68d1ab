//! Calls of batch normalization: the statistics of a mini-batch, the forward pass and the backward
//! pass.

use crate::shape::{Matrix, expect};
use crate::{Dropout, Error, Result};

/// Constant ε that is added to a variance before its root is taken; the value is PyTorch's.
pub const EPSILON: f32 = 1e-5;

/// Mean and variance of each column of `X [B, C]`, and an update of the running ones, which move by
/// `m` towards them.
///
/// `mean = Σ_r x/B` and `variance = Σ_r (x − mean)²/B`. The running variance uses the unbiased
/// estimate, `B/(B − 1)` times the variance (1 times if B is 1).
///
/// Source: Ioffe, Szegedy, "Batch normalization", ICML 2015, algorithm 1.
#[derive(Debug)]
pub struct BatchStatistics<'a, T> {
    /// `X [B, C]`, B at least 1.
    pub x: &'a T,
    /// `[2, C]`, written: means, then variances.
    pub statistics: &'a mut T,
    /// `[2, C]`, updated: running means, then running variances, for prediction.
    pub running: &'a mut T,
    /// Momentum `m`, from 0 to 1.
    pub momentum: f32,
}

impl<T: Matrix> BatchStatistics<'_, T> {
    pub(crate) fn check(&self) -> Result<()> {
        let (kernel, cols) = ("batch_statistics", self.x.cols());
        expect(kernel, "statistics", self.statistics, 2, cols)?;
        expect(kernel, "running", self.running, 2, cols)?;
        match self.x.rows() {
            0 => Err(Error::shape(kernel, "a mini-batch of 0 rows has no statistics".to_owned())),
            _ => Ok(()),
        }
    }
}

/// Batch normalization, with ReLU and dropout if requested:
/// `Y = M·s·relu(γ·(X − mean)/√(variance + ε) + β)`.
///
/// Training uses the statistics of the mini-batch ([`BatchStatistics`]), prediction the running
/// ones. Source: Ioffe, Szegedy, "Batch normalization", ICML 2015.
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
    /// True if ReLU precedes the dropout.
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

/// Backward pass of [`BatchNorm`] in training, without its ReLU and dropout: the caller first runs
/// the backward pass of those.
///
/// With `n = (X − mean)/√(variance + ε)`:
///
/// - `dγ = Σ_r dY·n`,
/// - `dβ = Σ_r dY`,
/// - `dX = γ/√(variance + ε)·(dY − dβ/B − n·dγ/B)`.
///
/// Source: Ioffe, Szegedy, "Batch normalization", ICML 2015, section 3.
#[derive(Debug)]
pub struct BatchNormGrad<'a, T> {
    /// `X [B, C]` of the forward pass.
    pub x: &'a T,
    /// `[2, C]`: the mini-batch's means, then variances.
    pub statistics: &'a T,
    /// `[2, C]`: γ, then β.
    pub affine: &'a T,
    /// `dY [B, C]`, the gradient of `γ·n + β`.
    pub grad_y: &'a T,
    /// `[2, C]`, written: dγ, then dβ.
    pub grad_affine: &'a mut T,
    /// `dX [B, C]`, written.
    pub grad_x: &'a mut T,
    /// `ε` of the forward pass.
    pub epsilon: f32,
    /// Scale of the dropout that produced `X`, if `X` is the output of ReLU and dropout and the
    /// gradient is to pass back through both.
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

//! The call of a penalty on how often units are active.

use crate::shape::{Matrix, expect};
use crate::{Error, Result};

/// The gradient of a sparsity penalty, added to the gradient of the layer that is penalized.
///
/// With `ρ̂` the mean over the mini-batch of a unit's activation, which lies between 0 and 1 as
/// [`Activation::Sigmoid`](super::Activation::Sigmoid) gives it, the penalty is `λ·Σ KL(ρ ‖ ρ̂)`
/// over the units, `KL(ρ ‖ ρ̂) = ρ·ln(ρ/ρ̂) + (1 − ρ)·ln((1 − ρ)/(1 − ρ̂))`. Its gradient, for each
/// row, is `dY += λ/B·((1 − ρ)/(1 − ρ̂) − ρ/ρ̂)`, with `ρ̂` taken as 10⁻⁶ to 1 − 10⁻⁶: a unit that is
/// off in all rows is pushed hard, and not without bound. From there
/// [`ActivationGrad`](super::ActivationGrad) goes on. Where `Y` is after dropout, so is what is
/// penalized.
///
/// Source: Ng, "Sparse autoencoder", CS294A lecture notes (2011); the "L2 and KL" of Srivastava et
/// al. 2014, table 9.
#[derive(Debug)]
pub struct SparsityGrad<'a, T> {
    /// `[2, C]`, of `Y`: as [`BatchStatistics`](super::BatchStatistics) makes it. The means are
    /// read.
    pub statistics: &'a T,
    /// `dY [B, C]`, updated.
    pub grad_y: &'a mut T,
    /// `ρ`, the mean activation to come to, above 0 and below 1; 0.05 is usual.
    pub target: f32,
    /// `λ`
    pub weight: f32,
}

impl<T: Matrix> SparsityGrad<'_, T> {
    pub(crate) fn check(&self) -> Result<()> {
        expect("sparsity_grad", "statistics", self.statistics, 2, self.grad_y.cols())?;
        match self.target > 0.0 && self.target < 1.0 {
            true => Ok(()),
            false => Err(Error::invalid(format!(
                "sparsity target {}: must be above 0 and below 1",
                self.target
            ))),
        }
    }
}

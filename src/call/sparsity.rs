//! Call of a penalty on how often units are active.

use crate::shape::{Matrix, expect};
use crate::{Error, Result};

/// Gradient of a sparsity penalty, added to the gradient `dY [B, C]` of the penalized layer's
/// output `Y`.
///
/// Let `ρ̂` be a unit's mean activation over the mini-batch. It must lie between 0 and 1, as
/// [`Activation::Sigmoid`](super::Activation::Sigmoid) ensures. The penalty is `λ·Σ KL(ρ ‖ ρ̂)`
/// over the units, with `KL(ρ ‖ ρ̂) = ρ·ln(ρ/ρ̂) + (1 − ρ)·ln((1 − ρ)/(1 − ρ̂))`. Its gradient, for
/// each row, is `dY += λ/B·((1 − ρ)/(1 − ρ̂) − ρ/ρ̂)`.
///
/// `ρ̂` is clamped to 10⁻⁶ to 1 − 10⁻⁶, so a unit that is off in all rows is pushed hard, but not
/// without bound. [`ActivationGrad`](super::ActivationGrad) continues the backward pass. If `Y` is
/// taken after dropout, the penalty applies to the dropped-out activations.
///
/// Sources: Ng, "Sparse autoencoder", CS294A lecture notes (2011); the "L2 and KL" of Srivastava et
/// al., JMLR 15 (2014), table 9.
#[derive(Debug)]
pub struct SparsityGrad<'a, T> {
    /// `[2, C]` of `Y`, as [`BatchStatistics`](super::BatchStatistics) writes it. Only the means
    /// are read.
    pub statistics: &'a T,
    /// `dY [B, C]`, updated.
    pub grad_y: &'a mut T,
    /// Target mean activation `ρ`, above 0 and below 1; 0.05 is usual.
    pub target: f32,
    /// Weight `λ` of the penalty.
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

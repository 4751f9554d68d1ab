//! Batch normalization, the sparsity penalty and AdamW on a device that somebody else owns.

use super::kernels::{Kernels, Prepared};
use super::view::View;
use crate::Result;
use crate::call::{AdamW, BatchNorm, BatchNormGrad, BatchStatistics, SparsityGrad};

impl Kernels {
    /// Prepares `mean = Σ_r x/B` and `variance = Σ_r (x − mean)²/B` of each column, and the running
    /// ones.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    pub fn batch_statistics(&self, call: &BatchStatistics<'_, View<'_>>) -> Result<Prepared> {
        self.prepare(&self.planner().batch_statistics(call)?)
    }

    /// Prepares `Y = M·s·relu(γ·(X − mean)/√(variance + ε) + β)`.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    pub fn batch_norm(&self, call: &BatchNorm<'_, View<'_>>) -> Result<Prepared> {
        self.prepare(&self.planner().batch_norm(call)?)
    }

    /// Prepares the way back through [`batch_norm`](Self::batch_norm): `dγ = Σ_r dY·n`, `dβ = Σ_r
    /// dY`, `dX = γ/√(variance + ε)·(dY − dβ/B − n·dγ/B)`.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    pub fn batch_norm_grad(&self, call: &BatchNormGrad<'_, View<'_>>) -> Result<Prepared> {
        self.prepare(&self.planner().batch_norm_grad(call)?)
    }

    /// Prepares `dY += λ/B·((1 − ρ)/(1 − mean) − ρ/mean)`, the gradient of the sparsity penalty
    /// `λ·Σ KL(ρ ‖ mean of each column)`.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout); [`Error::Invalid`](crate::Error::Invalid) for a target that
    /// is not above 0 and below 1.
    pub fn sparsity_grad(&self, call: &SparsityGrad<'_, View<'_>>) -> Result<Prepared> {
        self.prepare(&self.planner().sparsity_grad(call)?)
    }

    /// Prepares one update by AdamW: `m = β₁·m + (1 − β₁)·g`, `v = β₂·v + (1 − β₂)·g²`, `W = W −
    /// lr·λ·W − lr·m̂/(√v̂ + ε)`.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout); [`Error::Invalid`](crate::Error::Invalid) for a β that is not
    /// 0 to below 1.
    pub fn adamw(&self, call: &AdamW<'_, View<'_>>) -> Result<Prepared> {
        self.prepare(&self.planner().adamw(call)?)
    }
}

//! Batch normalization, the sparsity penalty and AdamW on a device that somebody else owns.

use super::kernels::{Kernels, Prepared};
use super::view::View;
use crate::Result;
use crate::call::{AdamW, BatchNorm, BatchNormGrad, BatchStatistics, SparsityGrad};

impl Kernels {
    /// Prepares mean and variance of each column, and the running ones.
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

    /// Prepares the way back through [`batch_norm`](Self::batch_norm).
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    pub fn batch_norm_grad(&self, call: &BatchNormGrad<'_, View<'_>>) -> Result<Prepared> {
        self.prepare(&self.planner().batch_norm_grad(call)?)
    }

    /// Prepares the gradient of a sparsity penalty, added to a layer's.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout); [`Error::Invalid`](crate::Error::Invalid) for a target that is not above 0 and below 1.
    pub fn sparsity_grad(&self, call: &SparsityGrad<'_, View<'_>>) -> Result<Prepared> {
        self.prepare(&self.planner().sparsity_grad(call)?)
    }

    /// Prepares one update by AdamW.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout); [`Error::Invalid`](crate::Error::Invalid) for a β that is not 0 to below 1.
    pub fn adamw(&self, call: &AdamW<'_, View<'_>>) -> Result<Prepared> {
        self.prepare(&self.planner().adamw(call)?)
    }
}

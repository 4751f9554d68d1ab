//! Patches of images and pooling on a device that somebody else owns.

use super::kernels::{Kernels, Prepared};
use super::view::View;
use crate::Result;
use crate::call::{Patches, PatchesGrad, PoolCall, PoolGrad};

impl Kernels {
    /// Prepares `Y[(b, i, j), (u, v, c)] = X[b, i + u − P, j + v − P, c]`: the windows of images, a
    /// row each.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    pub fn patches(&self, call: &Patches<'_, View<'_>>) -> Result<Prepared> {
        self.prepare(&self.planner().patches(call)?)
    }

    /// Prepares the way back through [`patches`](Self::patches): `dX[b, h, w, c] = Σ_uv dY[(b, h +
    /// P − u, w + P − v), (u, v, c)]`.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    pub fn patches_grad(&self, call: &PatchesGrad<'_, View<'_>>) -> Result<Prepared> {
        self.prepare(&self.planner().patches_grad(call)?)
    }

    /// Prepares `Y[b, i, j, c] = max or mean over u, v of X[b, i·U + u, j·V + v, c]`.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    pub fn pool(&self, call: &PoolCall<'_, View<'_>>) -> Result<Prepared> {
        self.prepare(&self.planner().pool(call)?)
    }

    /// Prepares the way back through [`pool`](Self::pool): a mean's `dY` in equal shares, a
    /// maximum's to the first of the largest elements.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    pub fn pool_grad(&self, call: &PoolGrad<'_, View<'_>>) -> Result<Prepared> {
        self.prepare(&self.planner().pool_grad(call)?)
    }
}

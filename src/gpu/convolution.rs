//! Patches of images and pooling on a device that somebody else owns.

use super::kernels::{Kernels, Prepared};
use super::view::View;
use crate::Result;
use crate::call::{Patches, PatchesGrad, PoolCall, PoolGrad};

impl Kernels {
    /// Prepares the windows of images, a row each.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    pub fn patches(&self, call: &Patches<'_, View<'_>>) -> Result<Prepared> {
        self.prepare(&self.planner().patches(call)?)
    }

    /// Prepares the way back through [`patches`](Self::patches).
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    pub fn patches_grad(&self, call: &PatchesGrad<'_, View<'_>>) -> Result<Prepared> {
        self.prepare(&self.planner().patches_grad(call)?)
    }

    /// Prepares the largest element or the mean of each window of images.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    pub fn pool(&self, call: &PoolCall<'_, View<'_>>) -> Result<Prepared> {
        self.prepare(&self.planner().pool(call)?)
    }

    /// Prepares the way back through [`pool`](Self::pool).
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    pub fn pool_grad(&self, call: &PoolGrad<'_, View<'_>>) -> Result<Prepared> {
        self.prepare(&self.planner().pool_grad(call)?)
    }
}

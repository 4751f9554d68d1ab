//! Averages over sub-networks on a device that somebody else owns.

use super::kernels::{Kernels, Prepared};
use super::view::View;
use crate::Result;
use crate::call::{Moments, Subnetworks};

impl Kernels {
    /// Prepares a dropout site of many sub-networks at once.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    pub fn subnetworks(&self, call: &Subnetworks<'_, View<'_>>) -> Result<Prepared> {
        self.prepare(&self.planner().subnetworks(call)?)
    }

    /// Prepares mean and squares of class probabilities over sub-networks.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    pub fn moments(&self, call: &Moments<'_, View<'_>>) -> Result<Prepared> {
        self.prepare(&self.planner().moments(call)?)
    }
}

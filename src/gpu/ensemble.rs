//! Averages over sub-networks on a device that somebody else owns.

use super::kernels::{Kernels, Prepared};
use super::view::View;
use crate::Result;
use crate::call::{Moments, Subnetworks};

impl Kernels {
    /// Prepares `y[m·R + r, c] = M[m, c]·s·x[r, c]`: a dropout site of many sub-networks m at once.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    pub fn subnetworks(&self, call: &Subnetworks<'_, View<'_>>) -> Result<Prepared> {
        self.prepare(&self.planner().subnetworks(call)?)
    }

    /// Prepares `p = softmax(z)`, and over sub-networks its weighted mean and squares, and its mean
    /// entropy in nats.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    pub fn moments(&self, call: &Moments<'_, View<'_>>) -> Result<Prepared> {
        self.prepare(&self.planner().moments(call)?)
    }
}

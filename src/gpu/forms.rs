//! Dropout's other forms on a device that somebody else owns.

use super::kernels::{Kernels, Prepared};
use super::view::View;
use crate::Result;
use crate::call::{
    AlphaDropoutCall, DropoutBits, DropoutBroadcast, GaussianDropoutCall, MaskBytes,
};

impl Kernels {
    /// Prepares `y = M·s·x` with a mask that is broadcast: the element at `(row, col)` of an
    /// [`AxisMap`](crate::AxisMap).
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    pub fn dropout_broadcast(&self, call: &DropoutBroadcast<'_, View<'_>>) -> Result<Prepared> {
        self.prepare(&self.planner().dropout_broadcast(call)?)
    }

    /// Prepares `y = M·s·x` with a mask that is given, a bit an element.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    pub fn dropout_bits<'a>(&self, call: &DropoutBits<'_, View<'a>, View<'a>>) -> Result<Prepared> {
        self.prepare(&self.planner().dropout_bits(call)?)
    }

    /// Prepares `y = a·x + b` where the mask keeps, else `a·α' + b`.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    pub fn alpha_dropout(&self, call: &AlphaDropoutCall<'_, View<'_>>) -> Result<Prepared> {
        self.prepare(&self.planner().alpha_dropout(call)?)
    }

    /// Prepares `y = x·(1 + σ·n)`, n standard normal.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    pub fn gaussian_dropout(&self, call: &GaussianDropoutCall<'_, View<'_>>) -> Result<Prepared> {
        self.prepare(&self.planner().gaussian_dropout(call)?)
    }

    /// Prepares the mask as bytes: `1` where `draw < t`, else `0`, row-major.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    pub fn mask_bytes(&self, call: &MaskBytes<'_, View<'_>>) -> Result<Prepared> {
        self.prepare(&self.planner().mask_bytes(call)?)
    }
}

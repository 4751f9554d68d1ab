//! Dropout's other forms on a device that somebody else owns.

use super::kernels::{Kernels, Prepared};
use super::view::View;
use crate::Result;
use crate::call::{AlphaDropoutCall, DropoutBits, DropoutBroadcast, GaussianDropoutCall, MaskBytes};

impl Kernels {
    /// Prepares `y = M·s·x` with a mask that is broadcast.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    pub fn dropout_broadcast(&self, call: &DropoutBroadcast<'_, View<'_>>) -> Result<Prepared> {
        self.prepare(&self.planner().dropout_broadcast(call)?)
    }

    /// Prepares `y = M·s·x` with a mask that is given as bits.
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

    /// Prepares the mask as bytes.
    ///
    /// # Errors
    /// As [`dropout`](Self::dropout).
    pub fn mask_bytes(&self, call: &MaskBytes<'_, View<'_>>) -> Result<Prepared> {
        self.prepare(&self.planner().mask_bytes(call)?)
    }
}

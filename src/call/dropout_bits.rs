//! The call of `dropout_bits`.

use super::{Call, DevicePlace, HostPlace, Place};
use crate::Result;
use crate::cpu::{fast, fast::Isa, reference};
use crate::plan::{Beside, Params, PlainStrips, Plan, Planner, Stem, Strips, Variant};
use crate::rules::range::{SCALE, range};
use crate::shape::{Matrix, expect};

/// Dropout with a given mask, one bit per element as [`MaskBits`](super::MaskBits) writes it:
/// `y = M·s·x`.
///
/// Applied to `dy`, the same call is its own backward pass. It serves masks that this crate does
/// not draw: those of another library, of an ensemble's members, or of a learned structure. A
/// dropped element is 0 by selection.
///
/// Source: as [`DropoutCall`](super::DropoutCall).
pub struct DropoutBits<P: Place> {
    /// Input, any shape.
    pub x: P::In<f32>,
    /// `[rows, ⌈cols / 32⌉]`: element (r, c) is kept if bit `c % 32` of word `c / 32` of row r is
    /// 1. Bits past the last column are ignored.
    pub bits: P::In<u32>,
    /// Output, the input's shape.
    pub y: P::Out<f32>,
    #[doc = concat!("Factor of the kept elements: ", range!(SCALE), ".")]
    pub scale: f32,
}

impl<P: Place> Call<P> for DropoutBits<P> {
    fn check(&self) -> Result<()> {
        let (kernel, rows, cols) = ("dropout_bits", self.x.rows(), self.x.cols());
        expect(kernel, "bits", &self.bits, rows, cols.div_ceil(32))?;
        expect(kernel, "y", &self.y, rows, cols)?;
        SCALE.check(self.scale)
    }

    fn plan<'p>(&'p self, planner: &Planner) -> Result<Plan<'p>>
    where
        P: DevicePlace,
    {
        self.check()?;
        let params = Params { scale: self.scale, ..Params::default() };
        planner.strips(&Strips {
            variant: Variant::new(Stem::DropoutBits),
            x: P::read(&self.x),
            beside: Some(Beside::Bits(P::read_as::<u32>(&self.bits))),
            y: P::written(&self.y),
            params: &|_, _| (params, PlainStrips::default()),
        })
    }

    fn compute(mut self, isa: Option<Isa>)
    where
        P: HostPlace,
    {
        let (cols, bits) = (self.x.cols(), P::values_as::<u32>(&self.bits));
        let (x, y) = (P::values(&self.x), P::values_mut(&mut self.y));
        match isa {
            Some(_) => fast::dropout_bits(x, bits, y, cols, self.scale),
            None => reference::dropout_bits(x, bits, y, cols, self.scale),
        }
    }
}

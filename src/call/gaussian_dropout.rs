//! The call of `gaussian_dropout`.

use super::{Call, DevicePlace, HostPlace, Place, copy};
use crate::cpu::{fast, fast::Isa, reference};
use crate::plan::{Params, PlainStrips, Plan, Planner, Stem, Strips, Variant};
use crate::shape::{Matrix, expect};
use crate::{Dropout, GaussianDropout, Result};

/// Gaussian dropout: `y = x·(1 + σ·n)` with standard normal noise `n`.
///
/// Applied to `dy`, the same call is its own backward pass. [`GaussianDropout`] defines the noise
/// and names its source.
pub struct GaussianDropoutCall<P: Place> {
    /// Input, any shape.
    pub x: P::In<f32>,
    /// Output, the input's shape.
    pub y: P::Out<f32>,
    /// Noise: its key and standard deviation.
    pub dropout: GaussianDropout,
}

impl<P: Place> Call<P> for GaussianDropoutCall<P> {
    fn check(&self) -> Result<()> {
        expect("gaussian_dropout", "y", &self.y, self.x.rows(), self.x.cols())?;
        Ok(self.dropout.mask().check(self.x.rows(), self.x.cols())?)
    }

    fn plan<'p>(&'p self, planner: &Planner) -> Result<Plan<'p>>
    where
        P: DevicePlace,
    {
        self.check()?;
        let (site, x, y) = (&self.dropout, P::read(&self.x), P::written(&self.y));
        if site.is_identity() && !planner.state {
            return copy::identity(planner, Stem::GaussianDropout, x, y);
        }
        let noise = Dropout { mask: *site.mask(), scale: site.scale() };
        let params =
            |row, col| (Params::default().with_dropout(&noise, row, col), PlainStrips::default());
        let variant = Variant::new(Stem::GaussianDropout).with("ALIGNED", "yes");
        planner.strips(&Strips { variant, x, beside: None, y, params: &params })
    }

    fn compute(mut self, isa: Option<Isa>)
    where
        P: HostPlace,
    {
        let cols = self.x.cols();
        let (x, y) = (P::values(&self.x), P::values_mut(&mut self.y));
        match isa {
            Some(isa) => fast::gaussian_dropout(isa, x, y, cols, &self.dropout),
            None => reference::gaussian_dropout(x, y, cols, &self.dropout),
        }
    }
}

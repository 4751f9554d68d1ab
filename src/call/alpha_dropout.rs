//! The call of `alpha_dropout`.

use super::{Call, DevicePlace, HostPlace, Place, check_dropout, copy};
use crate::cpu::{fast, fast::Isa, reference};
use crate::plan::{Params, Plan, Planner, Stem, Strips, Variant, own, strips_own};
use crate::rules::range::SCALE;
use crate::shape::{Matrix, expect};
use crate::{AlphaDropout, Result};

/// Alpha dropout: `y = a·x + b` for a kept element, else `y = a·α' + b`.
///
/// [`AlphaDropout`] gives the factors and their source. The backward pass is a
/// [`DropoutCall`](super::DropoutCall) with [`AlphaDropout::backward`].
pub struct AlphaDropoutCall<P: Place> {
    /// Input, any shape.
    pub x: P::In<f32>,
    /// Output, the input's shape.
    pub y: P::Out<f32>,
    /// Mask and factors.
    pub dropout: AlphaDropout,
}

own! {
    /// Own words: `b`, and `a·α' + b`.
    AlphaOwn {
        across_log2: u32,
        shift: f32,
        dropped: f32,
    }
}
strips_own!(AlphaOwn);

impl<P: Place> Call<P> for AlphaDropoutCall<P> {
    fn check(&self) -> Result<()> {
        expect("alpha_dropout", "y", &self.y, self.x.rows(), self.x.cols())?;
        SCALE.check(self.dropout.shift)?;
        SCALE.check(self.dropout.dropped)?;
        check_dropout(&self.dropout.backward(), self.x.rows(), self.x.cols())
    }

    fn plan<'p>(&'p self, planner: &Planner) -> Result<Plan<'p>>
    where
        P: DevicePlace,
    {
        self.check()?;
        let (site, x, y) = (&self.dropout, P::read(&self.x), P::written(&self.y));
        if site.is_identity() && !planner.state {
            return copy::identity(planner, Stem::AlphaDropout, x, y);
        }
        let own = AlphaOwn { across_log2: 0, shift: site.shift, dropped: site.dropped };
        let params = |row, col| (Params::default().with_dropout(&site.backward(), row, col), own);
        let variant = Variant::new(Stem::AlphaDropout).with("ALIGNED", "yes");
        planner.strips(&Strips { variant, x, beside: None, y, params: &params })
    }

    fn compute(mut self, isa: Option<Isa>)
    where
        P: HostPlace,
    {
        let cols = self.x.cols();
        let (x, y) = (P::values(&self.x), P::values_mut(&mut self.y));
        match isa {
            Some(isa) => fast::alpha_dropout(isa, x, y, cols, &self.dropout),
            None => reference::alpha_dropout(x, y, cols, &self.dropout),
        }
    }
}

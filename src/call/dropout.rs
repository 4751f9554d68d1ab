//! The call of `dropout`.

use super::{Call, DevicePlace, HostPlace, Place, check_dropout};
use crate::cpu::{fast, fast::Isa, reference};
use crate::plan::{Params, PlainStrips, Plan, Planner, Stem, Strips, Variant};
use crate::shape::{Matrix, expect};
use crate::{Dropout, Result};

/// Dropout of any tensor: `y = M·s·x`. Applied to `dy`, the same call is its own backward pass.
///
/// Source: Srivastava et al., JMLR 15 (2014), section 4; scaling during training as in the CS231n
/// notes.
pub struct DropoutCall<P: Place> {
    /// Input, any shape.
    pub x: P::In<f32>,
    /// Output, the input's shape.
    pub y: P::Out<f32>,
    /// Mask and scale.
    pub dropout: Dropout,
}

impl<P: Place> Call<P> for DropoutCall<P> {
    fn check(&self) -> Result<()> {
        expect("dropout", "y", &self.y, self.x.rows(), self.x.cols())?;
        check_dropout(&self.dropout, self.x.rows(), self.x.cols())
    }

    fn plan<'p>(&'p self, planner: &Planner) -> Result<Plan<'p>>
    where
        P: DevicePlace,
    {
        self.check()?;
        let params = |row, col| {
            (Params::default().with_dropout(&self.dropout, row, col), PlainStrips::default())
        };
        planner.strips(&Strips {
            variant: Variant::new(Stem::Dropout).with("ALIGNED", "yes"),
            x: P::read(&self.x),
            beside: None,
            y: P::written(&self.y),
            params: &params,
        })
    }

    fn compute(mut self, isa: Option<Isa>)
    where
        P: HostPlace,
    {
        let cols = self.x.cols();
        let (x, y) = (P::values(&self.x), P::values_mut(&mut self.y));
        match isa {
            Some(isa) => fast::dropout(isa, x, y, cols, &self.dropout),
            None => reference::dropout(x, y, cols, &self.dropout),
        }
    }
}

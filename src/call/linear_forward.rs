//! The call of `linear_forward`.

use super::{Call, DevicePlace, HostPlace, Place, check_dropout};
use crate::cpu::{fast, fast::Isa, reference};
use crate::plan::{Forward, Plan, Planner, RELU, Stem};
use crate::shape::{Matrix, expect};
use crate::{Dropout, Result};

/// Fused forward pass of a layer: `Y = M·s·relu(X·W + b)`.
///
/// With [`Dropout::predict`] it computes the predict form `Y = a·relu(X·W + b)`. The fused epilogue
/// is this crate's own.
pub struct LinearForward<P: Place> {
    /// `X [B, I]`
    pub x: P::In<f32>,
    /// `W [I, O]`
    pub weight: P::In<f32>,
    /// `b [1, O]`
    pub bias: Option<P::In<f32>>,
    /// `Y [B, O]`, written.
    pub y: P::Out<f32>,
    /// True if ReLU precedes the dropout. `relu(NaN)` is NaN.
    pub relu: bool,
    /// Mask and scale.
    pub dropout: Dropout,
}

impl<P: Place> Call<P> for LinearForward<P> {
    fn check(&self) -> Result<()> {
        let kernel = "linear_forward";
        let (batch, inputs, outputs) = (self.x.rows(), self.x.cols(), self.weight.cols());
        expect(kernel, "weight", &self.weight, inputs, outputs)?;
        self.bias.as_ref().map_or(Ok(()), |bias| expect(kernel, "bias", bias, 1, outputs))?;
        expect(kernel, "y", &self.y, batch, outputs)?;
        check_dropout(&self.dropout, batch, outputs)
    }

    fn plan<'p>(&'p self, planner: &Planner) -> Result<Plan<'p>>
    where
        P: DevicePlace,
    {
        self.check()?;
        let forward = Forward {
            stem: Stem::LinearForward,
            x: P::read(&self.x),
            weight: P::read(&self.weight),
            bias: self.bias.as_ref().map(P::read),
            residual: None,
            z: None,
            y: P::written(&self.y),
            flags: if self.relu { RELU } else { 0 },
            dropout: self.dropout,
        };
        let element = planner.check_numbers(forward.stem, &forward.operands())?;
        planner.forward(&forward, element)
    }

    fn compute(mut self, isa: Option<Isa>)
    where
        P: HostPlace,
    {
        let shape = [self.weight.rows(), self.weight.cols()];
        let (x, weight) = (P::values(&self.x), P::values(&self.weight));
        let (bias, y) = (self.bias.as_ref().map(P::values), P::values_mut(&mut self.y));
        match isa {
            Some(isa) => {
                fast::linear_forward(isa, x, weight, bias, y, shape, self.relu, &self.dropout)
            }
            None => reference::linear_forward(x, weight, bias, y, shape, self.relu, &self.dropout),
        }
    }
}

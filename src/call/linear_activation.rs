//! The call of `linear_activation`.

use super::{Activation, Call, DevicePlace, HostPlace, Place, check_dropout, copy};
use crate::cpu::{fast, fast::Isa, reference};
use crate::plan::{
    ACTIVATION, Forward, IN_PLACE, Plan, Planner, RESIDUAL, SAVE, Stem, check_tensors,
};
use crate::shape::{Matrix, expect};
use crate::{Dropout, Result};

/// Fused forward pass of a layer with any [`Activation`]: `Y = R + M·s·act(Z)` with `Z = X·W + b`.
///
/// `Z` is saved if [`z`](Self::z) is given, as [`ActivationGrad`](super::ActivationGrad) requires.
///
/// For the backward pass, [`ActivationGrad`](super::ActivationGrad) computes `dZ` from `dY` and
/// `Z`. Then [`GradInput`](super::GradInput) and [`GradWeight`](super::GradWeight) take `dZ` as
/// their `grad_output`, with `output: None` and [`Dropout::NONE`]. `dR` is `dY`.
///
/// This is the fused epilogue of a transformer's layer; the fusion is this crate's own.
pub struct LinearActivation<P: Place> {
    /// `X [B, I]`
    pub x: P::In<f32>,
    /// `W [I, O]`
    pub weight: P::In<f32>,
    /// `b [1, O]`
    pub bias: Option<P::In<f32>>,
    /// `R [B, O]`, added after the dropout. On a caller's device it may be the same memory as `Y`.
    pub residual: Option<P::In<f32>>,
    /// `Z [B, O]`, written if given.
    pub z: Option<P::Out<f32>>,
    /// `Y [B, O]`, written.
    pub y: P::Out<f32>,
    /// The activation `act`.
    pub activation: Activation,
    /// Mask and scale.
    pub dropout: Dropout,
}

impl<P: Place> Call<P> for LinearActivation<P> {
    fn check(&self) -> Result<()> {
        let kernel = "linear_activation";
        let (batch, inputs, outputs) = (self.x.rows(), self.x.cols(), self.weight.cols());
        expect(kernel, "weight", &self.weight, inputs, outputs)?;
        self.bias.as_ref().map_or(Ok(()), |bias| expect(kernel, "bias", bias, 1, outputs))?;
        let batch_rows = |name, tensor: &dyn Matrix| expect(kernel, name, tensor, batch, outputs);
        self.residual.as_ref().map_or(Ok(()), |residual| batch_rows("residual", residual))?;
        self.z.as_ref().map_or(Ok(()), |z| batch_rows("z", z))?;
        batch_rows("y", &self.y)?;
        check_dropout(&self.dropout, batch, outputs)
    }

    fn plan<'p>(&'p self, planner: &Planner) -> Result<Plan<'p>>
    where
        P: DevicePlace,
    {
        self.check()?;
        let (residual, y) = (self.residual.as_ref().map(P::read), P::written(&self.y));
        let in_place = residual.is_some_and(|residual| residual.is_same(&y));
        let residual = residual.filter(|_| !in_place);
        let mut flags = ACTIVATION * self.activation as u32;
        for (set, flag) in
            [(self.z.is_some(), SAVE), (residual.is_some(), RESIDUAL), (in_place, IN_PLACE)]
        {
            flags |= if set { flag } else { 0 };
        }
        let forward = Forward {
            stem: Stem::LinearActivation,
            x: P::read(&self.x),
            weight: P::read(&self.weight),
            bias: self.bias.as_ref().map(P::read),
            residual,
            z: self.z.as_ref().map(P::written),
            y,
            flags,
            dropout: self.dropout,
        };
        check_tensors(forward.stem, &forward.operands())?;
        match residual.filter(|_| planner.has_few(forward.stem)) {
            // If not all can be bound at once, the residual is first copied to where it is read
            // in place.
            Some(residual) => {
                let mut plan = copy::plan(planner, residual, y)?;
                let flags = flags & !RESIDUAL | IN_PLACE;
                plan.extend(planner.forward(&Forward { residual: None, flags, ..forward }, 4)?);
                Ok(plan)
            }
            None => planner.forward(&forward, 4),
        }
    }

    fn compute(mut self, isa: Option<Isa>)
    where
        P: HostPlace,
    {
        let shape = [self.weight.rows(), self.weight.cols()];
        let (x, weight) = (P::values(&self.x), P::values(&self.weight));
        let bias = self.bias.as_ref().map(P::values);
        let residual = self.residual.as_ref().map(P::values);
        let (z, y) = (self.z.as_mut().map(P::values_mut), P::values_mut(&mut self.y));
        let (act, dropout) = (self.activation, &self.dropout);
        match isa {
            Some(isa) => {
                fast::linear_activation(isa, x, weight, bias, residual, z, y, shape, act, dropout)
            }
            None => {
                reference::linear_activation(x, weight, bias, residual, z, y, shape, act, dropout)
            }
        }
    }
}

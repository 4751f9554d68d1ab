//! The call of `activation_grad`.

use super::{Activation, Call, DevicePlace, HostPlace, Place, check_dropout};
use crate::cpu::{fast, fast::Isa, reference};
use crate::plan::{
    ACTIVATION, Beside, Params, Plan, Planner, Stem, Strips, Variant, own, strips_own,
};
use crate::shape::{Matrix, expect};
use crate::{Dropout, Result};

/// Gradient before a layer's activation: `dZ = M·s·act'(Z)·dY`, of any shape.
///
/// On a caller's device `dZ` may be the same memory as `dY`. Source: the chain rule.
pub struct ActivationGrad<P: Place> {
    /// `dY`
    pub grad_output: P::In<f32>,
    /// `Z`, as [`LinearActivation`](super::LinearActivation) saved it. After ReLU, the output `Y`
    /// serves as well, with the mask of [`Dropout::NONE`] and the site's scale: `Y` is above 0
    /// exactly where `Z` was and the mask kept it.
    pub z: P::In<f32>,
    /// `dZ`, written.
    pub grad_z: P::Out<f32>,
    /// Activation of the forward pass.
    pub activation: Activation,
    /// Mask and scale of the forward pass.
    pub dropout: Dropout,
}

own! {
    /// Own words: the activation's number among the flags.
    ActivationGradOwn {
        across_log2: u32,
        flags: u32,
    }
}
strips_own!(ActivationGradOwn);

impl<P: Place> Call<P> for ActivationGrad<P> {
    fn check(&self) -> Result<()> {
        let (rows, cols) = (self.grad_output.rows(), self.grad_output.cols());
        expect("activation_grad", "z", &self.z, rows, cols)?;
        expect("activation_grad", "grad_z", &self.grad_z, rows, cols)?;
        check_dropout(&self.dropout, rows, cols)
    }

    fn plan<'p>(&'p self, planner: &Planner) -> Result<Plan<'p>>
    where
        P: DevicePlace,
    {
        self.check()?;
        let own = ActivationGradOwn { across_log2: 0, flags: ACTIVATION * self.activation as u32 };
        let params = |row, col| (Params::default().with_dropout(&self.dropout, row, col), own);
        planner.strips(&Strips {
            variant: Variant::new(Stem::ActivationGrad),
            x: P::read(&self.grad_output),
            beside: Some(Beside::Numbers("z", P::read(&self.z))),
            y: P::written(&self.grad_z),
            params: &params,
        })
    }

    fn compute(mut self, isa: Option<Isa>)
    where
        P: HostPlace,
    {
        let cols = self.z.cols();
        let (dy, z) = (P::values(&self.grad_output), P::values(&self.z));
        let (dz, act, dropout) = (P::values_mut(&mut self.grad_z), self.activation, &self.dropout);
        match isa {
            Some(isa) => fast::activation_grad(isa, dy, z, dz, cols, act, dropout),
            None => reference::activation_grad(dy, z, dz, cols, act, dropout),
        }
    }
}

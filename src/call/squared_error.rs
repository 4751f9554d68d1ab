//! The call of `squared_error`.

use super::{Call, DevicePlace, HostPlace, Place};
use crate::Result;
use crate::cpu::fast::Isa;
use crate::cpu::reference;
use crate::plan::{
    Params, Plan, Planner, Stem, Variant, Work, check_tensors, own, read, windows, write,
};
use crate::shape::{Matrix, expect};

/// Squared error of each row, and its gradient: for regression, or for an autoencoder, whose
/// targets are its inputs.
///
/// `y` is the logistic function of `z`, or `z` itself. The loss is
/// `loss[r] = ½·Σ_c (y[r,c] − t[r,c])²`. The gradient, of the mean over the rows, is
/// `dz = (y − t)/B`, times `y·(1 − y)` for the logistic function.
///
/// Source: Hinton, Salakhutdinov, "Reducing the dimensionality of data with neural networks",
/// Science 313 (2006).
pub struct SquaredError<P: Place> {
    /// `z [B, C]`, the last layer's output.
    pub z: P::In<f32>,
    /// `t [B, C]`
    pub targets: P::In<f32>,
    /// `dz [B, C]`, written.
    pub grad_z: P::Out<f32>,
    /// `[B, 2]`, written: a row's loss, and 0.
    pub losses: P::Out<f32>,
    /// True for `y = 1 / (1 + exp(−z))`, false for `y = z`.
    pub logistic: bool,
}

own! {
    /// Own words: 1/B, and whether `y` is the logistic function of `z`.
    SquaredErrorOwn {
        inverse_batch: f32,
        logistic: u32,
    }
}

impl<P: Place> Call<P> for SquaredError<P> {
    fn check(&self) -> Result<()> {
        let kernel = "squared_error";
        let (batch, cols) = (self.z.rows(), self.z.cols());
        expect(kernel, "targets", &self.targets, batch, cols)?;
        expect(kernel, "grad_z", &self.grad_z, batch, cols)?;
        expect(kernel, "losses", &self.losses, batch, 2)
    }

    fn plan<'p>(&'p self, planner: &Planner) -> Result<Plan<'p>>
    where
        P: DevicePlace,
    {
        self.check()?;
        let stem = Stem::SquaredError;
        let (z, targets) = (P::read(&self.z), P::read(&self.targets));
        let (dz, losses) = (P::written(&self.grad_z), P::written(&self.losses));
        check_tensors(
            stem,
            &[
                read("z", z),
                read("targets", targets),
                write("grad_z", dz),
                write("losses", losses).packed(),
            ],
        )?;
        let strides =
            [("z", z.stride), ("targets", targets.stride), ("grad_z", dz.stride), ("losses", 2)];
        let mut plan = Vec::new();
        for (from, rows) in windows(z.rows, planner.common_rows(z.rows, &strides, 4)?) {
            let work = Work {
                variant: Variant::new(stem),
                tensors: &[z, targets, dz, losses].map(|view| planner.window(view, 4, from, rows)),
                params: Params::of(rows, z.cols),
                own: SquaredErrorOwn {
                    inverse_batch: (1.0 / z.rows as f64) as f32,
                    logistic: self.logistic.into(),
                },
                loops: z.cols as u64 + 1,
            };
            plan.extend(planner.dispatch(work, (rows as u64).div_ceil(64))?);
        }
        Ok(plan)
    }

    fn compute(mut self, _: Option<Isa>)
    where
        P: HostPlace,
    {
        let cols = self.z.cols();
        let (z, targets) = (P::values(&self.z), P::values(&self.targets));
        let (dz, losses) = (P::values_mut(&mut self.grad_z), P::values_mut(&mut self.losses));
        reference::squared_error(z, targets, dz, losses, cols, self.logistic);
    }
}

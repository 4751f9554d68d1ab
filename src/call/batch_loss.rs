//! The call of `batch_loss`.

use super::{Call, DevicePlace, HostPlace, Place};
use crate::cpu::fast::Isa;
use crate::cpu::reference;
use crate::plan::{Params, Plan, Planner, Stem, Variant, Work, check_tensors, read, write};
use crate::shape::{Matrix, expect};
use crate::{Error, Result};

/// Totals of a mini-batch, `totals[slot] = Σ_r losses[r]`: the sum of its losses and the number of
/// rows classified correctly.
pub struct BatchLoss<P: Place> {
    /// `[B, 2]`, from [`SoftmaxCrossEntropy`](super::SoftmaxCrossEntropy) or
    /// [`SquaredError`](super::SquaredError).
    pub losses: P::In<f32>,
    /// `[any, 2]`, one row written.
    pub totals: P::Out<f32>,
    /// The row of `totals` to write.
    pub slot: usize,
}

impl<P: Place> Call<P> for BatchLoss<P> {
    fn check(&self) -> Result<()> {
        let kernel = "batch_loss";
        expect(kernel, "losses", &self.losses, self.losses.rows(), 2)?;
        expect(kernel, "totals", &self.totals, self.totals.rows(), 2)?;
        if self.slot >= self.totals.rows() {
            let what = format!("slot {} of totals with {} rows", self.slot, self.totals.rows());
            return Err(Error::shape(kernel, what));
        }
        Ok(())
    }

    fn plan<'p>(&'p self, planner: &Planner) -> Result<Plan<'p>>
    where
        P: DevicePlace,
    {
        self.check()?;
        let stem = Stem::BatchLoss;
        let (losses, totals) = (P::read(&self.losses), P::written(&self.totals));
        check_tensors(stem, &[read("losses", losses).packed(), write("totals", totals).packed()])?;
        let rows = losses.rows as u64;
        let work = Work {
            variant: Variant::new(stem),
            tensors: &[planner.whole("losses", losses)?, planner.window(totals, 4, self.slot, 1)],
            params: Params::of(losses.rows, 0),
            own: (),
            loops: rows.div_ceil(64) + 66,
        };
        Ok(planner.dispatch(work, 1)?.into_iter().collect())
    }

    fn compute(mut self, _: Option<Isa>)
    where
        P: HostPlace,
    {
        let total = reference::batch_loss(P::values(&self.losses));
        P::values_mut(&mut self.totals)[2 * self.slot..2 * self.slot + 2].copy_from_slice(&total);
    }
}

//! The call of `softmax_cross_entropy`.

use super::{Call, DevicePlace, HostPlace, Place};
use crate::cpu::{fast, fast::Isa, reference};
use crate::plan::{
    Params, Plan, Planner, Stem, Variant, Work, check_tensors, own, read, windows, write,
};
use crate::shape::{Matrix, expect};
use crate::{Error, Result};

/// Softmax cross-entropy of each row, and its gradient.
///
/// With `max` the largest logit of row r, the loss in nats is
/// `loss[r] = log Σ_c exp(z[r,c] − max) − (z[r,label] − max)`. The gradient, of the mean of N
/// losses, is `dz = (softmax(z) − onehot)/N`. The kernel also records whether each row is
/// classified correctly.
///
/// Source: CS231n notes, "linear classification".
pub struct SoftmaxCrossEntropy<P: Place> {
    /// `z [B, C]`
    pub logits: P::In<f32>,
    /// `[B, 1]`, each below C. A label of C or more gives a loss of NaN.
    pub labels: P::In<u32>,
    /// `dz [B, C]`, written.
    pub grad_logits: P::Out<f32>,
    /// `[B, 2]`, written: a row's loss, and 1 if its largest logit (the first of equal ones) is
    /// the label's, else 0.
    pub losses: P::Out<f32>,
    /// Number of rows N over which the loss is averaged: B, or the rows of the whole mini-batch if
    /// these B are a shard of it.
    pub batch: usize,
}

own! {
    /// Own words: 1/N, and the loss of a row whose label has no class.
    LossOwn {
        inverse_batch: f32,
        unknown: f32,
    }
}

impl<P: Place> Call<P> for SoftmaxCrossEntropy<P> {
    fn check(&self) -> Result<()> {
        let kernel = "softmax_cross_entropy";
        let (batch, classes) = (self.logits.rows(), self.logits.cols());
        expect(kernel, "labels", &self.labels, batch, 1)?;
        expect(kernel, "grad_logits", &self.grad_logits, batch, classes)?;
        expect(kernel, "losses", &self.losses, batch, 2)?;
        if self.batch < batch {
            let what = format!("{batch} rows of a mini-batch of {}", self.batch);
            return Err(Error::shape(kernel, what));
        }
        Ok(())
    }

    fn plan<'p>(&'p self, planner: &Planner) -> Result<Plan<'p>>
    where
        P: DevicePlace,
    {
        self.check()?;
        let stem = Stem::SoftmaxCrossEntropy;
        let (z, labels) = (P::read(&self.logits), P::read_as::<u32>(&self.labels));
        let (dz, losses) = (P::written(&self.grad_logits), P::written(&self.losses));
        check_tensors(
            stem,
            &[
                read("logits", z),
                read("labels", labels).packed(),
                write("grad_logits", dz),
                write("losses", losses).packed(),
            ],
        )?;
        let strides = [("logits", z.stride), ("grad_logits", dz.stride), ("losses", 2)];
        let mut plan = Vec::new();
        for (from, rows) in windows(z.rows, planner.common_rows(z.rows, &strides, 4)?) {
            let work = Work {
                variant: Variant::new(stem),
                tensors: &[z, labels, dz, losses].map(|view| planner.window(view, 4, from, rows)),
                params: Params::of(rows, z.cols),
                own: LossOwn { inverse_batch: (1.0 / self.batch as f64) as f32, unknown: f32::NAN },
                loops: 3 * (z.cols as u64 + 1),
            };
            plan.extend(planner.dispatch(work, (rows as u64).div_ceil(64))?);
        }
        Ok(plan)
    }

    fn compute(mut self, isa: Option<Isa>)
    where
        P: HostPlace,
    {
        let (classes, batch) = (self.logits.cols(), self.batch);
        let (logits, labels) = (P::values(&self.logits), P::values_as::<u32>(&self.labels));
        let dz = P::values_mut(&mut self.grad_logits);
        let losses = P::values_mut(&mut self.losses);
        match isa {
            Some(_) => fast::softmax_cross_entropy(logits, labels, dz, losses, classes, batch),
            None => reference::softmax_cross_entropy(logits, labels, dz, losses, classes, batch),
        }
    }
}

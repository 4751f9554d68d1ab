//! The call of `sparsity_grad`.

use super::{Call, DevicePlace, HostPlace, Place};
use crate::cpu::fast::Isa;
use crate::cpu::reference;
use crate::plan::{
    Params, Plan, Planner, Stem, Variant, Work, check_tensors, own, read, windows, write,
};
use crate::rules::range::{PENALTY, TARGET, range};
use crate::shape::{Matrix, expect};
use crate::Result;

/// Gradient of a sparsity penalty, added to the gradient `dY [B, C]` of the penalized layer's
/// output `Y`.
///
/// Let `ρ̂` be a unit's mean activation over the mini-batch. It must lie between 0 and 1, as
/// [`Activation::Sigmoid`](super::Activation::Sigmoid) ensures. The penalty is `λ·Σ KL(ρ ‖ ρ̂)`
/// over the units, with `KL(ρ ‖ ρ̂) = ρ·ln(ρ/ρ̂) + (1 − ρ)·ln((1 − ρ)/(1 − ρ̂))`. Its gradient, for
/// each row, is `dY += λ/B·((1 − ρ)/(1 − ρ̂) − ρ/ρ̂)`.
///
/// `ρ̂` is clamped to 10⁻⁶ to 1 − 10⁻⁶, so a unit that is off in all rows is pushed hard, but not
/// without bound. [`ActivationGrad`](super::ActivationGrad) continues the backward pass. If `Y` is
/// taken after dropout, the penalty applies to the dropped-out activations.
///
/// Sources: Ng, "Sparse autoencoder", CS294A lecture notes (2011); the "L2 and KL" of Srivastava et
/// al., JMLR 15 (2014), table 9.
pub struct SparsityGrad<P: Place> {
    /// `[2, C]` of `Y`, as [`BatchStatistics`](super::BatchStatistics) writes it. Only the means
    /// are read.
    pub statistics: P::In<f32>,
    /// `dY [B, C]`, updated.
    pub grad_y: P::Out<f32>,
    #[doc = concat!("Target mean activation `ρ`: ", range!(TARGET), "; 0.05 is usual.")]
    pub target: f32,
    #[doc = concat!("Weight `λ` of the penalty: ", range!(PENALTY), ".")]
    pub weight: f32,
}

own! {
    /// Own words: ρ, and λ/B.
    SparsityOwn {
        rho: f32,
        weight: f32,
    }
}

impl<P: Place> Call<P> for SparsityGrad<P> {
    fn check(&self) -> Result<()> {
        expect("sparsity_grad", "statistics", &self.statistics, 2, self.grad_y.cols())?;
        TARGET.check(self.target)?;
        PENALTY.check(self.weight)
    }

    fn plan<'p>(&'p self, planner: &Planner) -> Result<Plan<'p>>
    where
        P: DevicePlace,
    {
        self.check()?;
        let stem = Stem::SparsityGrad;
        let (statistics, grad_y) = (P::read(&self.statistics), P::written(&self.grad_y));
        check_tensors(stem, &[read("statistics", statistics).packed(), write("grad_y", grad_y)])?;
        let statistics = planner.whole("statistics", statistics)?;
        let most = planner.rows_per_binding("grad_y", grad_y.stride, 4)?;
        let mut plan = Vec::new();
        for (from, rows) in windows(grad_y.rows, most) {
            let work = Work {
                variant: Variant::new(stem),
                tensors: &[statistics, planner.window(grad_y, 4, from, rows)],
                params: Params::of(rows, grad_y.cols),
                own: SparsityOwn {
                    rho: self.target,
                    weight: (f64::from(self.weight) / grad_y.rows as f64) as f32,
                },
                loops: rows as u64 + 1,
            };
            plan.extend(planner.dispatch(work, (grad_y.cols as u64).div_ceil(64))?);
        }
        Ok(plan)
    }

    fn compute(mut self, _: Option<Isa>)
    where
        P: HostPlace,
    {
        let (cols, target, weight) = (self.grad_y.cols(), self.target, self.weight);
        let (statistics, grad_y) = (P::values(&self.statistics), P::values_mut(&mut self.grad_y));
        reference::sparsity_grad(statistics, grad_y, cols, target, weight);
    }
}

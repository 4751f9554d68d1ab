//! The call of `batch_norm`.

use super::{Call, DevicePlace, HostPlace, Place, check_dropout};
use crate::cpu::{fast, fast::Isa, reference};
use crate::plan::{
    Params, Plan, Planner, Stem, Variant, Work, check_tensors, own, read, windows, write,
};
use crate::rules::range::{self, range};
use crate::shape::{Matrix, expect};
use crate::{Dropout, Result};

/// Usual summand of a variance before its root is taken, as in PyTorch.
pub const EPSILON: f32 = 1e-5;

/// Batch normalization, with ReLU and dropout if requested:
/// `Y = M·s·relu(γ·(X − mean)/√(variance + ε) + β)`.
///
/// Training uses the statistics of the mini-batch ([`BatchStatistics`](super::BatchStatistics)),
/// prediction the running ones. Source: Ioffe, Szegedy, "Batch normalization", ICML 2015.
pub struct BatchNorm<P: Place> {
    /// `X [B, C]`
    pub x: P::In<f32>,
    /// `[2, C]`: means, then variances.
    pub statistics: P::In<f32>,
    /// `[2, C]`: γ, then β.
    pub affine: P::In<f32>,
    /// `Y [B, C]`, written.
    pub y: P::Out<f32>,
    #[doc = concat!("`ε`: ", range!(EPSILON), "; [`EPSILON`](super::EPSILON) is usual.")]
    pub epsilon: f32,
    /// True if ReLU precedes the dropout.
    pub relu: bool,
    /// Mask and scale.
    pub dropout: Dropout,
}

own! {
    /// Own words: ε, and whether there is a ReLU.
    BatchNormOwn {
        epsilon: f32,
        relu: u32,
    }
}

impl<P: Place> Call<P> for BatchNorm<P> {
    fn check(&self) -> Result<()> {
        let (kernel, rows, cols) = ("batch_norm", self.x.rows(), self.x.cols());
        expect(kernel, "statistics", &self.statistics, 2, cols)?;
        expect(kernel, "affine", &self.affine, 2, cols)?;
        expect(kernel, "y", &self.y, rows, cols)?;
        range::EPSILON.check(self.epsilon)?;
        check_dropout(&self.dropout, rows, cols)
    }

    fn plan<'p>(&'p self, planner: &Planner) -> Result<Plan<'p>>
    where
        P: DevicePlace,
    {
        self.check()?;
        let (stem, x, y) = (Stem::BatchNorm, P::read(&self.x), P::written(&self.y));
        let (statistics, affine) = (P::read(&self.statistics), P::read(&self.affine));
        check_tensors(
            stem,
            &[
                read("x", x),
                read("statistics", statistics).packed(),
                read("affine", affine).packed(),
                write("y", y),
            ],
        )?;
        let statistics = planner.whole("statistics", statistics)?;
        let affine = planner.whole("affine", affine)?;
        let most = planner.common_rows(x.rows, &[("x", x.stride), ("y", y.stride)], 4)?;
        let mut plan = Vec::new();
        for (from, rows) in windows(x.rows, most) {
            let [x_rows, y_rows] = [x, y].map(|view| planner.window(view, 4, from, rows));
            let work = Work {
                variant: Variant::new(stem),
                tensors: &[x_rows, statistics, affine, y_rows],
                params: Params::of(rows, x.cols).with_dropout(&self.dropout, from, 0),
                own: BatchNormOwn { epsilon: self.epsilon, relu: self.relu.into() },
                loops: 0,
            };
            let strips = rows as u64 * x.cols.div_ceil(8) as u64;
            plan.extend(planner.dispatch(work, strips.div_ceil(64))?);
        }
        Ok(plan)
    }

    fn compute(mut self, isa: Option<Isa>)
    where
        P: HostPlace,
    {
        let (cols, epsilon, relu) = (self.x.cols(), self.epsilon, self.relu);
        let (x, statistics) = (P::values(&self.x), P::values(&self.statistics));
        let (affine, y) = (P::values(&self.affine), P::values_mut(&mut self.y));
        let dropout = &self.dropout;
        match isa {
            Some(isa) => {
                fast::batch_norm(isa, x, statistics, affine, y, cols, epsilon, relu, dropout)
            }
            None => reference::batch_norm(x, statistics, affine, y, cols, epsilon, relu, dropout),
        }
    }
}

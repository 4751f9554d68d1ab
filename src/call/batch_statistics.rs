//! The call of `batch_statistics`.

use super::{Call, DevicePlace, HostPlace, Place};
use crate::cpu::fast::Isa;
use crate::cpu::reference;
use crate::plan::{Params, Plan, Planner, Stem, Variant, Work, check_tensors, own, read, write};
use crate::rules::range::{RUNNING, range};
use crate::shape::{Matrix, expect};
use crate::{Error, Result};

/// Mean and variance of each column of `X [B, C]`, and an update of the running ones, which move by
/// `m` towards them.
///
/// `mean = Σ_r x/B` and `variance = Σ_r (x − mean)²/B`. The running variance uses the unbiased
/// estimate, `B/(B − 1)` times the variance (1 times if B is 1).
///
/// Source: Ioffe, Szegedy, "Batch normalization", ICML 2015, algorithm 1.
pub struct BatchStatistics<P: Place> {
    /// `X [B, C]`, B at least 1.
    pub x: P::In<f32>,
    /// `[2, C]`, written: means, then variances.
    pub statistics: P::Out<f32>,
    /// `[2, C]`, updated: running means, then running variances, for prediction.
    pub running: P::Out<f32>,
    #[doc = concat!("Momentum `m`: ", range!(RUNNING), ".")]
    pub momentum: f32,
}

own! {
    /// Own words: 1/B, `B/(B − 1)`, and `m`.
    StatisticsOwn {
        inverse_rows: f32,
        unbiased: f32,
        momentum: f32,
    }
}

impl<P: Place> Call<P> for BatchStatistics<P> {
    fn check(&self) -> Result<()> {
        let (kernel, cols) = ("batch_statistics", self.x.cols());
        expect(kernel, "statistics", &self.statistics, 2, cols)?;
        expect(kernel, "running", &self.running, 2, cols)?;
        RUNNING.check(self.momentum)?;
        match self.x.rows() {
            0 => Err(Error::shape(kernel, "a mini-batch of no rows has no statistics".to_owned())),
            _ => Ok(()),
        }
    }

    fn plan<'p>(&'p self, planner: &Planner) -> Result<Plan<'p>>
    where
        P: DevicePlace,
    {
        self.check()?;
        let (stem, x) = (Stem::BatchStatistics, P::read(&self.x));
        let (statistics, running) = (P::written(&self.statistics), P::written(&self.running));
        check_tensors(
            stem,
            &[
                read("x", x),
                write("statistics", statistics).packed(),
                write("running", running).packed(),
            ],
        )?;
        let work = Work {
            variant: Variant::new(stem),
            // The sums over a column need all of its rows in one dispatch.
            tensors: &[
                planner.whole("x", x)?,
                planner.whole("statistics", statistics)?,
                planner.whole("running", running)?,
            ],
            params: Params::of(x.rows, x.cols),
            own: StatisticsOwn {
                inverse_rows: (1.0 / x.rows as f64) as f32,
                unbiased: (x.rows as f64 / (x.rows.max(2) - 1) as f64) as f32,
                momentum: self.momentum,
            },
            loops: 2 * (x.rows as u64 + 1),
        };
        Ok(planner.dispatch(work, (x.cols as u64).div_ceil(64))?.into_iter().collect())
    }

    fn compute(mut self, _: Option<Isa>)
    where
        P: HostPlace,
    {
        let (cols, momentum) = (self.x.cols(), self.momentum);
        let x = P::values(&self.x);
        let statistics = P::values_mut(&mut self.statistics);
        let running = P::values_mut(&mut self.running);
        reference::batch_statistics(x, statistics, running, cols, momentum);
    }
}

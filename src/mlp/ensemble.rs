//! Exact average of the ensemble that dropout trains: every binary mask is one sub-network, and all
//! share their weights.

use super::network::Mlp;
use super::predict::BATCH;
use super::resident::Resident;
use super::subnetworks::{ELEMENTS, Place, Predictive, Site, Subnets};
use super::wait::{Wait, blocking};
use crate::backend::Backend;
use crate::call::Subnetworks;
use crate::{Dropout, Error, Mode, Result};

/// Largest number of droppable units whose masks are enumerated: 2^20 sub-networks.
pub const MAX_UNITS: usize = 20;

/// Target number of rows per dispatch, over all its sub-networks: enough to keep a device busy.
const ROWS: usize = 1 << 14;

/// All masks, by their numbers.
struct Masks<B: Backend> {
    /// Weight of each mask.
    weights: B::Tensor<f32>,
    /// Sum of the weights before each mask.
    before: Vec<f64>,
    mode: Mode,
}

impl<B: Backend> Mlp<B> {
    /// Returns the class probabilities averaged over all `2^n` masks of the `n` droppable units.
    /// Each mask is weighted by its probability `k^kept · (1 − k)^dropped`, where `k` is the keep
    /// rate in effect.
    ///
    /// One dispatch computes many sub-networks, and the device averages them, so that only the
    /// result is read back. Sources: Baldi, Sadowski, "Understanding dropout", NeurIPS 2013;
    /// Srivastava et al., JMLR 15 (2014), section 1.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for more than [`MAX_UNITS`] droppable units; [`Error::Shape`] for data
    /// of another width.
    pub fn predict_ensemble(&mut self, data: &Resident<B>) -> Result<Predictive> {
        blocking(self.enumerated(data, Wait::Block))
    }

    /// [`predict_ensemble`](Self::predict_ensemble) without blocking, as [`Backend::read_async`].
    ///
    /// # Errors
    /// As [`predict_ensemble`](Self::predict_ensemble).
    pub async fn predict_ensemble_async(&mut self, data: &Resident<B>) -> Result<Predictive> {
        self.enumerated(data, Wait::Yield).await
    }

    async fn enumerated(&mut self, data: &Resident<B>, wait: Wait) -> Result<Predictive> {
        let sites = self.architecture.droppable();
        let units: usize = sites.iter().map(|site| site.units).sum();
        if units > MAX_UNITS {
            let what = "droppable units of an exact ensemble".to_owned();
            return Err(Error::TooLarge { what, value: units as u64, bound: MAX_UNITS as u64 });
        }
        let probabilities: Vec<f64> =
            (0..1u32 << units).map(|mask| probability(&sites, mask)).collect();
        let singles: Vec<f32> = probabilities.iter().map(|&weight| weight as f32).collect();
        let sum_before = |sum: &mut f64, weight: f64| {
            *sum += weight;
            Some(*sum - weight)
        };
        let before = probabilities.into_iter().scan(0.0, sum_before).collect();
        let mode = self.architecture.mode;
        let masks =
            Masks { weights: self.backend.tensor(singles.len(), 1, &singles)?, before, mode };
        let widest = self.architecture.widths().into_iter().max().unwrap_or(1);
        // Both are powers of two, so that all groups are equal.
        let at_a_time = |rows: usize| {
            let most = (ROWS / rows).min(ELEMENTS / rows / widest).max(1);
            masks.before.len().min(1 << most.ilog2())
        };
        let moments = self.average(data, &masks, BATCH, at_a_time, wait).await?;
        Ok(Predictive::of(&moments, self.architecture.classes, 1.0))
    }
}

/// Returns the probability of a mask over all sites: `k^kept · (1 − k)^dropped`.
fn probability(sites: &[Site], mask: u32) -> f64 {
    let of_site = |site: &Site| {
        let kept = (mask >> site.bit & ((1 << site.units) - 1)).count_ones() as i32;
        site.rate.keep_in_effect().powi(kept)
            * site.rate.drop_in_effect().powi(site.units as i32 - kept)
    };
    sites.iter().map(of_site).product()
}

impl<B: Backend> Subnets<B> for Masks<B> {
    fn count(&self) -> usize {
        self.before.len()
    }

    fn weights(&self, from: usize) -> (&B::Tensor<f32>, usize, f32) {
        (&self.weights, from, self.before[from] as f32)
    }

    fn fused(&self, _: &Site, _: Place) -> Option<Dropout> {
        None
    }

    fn drop(
        &self,
        backend: &mut B,
        site: &Site,
        at: Place,
        x: &B::Tensor<f32>,
        y: &mut B::Tensor<f32>,
    ) -> Result<()> {
        let scale = if self.mode == Mode::Inverted { site.rate.inverse() } else { 1.0 };
        backend.run(Subnetworks {
            x,
            y,
            rows: at.rows,
            first: at.network as u32,
            bit: site.bit as u32,
            scale,
        })
    }
}

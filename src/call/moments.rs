//! The call of `moments`.

use super::{Call, DevicePlace, HostPlace, Place};
use crate::cpu::{fast, fast::Isa, reference};
use crate::plan::{Params, Plan, Planner, Stem, Variant, Work, check_tensors, own, read, write};
use crate::rules::range::{BEFORE, range};
use crate::shape::{Matrix, expect};
use crate::{Error, Result, order};

/// Weighted moments of the class probabilities `p = softmax(z)` of S networks, joined to those of
/// the networks before.
///
/// With `W = Σ_s w[s]`:
///
/// - the mean, `mean[r, c] = Σ_s w[s]·p[s, r, c] / W`,
/// - the squares, `squares[r, c] = Σ_s w[s]·(p[s, r, c] − mean[r, c])²`, so that the variance is
///   `squares / W`,
/// - the weighted mean over the networks of the entropies `−Σ_c p·log p`, in nats.
///
/// Sources: West, CACM 22 (1979), for adding weighted values one at a time; Chan, Golub, LeVeque,
/// The American Statistician 37 (1983), for joining.
pub struct Moments<P: Place> {
    /// `z [S·R, C]`, each network's rows of data together; overwritten.
    pub logits: P::Out<f32>,
    /// `w [any, 1]`, none negative.
    pub weights: P::In<f32>,
    /// Position in `weights` of the first network's weight.
    pub first: usize,
    #[doc = concat!("Sum of the weights of all networks before: ", range!(BEFORE), ".")]
    /// If it is 0, the previous contents of `moments` are ignored.
    pub before: f32,
    /// `[R, 2·C + 1]`, updated: means, squares, and the mean of the entropies.
    pub moments: P::Out<f32>,
}

/// Flag: `moments` holds nothing yet.
const FIRST: u32 = 1;

own! {
    /// Own words: the row of the first weight, the number of networks and of the chains that share
    /// them, the weight of the networks before, flags.
    MomentsOwn {
        first: u32,
        networks: u32,
        chains: u32,
        before: f32,
        flags: u32,
    }
}

impl<P: Place> Moments<P> {
    /// Number of networks S, of R rows each.
    fn networks(&self) -> usize {
        self.logits.rows() / self.moments.rows().max(1)
    }
}

impl<P: Place> Call<P> for Moments<P> {
    fn check(&self) -> Result<()> {
        let (kernel, rows, classes) = ("moments", self.moments.rows(), self.logits.cols());
        if rows == 0 && self.logits.rows() > 0
            || rows > 0 && !self.logits.rows().is_multiple_of(rows)
        {
            let logits = self.logits.rows();
            let what = format!("{logits} logits of networks that have {rows} rows each");
            return Err(Error::shape(kernel, what));
        }
        if classes == 0 {
            return Err(Error::shape(kernel, "logits of no classes"));
        }
        BEFORE.check(self.before)?;
        expect(kernel, "moments", &self.moments, rows, 2 * classes + 1)?;
        expect(kernel, "weights", &self.weights, self.weights.rows(), 1)?;
        if self.first.checked_add(self.networks()).is_none_or(|end| end > self.weights.rows()) {
            let what =
                format!("weights {}..+{} of {}", self.first, self.networks(), self.weights.rows());
            return Err(Error::shape(kernel, what));
        }
        Ok(())
    }

    fn plan<'p>(&'p self, planner: &Planner) -> Result<Plan<'p>>
    where
        P: DevicePlace,
    {
        self.check()?;
        let (stem, weights) = (Stem::Moments, P::read(&self.weights));
        let (logits, moments) = (P::written(&self.logits), P::written(&self.moments));
        check_tensors(
            stem,
            &[read("weights", weights), write("logits", logits), write("moments", moments)],
        )?;
        let networks = self.networks();
        let chains = order::chains(networks);
        let work = Work {
            variant: Variant::new(stem),
            tensors: &[
                planner.whole("weights", weights)?,
                planner.whole("logits", logits)?,
                planner.whole("moments", moments)?,
            ],
            params: Params::of(moments.rows, logits.cols),
            own: MomentsOwn {
                first: self.first as u32,
                networks: networks as u32,
                chains: chains as u32,
                before: self.before,
                flags: if self.before == 0.0 { FIRST } else { 0 },
            },
            loops: loops(logits.cols as u64, networks as u64, chains as u64),
        };
        let workgroups = (moments.rows as u64).div_ceil(64 / chains as u64);
        Ok(planner.dispatch(work, workgroups)?.into_iter().collect())
    }

    fn compute(mut self, isa: Option<Isa>)
    where
        P: HostPlace,
    {
        let (networks, classes, before) = (self.networks(), self.logits.cols(), self.before);
        let weights = &P::values(&self.weights)[self.first..self.first + networks];
        let logits = P::values_mut(&mut self.logits);
        let moments = P::values_mut(&mut self.moments);
        match isa {
            Some(_) => fast::moments(logits, weights, before, moments, classes),
            None => reference::moments(logits, weights, before, moments, classes),
        }
    }
}

/// Iterations of a thread's loops.
fn loops(classes: u64, networks: u64, chains: u64) -> u64 {
    let networks = networks.div_ceil(chains);
    let (softmax, sums) = (3 * (classes + 1), classes * (networks + 2));
    networks * (softmax + 1) + 1 + sums + 1 + (classes / chains + 1) * (chains + 2) + 1
}

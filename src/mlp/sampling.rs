//! Monte Carlo prediction: averages over sampled masks.

use super::architecture::Architecture;
use super::network::Mlp;
use super::resident::Resident;
use super::subnetworks::{ELEMENTS, Place, Predictive, Site, Subnets};
use super::wait::{Wait, blocking};
use crate::backend::Backend;
use crate::call::{DropoutBroadcast, DropoutCall};
use crate::mask::PREDICTION;
use crate::{AxisMap, Dropout, Error, Key, Mask, Matrix, Result};

/// Rows that a sample takes at a time. It is larger than a plain prediction's batch, because each
/// chunk is computed once per sample.
const BATCH: usize = 1024;

/// Sharing of a sample's mask among the rows of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sharing {
    /// No sharing: row r of the data draws as row r, so every row of every sample has its own
    /// sub-network.
    #[default]
    PerRow,
    /// All rows share one mask: each draws as row 0, so that a sample is one sub-network applied to
    /// the whole data.
    PerPass,
}

/// Sampled masks.
struct Samples<'a, B: Backend> {
    architecture: &'a Architecture,
    count: u32,
    sharing: Sharing,
    /// The weight of every sample, 1.
    one: B::Tensor<f32>,
}

impl<B: Backend> Mlp<B> {
    /// Returns the class probabilities averaged over `samples` masks. Sample `s` draws with the top
    /// bit of `layer` set, with `step = s`, and with `row` the index in the data
    /// ([`Sharing::PerRow`]) or 0 ([`Sharing::PerPass`]).
    ///
    /// Samples are averaged on the device: nothing is read back between them, and all of them are
    /// one submit, as far as a submit holds that many dispatches. Layers that no mask reaches are
    /// computed once for all samples.
    ///
    /// Sources: Gal, Ghahramani, "Dropout as a Bayesian approximation", ICML 2016; Srivastava et
    /// al., JMLR 15 (2014), section 7.5.
    ///
    /// # Errors
    /// [`Error::Invalid`] for 0 samples; [`Error::Shape`] for data of another width.
    pub fn predict_monte_carlo(
        &mut self,
        data: &Resident<B>,
        samples: u32,
        sharing: Sharing,
    ) -> Result<Predictive> {
        blocking(self.sampled(data, samples, sharing, Wait::Block))
    }

    /// [`predict_monte_carlo`](Self::predict_monte_carlo) without blocking, as
    /// [`Backend::read_async`].
    ///
    /// # Errors
    /// As [`predict_monte_carlo`](Self::predict_monte_carlo).
    pub async fn predict_monte_carlo_async(
        &mut self,
        data: &Resident<B>,
        samples: u32,
        sharing: Sharing,
    ) -> Result<Predictive> {
        self.sampled(data, samples, sharing, Wait::Yield).await
    }

    async fn sampled(
        &mut self,
        data: &Resident<B>,
        samples: u32,
        sharing: Sharing,
        wait: Wait,
    ) -> Result<Predictive> {
        if samples == 0 {
            return Err(Error::invalid("0 samples: must be 1 or more"));
        }
        let architecture = self.architecture.clone();
        // If no site drops, all samples are equal, and one suffices.
        let count = if architecture.droppable().is_empty() { 1 } else { samples };
        let one = self.backend.tensor(1, 1, &[1.0])?;
        let samples = Samples { architecture: &architecture, count, sharing, one };
        let widest = architecture.widths().into_iter().max().unwrap_or(1);
        let moments =
            self.average(data, &samples, (ELEMENTS / widest).clamp(1, BATCH), |_| 1, wait).await?;
        Ok(Predictive::of(&moments, architecture.classes, f64::from(count)))
    }
}

impl<B: Backend> Samples<'_, B> {
    /// Returns the dropout of a site in a sample, for the rows of the data from `first` on.
    fn dropout(&self, site: &Site, sample: usize, first: usize) -> Dropout {
        let key = Key {
            seed: self.architecture.seed,
            layer: site.layer as u32 | PREDICTION,
            step: sample as u32,
        };
        Dropout::train(self.architecture.mode, Mask::new(site.rate, key).at(first as u64, 0))
    }
}

impl<B: Backend> Subnets<B> for Samples<'_, B> {
    fn count(&self) -> usize {
        self.count as usize
    }

    fn weights(&self, from: usize) -> (&B::Tensor<f32>, usize, f32) {
        (&self.one, 0, from as f32)
    }

    fn fused(&self, site: &Site, at: Place) -> Option<Dropout> {
        (self.sharing == Sharing::PerRow).then(|| self.dropout(site, at.network, at.first))
    }

    fn drop(
        &self,
        backend: &mut B,
        site: &Site,
        at: Place,
        x: &B::Tensor<f32>,
        y: &mut B::Tensor<f32>,
    ) -> Result<()> {
        match self.sharing {
            Sharing::PerRow => {
                backend.run(DropoutCall { x, y, dropout: self.dropout(site, at.network, at.first) })
            }
            Sharing::PerPass => {
                let axes = AxisMap::new(&[x.rows(), x.cols()], &[], &[1])?;
                backend.run(DropoutBroadcast {
                    x,
                    y,
                    axes: &axes,
                    dropout: self.dropout(site, at.network, 0),
                })
            }
        }
    }
}

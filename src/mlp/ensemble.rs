//! The ensemble that dropout trains, averaged exactly: every binary mask is one sub-network with shared weights.

use super::network::Mlp;
use super::predict::softmax;
use super::resident::Resident;
use crate::backend::Backend;
use crate::{Dropout, Error, Mode, Result};

/// The most droppable units whose masks are enumerated: 2^20 sub-networks.
pub const MAX_UNITS: usize = 20;

/// A droppable unit: its site and its place there.
struct Unit {
    site: usize,
    index: usize,
}

impl<B: Backend> Mlp<B> {
    /// Class probabilities averaged over all `2^n` masks of the `n` droppable units, each weighted by its probability
    /// `k^kept · (1 − k)^dropped` with `k` the keep rate in effect.
    ///
    /// A sub-network is the network with the outgoing weights of its dropped units at 0 and those of kept ones times the scale.
    /// Source: Baldi, Sadowski, "Understanding dropout", NeurIPS 2013; Srivastava et al., JMLR 15 (2014), section 1.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for more than [`MAX_UNITS`] droppable units, [`Error::Shape`] for data of another width.
    pub fn predict_ensemble(&mut self, data: &Resident<B>) -> Result<Vec<f32>> {
        let units = self.droppable();
        if units.len() > MAX_UNITS {
            let what = "droppable units of an exact ensemble".to_owned();
            return Err(Error::TooLarge { what, value: units.len() as u64, bound: MAX_UNITS as u64 });
        }
        self.check_data(data)?;
        let mut originals = Vec::new();
        for layer in &self.layers {
            originals.push(self.backend.read(&layer.weight)?);
        }
        let result = self.average_over_masks(data, &units, &originals);
        // Whatever happened, the network gets its own weights back.
        for (layer, original) in self.layers.iter_mut().zip(&originals) {
            self.backend.write(&mut layer.weight, original)?;
        }
        result
    }

    /// Units of sites that drop at all.
    fn droppable(&self) -> Vec<Unit> {
        let widths = self.architecture.widths();
        let sites = (0..=self.architecture.hidden.len())
            .filter(|&site| self.architecture.mode != Mode::None && self.architecture.rate_of(site).drop_in_effect() > 0.0);
        sites.flat_map(|site| (0..widths[site]).map(move |index| Unit { site, index })).collect()
    }

    fn average_over_masks(&mut self, data: &Resident<B>, units: &[Unit], originals: &[Vec<f32>]) -> Result<Vec<f32>> {
        let classes = self.architecture.classes;
        let mut mean = vec![0.0f64; data.rows() * classes];
        for mask in 0..1u32 << units.len() {
            let mut weights = originals.to_vec();
            let mut probability = 1.0;
            for (bit, unit) in units.iter().enumerate() {
                let rate = self.architecture.rate_of(unit.site);
                let kept = mask >> bit & 1 == 1;
                probability *= if kept { rate.keep_in_effect() } else { rate.drop_in_effect() };
                let scale = match (kept, self.architecture.mode) {
                    (false, _) => 0.0,
                    (true, Mode::Inverted) => rate.inverse(),
                    (true, _) => 1.0,
                };
                let width = weights[unit.site].len() / self.architecture.widths()[unit.site];
                weights[unit.site][unit.index * width..][..width].iter_mut().for_each(|w| *w *= scale);
            }
            if probability == 0.0 {
                continue;
            }
            for (layer, weights) in self.layers.iter_mut().zip(&weights) {
                self.backend.write(&mut layer.weight, weights)?;
            }
            let mut p = self.logits(data, |_, _| Dropout::NONE)?;
            softmax(&mut p, classes);
            mean.iter_mut().zip(p).for_each(|(mean, p)| *mean += probability * f64::from(p));
        }
        Ok(mean.into_iter().map(|mean| mean as f32).collect())
    }
}

//! The ensemble that dropout trains, averaged exactly: every binary mask is one sub-network with shared weights.

use super::network::Mlp;
use super::predict::{BATCH, weighted_means};
use super::resident::Resident;
use crate::backend::Backend;
use crate::call::{Gather, LinearForward, Moments, Subnetworks};
use crate::{Dropout, Error, Mode, Rate, Result};

/// The most droppable units whose masks are enumerated: 2^20 sub-networks.
pub const MAX_UNITS: usize = 20;

/// Rows of all sub-networks of a dispatch together, and elements of a tensor of theirs, to aim at: enough to keep a device busy.
const ROWS: usize = 1 << 14;
const ELEMENTS: usize = 1 << 22;

/// A dropout site that drops at all.
#[derive(Debug, Clone, Copy)]
struct Site {
    layer: usize,
    /// The bit of its first unit in a mask's number.
    bit: u32,
    units: u32,
    rate: Rate,
}

/// Tensors of a group of sub-networks on a chunk of the data.
struct Group<B: Backend> {
    networks: usize,
    /// What enters each layer, as the site before it leaves it; where it does not drop, nothing.
    masked: Vec<Option<B::Tensor<f32>>>,
    /// What each layer makes: of the data's rows up to the first site that drops, of all sub-networks' from there on.
    outputs: Vec<B::Tensor<f32>>,
    x: B::Tensor<f32>,
    labels: B::Tensor<u32>,
    moments: B::Tensor<f32>,
}

impl<B: Backend> Mlp<B> {
    /// Class probabilities averaged over all `2^n` masks of the `n` droppable units, each weighted by its probability
    /// `k^kept · (1 − k)^dropped` with `k` the keep rate in effect.
    ///
    /// Many sub-networks are one dispatch, and their mean is taken on the device: what is read back is the result.
    /// Source: Baldi, Sadowski, "Understanding dropout", NeurIPS 2013; Srivastava et al., JMLR 15 (2014), section 1.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for more than [`MAX_UNITS`] droppable units, [`Error::Shape`] for data of another width.
    pub fn predict_ensemble(&mut self, data: &Resident<B>) -> Result<Vec<f32>> {
        let sites = self.droppable();
        let units: usize = sites.iter().map(|site| site.units as usize).sum();
        if units > MAX_UNITS {
            let what = "droppable units of an exact ensemble".to_owned();
            return Err(Error::TooLarge { what, value: units as u64, bound: MAX_UNITS as u64 });
        }
        self.check_data(data)?;
        self.workspaces.forget_given();
        let weights: Vec<f64> = (0..1u32 << units).map(|mask| sites.iter().map(|site| site.probability(mask)).product()).collect();
        let singles: Vec<f32> = weights.iter().map(|&weight| weight as f32).collect();
        let on_device = self.backend.tensor(singles.len(), 1, &singles)?;
        let mut groups: Vec<Group<B>> = Vec::new();
        let mut result = Vec::new();
        for first in (0..data.rows()).step_by(BATCH) {
            let rows = BATCH.min(data.rows() - first);
            // The tensors of the chunk before serve this one, unless it is the last and shorter.
            let mut group = match groups.pop() {
                Some(group) if crate::Matrix::rows(&group.x) == rows => group,
                _ => self.group(rows, &sites, weights.len())?,
            };
            self.run_masks(data, first, &sites, &weights, &on_device, &mut group)?;
            let moments = self.backend.read(&group.moments)?;
            result.extend(weighted_means(&moments, self.architecture.classes));
            groups.push(group);
        }
        Ok(result)
    }

    /// Sites that drop at all, their units numbered.
    fn droppable(&self) -> Vec<Site> {
        let (a, widths) = (&self.architecture, self.architecture.widths());
        let mut bit = 0;
        let drops = |&layer: &usize| a.mode != Mode::None && a.rate_of(layer).drop_in_effect() > 0.0;
        let site = |layer: usize| {
            let (units, rate) = (widths[layer] as u32, a.rate_of(layer));
            bit += units;
            Site { layer, bit: bit - units, units, rate }
        };
        (0..=a.hidden.len()).filter(drops).map(site).collect()
    }

    /// Tensors for a chunk of `rows` rows.
    fn group(&mut self, rows: usize, sites: &[Site], masks: usize) -> Result<Group<B>> {
        let (widths, backend) = (self.architecture.widths(), &mut self.backend);
        let widest = widths.iter().copied().max().unwrap_or(1);
        let most = (ROWS / rows).min(ELEMENTS / (rows * widest)).max(1);
        // Both are powers of two, so that groups are equal.
        let networks = masks.min(1 << most.ilog2());
        let start = sites.first().map_or(usize::MAX, |site| site.layer);
        let rows_of = |layer: usize| if layer >= start { networks * rows } else { rows };
        let mut masked = Vec::new();
        let mut outputs = Vec::new();
        for (layer, pair) in widths.windows(2).enumerate() {
            let drops = sites.iter().any(|site| site.layer == layer);
            masked.push(drops.then(|| backend.zeros(rows_of(layer), pair[0])).transpose()?);
            outputs.push(backend.zeros(rows_of(layer), pair[1])?);
        }
        let (x, labels) = (backend.zeros(rows, widths[0])?, backend.zeros(rows, 1)?);
        let moments = backend.zeros(rows, 2 * self.architecture.classes + 1)?;
        Ok(Group { networks, masked, outputs, x, labels, moments })
    }

    /// Averages over all masks on the chunk of the data that starts at row `first`.
    fn run_masks(
        &mut self,
        data: &Resident<B>,
        first: usize,
        sites: &[Site],
        weights: &[f64],
        on_device: &B::Tensor<f32>,
        group: &mut Group<B>,
    ) -> Result<()> {
        let Self { backend, architecture, layers, .. } = self;
        let Group { networks, masked, outputs, x, labels, moments } = group;
        let rows = crate::Matrix::rows(x);
        backend.gather(Gather {
            data: data.features(),
            all_labels: &data.labels,
            order: &data.order,
            first,
            unit: data.unit,
            x,
            labels,
            dropout: Dropout::NONE,
        })?;
        let start = sites.first().map_or(layers.len(), |site| site.layer);
        let mut before = 0.0f64;
        for mask in (0..weights.len()).step_by(*networks) {
            for (index, layer) in layers.iter().enumerate() {
                // What no mask reaches is the same for all.
                if index < start && mask > 0 {
                    continue;
                }
                let (done, rest) = outputs.split_at_mut(index);
                let entering = done.last().unwrap_or(&*x);
                if let (Some(y), Some(site)) = (&mut masked[index], sites.iter().find(|site| site.layer == index)) {
                    let scale = if architecture.mode == Mode::Inverted { site.rate.inverse() } else { 1.0 };
                    backend.subnetworks(Subnetworks { x: entering, y, rows, first: mask as u32, bit: site.bit, scale })?;
                }
                backend.linear_forward(LinearForward {
                    x: masked[index].as_ref().unwrap_or(entering),
                    weight: &layer.weight,
                    bias: Some(&layer.bias),
                    y: &mut rest[0],
                    relu: index + 1 < layers.len(),
                    dropout: Dropout::NONE,
                })?;
            }
            let Some(logits) = outputs.last_mut() else { continue };
            backend.moments(Moments { logits, weights: on_device, first: mask, before: before as f32, moments })?;
            before += weights[mask..mask + *networks].iter().sum::<f64>();
        }
        backend.submit()
    }
}

impl Site {
    /// The probability of the units of this site in a mask: `k^kept · (1 − k)^dropped`.
    fn probability(self, mask: u32) -> f64 {
        let kept = (mask >> self.bit & ((1 << self.units) - 1)).count_ones();
        self.rate.keep_in_effect().powi(kept as i32) * self.rate.drop_in_effect().powi((self.units - kept) as i32)
    }
}

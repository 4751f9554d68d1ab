//! Averages over sub-networks, the networks that masks leave of the whole: what exact ensembles and
//! Monte-Carlo prediction have in common.

use super::network::{Architecture, Layer, Mlp};
use super::resident::Resident;
use super::wait::Wait;
use crate::backend::Backend;
use crate::call::{Gather, LinearForward, Moments};
use crate::{Dropout, Mode, Rate, Result};

/// Elements of a tensor of sub-networks to aim at.
pub(super) const ELEMENTS: usize = 1 << 22;

/// Class probabilities averaged over sub-networks, and what they say of their certainty.
///
/// Entropy and information are from Houlsby, Huszár, Ghahramani, Lengyel, "Bayesian active learning
/// for classification and preference learning", 2011.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Predictive {
    /// `[rows, classes]`, the mean over the sub-networks.
    pub mean: Vec<f32>,
    /// `[rows, classes]`, the standard deviation over the sub-networks (of samples: divided by
    /// their number, not by one less).
    pub spread: Vec<f32>,
    /// `[rows]`, the predictive entropy `H(mean p) = −Σ_c p·log p` of the mean, in nats: all
    /// uncertainty together, 0 to `ln classes`.
    pub entropy: Vec<f32>,
    /// `[rows]`, the mutual information of prediction and mask, `H(mean p) − mean H(p)`, in nats:
    /// how far the sub-networks disagree, at least 0.
    pub information: Vec<f32>,
}

impl Predictive {
    /// From what the kernel `moments` summed up over sub-networks of this weight together: `[rows,
    /// 2·classes + 1]`.
    pub(super) fn of(moments: &[f32], classes: usize, weight: f64) -> Self {
        let term = |&p: &f32| if p > 0.0 { -f64::from(p) * f64::from(p).ln() } else { 0.0 };
        let mut all = Self::default();
        for row in moments.chunks_exact(2 * classes + 1) {
            let (mean, rest) = row.split_at(classes);
            let (squares, within) = rest.split_at(classes);
            // A sum, not `-0.0` for a certain prediction.
            let entropy = mean.iter().map(term).sum::<f64>() + 0.0;
            all.mean.extend(mean);
            all.spread
                .extend(squares.iter().map(|&squares| (f64::from(squares) / weight).sqrt() as f32));
            all.entropy.push(entropy as f32);
            // Roundings may leave it below 0; a NaN stays one.
            let information = entropy - f64::from(within[0]);
            all.information.push(if information < 0.0 { 0.0 } else { information as f32 });
        }
        all
    }
}

/// A dropout site that drops at all.
#[derive(Debug, Clone, Copy)]
pub(super) struct Site {
    /// 0 for the input, i for the i-th hidden layer.
    pub layer: usize,
    /// The number of its first unit among those of all such sites.
    pub bit: usize,
    pub units: usize,
    pub rate: Rate,
}

impl Architecture {
    /// Sites that drop at all, their units numbered.
    pub(super) fn droppable(&self) -> Vec<Site> {
        let widths = self.widths();
        let mut bit = 0;
        let drops =
            |&layer: &usize| self.mode != Mode::None && self.rate_of(layer).drop_in_effect() > 0.0;
        let site = |layer: usize| {
            let (units, rate) = (widths[layer], self.rate_of(layer));
            bit += units;
            Site { layer, bit: bit - units, units, rate }
        };
        (0..=self.hidden.len()).filter(drops).map(site).collect()
    }
}

/// The sub-networks that are averaged over, numbered from 0.
pub(super) trait Subnets<B: Backend> {
    /// How many there are.
    fn count(&self) -> usize;

    /// Their weights on the device, where among them network `from`'s is, and the sum of those
    /// before it.
    fn weights(&self, from: usize) -> (&B::Tensor<f32>, usize, f32);

    /// What a site does there, where the layer before it can do that in the same dispatch; `None`
    /// where [`drop`](Self::drop) must.
    fn fused(&self, site: &Site, at: Place) -> Option<Dropout>;

    /// Drops units of a site in the networks there. `x` is what they share, or has a network's rows
    /// of data together, as `y` has.
    fn drop(
        &self,
        backend: &mut B,
        site: &Site,
        at: Place,
        x: &B::Tensor<f32>,
        y: &mut B::Tensor<f32>,
    ) -> Result<()>;
}

/// Networks from number `network` on, on `rows` rows of the data from `first` on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub network: usize,
    pub first: usize,
    pub rows: usize,
}

/// Tensors of a group of sub-networks on a chunk of the data.
struct Chunk<B: Backend> {
    rows: usize,
    /// Sub-networks at a time.
    networks: usize,
    /// What enters each layer, as the site before it leaves it; nothing where that drops nothing,
    /// or does so as part of the layer before it.
    masked: Vec<Option<B::Tensor<f32>>>,
    /// What each layer makes: of the data's rows up to the first site that drops, of all
    /// sub-networks' from there on.
    outputs: Vec<B::Tensor<f32>>,
    x: B::Tensor<f32>,
    labels: B::Tensor<u32>,
}

impl<B: Backend> Mlp<B> {
    /// Averages over all sub-networks, on at most `rows` rows of the data and `at_a_time(rows)`
    /// sub-networks at a time, which divides their number: `[rows, 2·classes + 1]` as
    /// [`Moments`] has them. They are read back once, at the end.
    pub(super) async fn average(
        &mut self,
        data: &Resident<B>,
        subnets: &impl Subnets<B>,
        rows: usize,
        at_a_time: impl Fn(usize) -> usize,
        wait: Wait,
    ) -> Result<Vec<f32>> {
        self.check_data(data)?;
        self.workspaces.forget_given();
        let sites = self.architecture.droppable();
        let plain = self.plain_layers(wait).await?;
        let (mut kept, mut moments) = (None, Vec::new());
        for first in (0..data.rows()).step_by(rows) {
            let rows = rows.min(data.rows() - first);
            // The tensors of the chunk before serve this one, unless it is the last and shorter.
            let mut chunk = match kept.take().filter(|chunk: &Chunk<B>| chunk.rows == rows) {
                Some(chunk) => chunk,
                None => self.chunk(&sites, subnets, rows, at_a_time(rows))?,
            };
            let mut of_chunk = self.backend.zeros(rows, 2 * self.architecture.classes + 1)?;
            self.average_chunk(
                data,
                first,
                (&sites, plain.as_deref()),
                subnets,
                &mut chunk,
                &mut of_chunk,
            )?;
            wait.submit(&mut self.backend).await?;
            moments.push(of_chunk);
            kept = Some(chunk);
        }
        Ok(wait.read_all(&mut self.backend, &moments.iter().collect::<Vec<_>>()).await?.concat())
    }

    fn chunk(
        &mut self,
        sites: &[Site],
        subnets: &impl Subnets<B>,
        rows: usize,
        networks: usize,
    ) -> Result<Chunk<B>> {
        let (widths, backend) = (self.architecture.widths(), &mut self.backend);
        let start = sites.first().map_or(usize::MAX, |site| site.layer);
        let rows_of = |layer: usize| if layer >= start { networks * rows } else { rows };
        let (mut masked, mut outputs) = (Vec::new(), Vec::new());
        for (layer, pair) in widths.windows(2).enumerate() {
            // What the first site gets is the same for all, so that it cannot be made with a mask
            // of one.
            let apart = |site: &&Site| {
                site.layer == layer
                    && (layer == start
                        || subnets.fused(site, Place { network: 0, first: 0, rows }).is_none())
            };
            let apart = sites.iter().find(apart).map(|_| backend.zeros(rows_of(layer), pair[0]));
            masked.push(apart.transpose()?);
            outputs.push(backend.zeros(rows_of(layer), pair[1])?);
        }
        let (x, labels) = (backend.zeros(rows, widths[0])?, backend.zeros(rows, 1)?);
        Ok(Chunk { rows, networks, masked, outputs, x, labels })
    }

    /// Averages over all sub-networks on the rows from `first` on; `plain` are the layers where the
    /// network's own are normalized.
    fn average_chunk(
        &mut self,
        data: &Resident<B>,
        first: usize,
        (sites, plain): (&[Site], Option<&[Layer<B>]>),
        subnets: &impl Subnets<B>,
        chunk: &mut Chunk<B>,
        moments: &mut B::Tensor<f32>,
    ) -> Result<()> {
        let Self { backend, layers, .. } = self;
        let layers = plain.unwrap_or(layers);
        let Chunk { rows, networks, masked, outputs, x, labels } = chunk;
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
        let site_before = |layer: usize| sites.iter().find(|site| site.layer == layer);
        let start = sites.first().map_or(layers.len(), |site| site.layer);
        for from in (0..subnets.count()).step_by(*networks) {
            for (index, layer) in layers.iter().enumerate() {
                // What no mask reaches is the same for all.
                if index < start && from > 0 {
                    continue;
                }
                let place = Place { network: from, first, rows: *rows };
                let (done, rest) = outputs.split_at_mut(index);
                let entering = done.last().unwrap_or(&*x);
                if let (Some(y), Some(site)) = (&mut masked[index], site_before(index)) {
                    subnets.drop(backend, site, place, entering, y)?;
                }
                let after = site_before(index + 1).filter(|_| masked[index + 1].is_none());
                backend.linear_forward(LinearForward {
                    x: masked[index].as_ref().unwrap_or(entering),
                    weight: &layer.weight,
                    bias: Some(&layer.bias),
                    y: &mut rest[0],
                    relu: index + 1 < layers.len(),
                    dropout: after
                        .and_then(|site| subnets.fused(site, place))
                        .unwrap_or(Dropout::NONE),
                })?;
            }
            let Some(logits) = outputs.last_mut() else { continue };
            let (weights, first, before) = subnets.weights(from);
            backend.moments(Moments { logits, weights, first, before, moments })?;
        }
        Ok(())
    }
}

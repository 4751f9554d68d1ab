//! Averages over sub-networks, which masks select from the whole network. Exact ensembles and Monte
//! Carlo prediction share this code.

use super::architecture::Architecture;
use super::layer::Layer;
use super::network::Mlp;
use super::resident::Resident;
use super::wait::Wait;
use crate::backend::Backend;
use crate::call::{Gather, LinearForward, Moments};
use crate::{Dropout, Mode, Rate, Result};

/// Target number of elements in a tensor of sub-networks.
pub(super) const ELEMENTS: usize = 1 << 22;

/// Class probabilities averaged over sub-networks, with measures of their uncertainty.
///
/// Source of entropy and information: Houlsby, Huszár, Ghahramani, Lengyel, "Bayesian active
/// learning for classification and preference learning", 2011.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Predictive {
    /// `[rows, classes]`, mean over the sub-networks.
    pub mean: Vec<f32>,
    /// `[rows, classes]`, standard deviation over the sub-networks. For samples, the squares are
    /// divided by their number, not by their number minus one.
    pub spread: Vec<f32>,
    /// `[rows]`, predictive entropy of the mean in nats, `H(mean p) = −Σ_c p·log p`: the total
    /// uncertainty, from 0 to `ln classes`.
    pub entropy: Vec<f32>,
    /// `[rows]`, mutual information of prediction and mask in nats, `H(mean p) − mean H(p)`: the
    /// disagreement among the sub-networks, at least 0.
    pub information: Vec<f32>,
}

impl Predictive {
    /// Computes the averages from the sums of the kernel `moments`, `[rows, 2·classes + 1]`, over
    /// sub-networks of total weight `weight`.
    pub(super) fn of(moments: &[f32], classes: usize, weight: f64) -> Self {
        let term = |&p: &f32| if p > 0.0 { -f64::from(p) * f64::from(p).ln() } else { 0.0 };
        let mut all = Self::default();
        for row in moments.chunks_exact(2 * classes + 1) {
            let (mean, rest) = row.split_at(classes);
            let (squares, within) = rest.split_at(classes);
            // Adding 0 turns the `-0.0` of a certain prediction into 0.
            let entropy = mean.iter().map(term).sum::<f64>() + 0.0;
            all.mean.extend(mean);
            all.spread
                .extend(squares.iter().map(|&squares| (f64::from(squares) / weight).sqrt() as f32));
            all.entropy.push(entropy as f32);
            // Rounding may leave it slightly below 0; a NaN must stay NaN.
            let information = entropy - f64::from(within[0]);
            all.information.push(if information < 0.0 { 0.0 } else { information as f32 });
        }
        all
    }
}

/// A dropout site with a drop rate above 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Site {
    /// 0 for the input, i for the i-th hidden layer.
    pub layer: usize,
    /// Number of its first unit among the units of all such sites.
    pub bit: usize,
    pub units: usize,
    pub rate: Rate,
}

impl Architecture {
    /// Returns the sites with a drop rate above 0 and numbers their units.
    pub(super) fn droppable(&self) -> Vec<Site> {
        let widths = self.widths();
        let mut bit = 0;
        let drops =
            |&layer: &usize| self.mode != Mode::None && self.rate_of(layer).drop_in_effect() > 0.0;
        let site = |layer: usize| {
            let units = widths[layer];
            let rate = self.rate_of(layer);
            bit += units;
            Site { layer, bit: bit - units, units, rate }
        };
        (0..=self.hidden.len()).filter(drops).map(site).collect()
    }
}

/// Sub-networks to average over, numbered from 0.
pub(super) trait Subnets<B: Backend> {
    /// Returns the number of sub-networks.
    fn count(&self) -> usize;

    /// Returns their weights on the device, the position of network `from`'s weight in them, and
    /// the sum of the weights before it.
    fn weights(&self, from: usize) -> (&B::Tensor<f32>, usize, f32);

    /// Returns the site's dropout at a place if the previous layer's dispatch can apply it; `None`
    /// if it takes [`drop`](Self::drop).
    fn fused(&self, site: &Site, at: Place) -> Option<Dropout>;

    /// Drops units of a site in the networks at a place. `x` either is shared by the networks or
    /// holds each network's rows of data together, as `y` does.
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
    /// Number of sub-networks at a time.
    networks: usize,
    /// Input of each layer after the dropout site before it. `None` if that site drops nothing, or
    /// if the previous layer's dispatch applies its dropout.
    masked: Vec<Option<B::Tensor<f32>>>,
    /// Output of each layer: one set of the data's rows before the first site that drops, one set
    /// per sub-network from there on.
    outputs: Vec<B::Tensor<f32>>,
    x: B::Tensor<f32>,
    labels: B::Tensor<u32>,
}

impl<B: Backend> Mlp<B> {
    /// Averages over all sub-networks and returns `[rows, 2·classes + 1]`, as in [`Moments`]. It
    /// takes at most `rows` rows of the data and `at_a_time(rows)` sub-networks at a time; the
    /// latter must divide their number. The result is read back once, at the end.
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
        let mut kept = None;
        let mut moments = Vec::new();
        for first in (0..data.rows()).step_by(rows) {
            let rows = rows.min(data.rows() - first);
            // Reuse the previous chunk's tensors, unless this is the last chunk and shorter.
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
        let widths = self.architecture.widths();
        let backend = &mut self.backend;
        let start = sites.first().map_or(usize::MAX, |site| site.layer);
        let rows_of = |layer: usize| if layer >= start { networks * rows } else { rows };
        let mut masked = Vec::new();
        let mut outputs = Vec::new();
        for (layer, pair) in widths.windows(2).enumerate() {
            // The input of the first site is computed once for all networks, so the layer before it
            // cannot apply the mask of one.
            let apart = |site: &&Site| {
                site.layer == layer
                    && (layer == start
                        || subnets.fused(site, Place { network: 0, first: 0, rows }).is_none())
            };
            let apart = sites.iter().find(apart).map(|_| backend.zeros(rows_of(layer), pair[0]));
            masked.push(apart.transpose()?);
            outputs.push(backend.zeros(rows_of(layer), pair[1])?);
        }
        let x = backend.zeros(rows, widths[0])?;
        let labels = backend.zeros(rows, 1)?;
        Ok(Chunk { rows, networks, masked, outputs, x, labels })
    }

    /// Averages over all sub-networks on the rows from `first` on. `plain` replaces the layers of a
    /// network with normalization.
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
        backend.run(Gather {
            data: data.features(),
            all_labels: &data.labels,
            order: &data.order,
            first,
            unit: data.unit,
            x: &mut *x,
            labels,
            dropout: Dropout::NONE,
        })?;
        let site_before = |layer: usize| sites.iter().find(|site| site.layer == layer);
        let start = sites.first().map_or(layers.len(), |site| site.layer);
        for from in (0..subnets.count()).step_by(*networks) {
            for (index, layer) in layers.iter().enumerate() {
                // No mask reaches this layer: its output is the same for all networks.
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
                backend.run(LinearForward {
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
            backend.run(Moments { logits, weights, first, before, moments: &mut *moments })?;
        }
        Ok(())
    }
}

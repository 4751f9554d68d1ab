//! Monte-Carlo prediction: averages over sampled masks, taken on the device.

use super::network::Mlp;
use super::predict::weighted_means;
use super::resident::Resident;
use crate::backend::Backend;
use crate::call::{DropoutCall, Gather, LinearForward, Moments};
use crate::mask::PREDICTION;
use crate::{Dropout, Error, Key, Mask, Mode, Result};

/// Rows that a sample takes at a time: more than a plain prediction's, since each is taken so many times.
const BATCH: usize = 1024;

/// Class probabilities averaged over sampled masks, and what the samples say of their certainty.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MonteCarlo {
    /// `[rows, classes]`, the mean over the samples.
    pub mean: Vec<f32>,
    /// `[rows, classes]`, the standard deviation over the samples (divided by their number, not by one less).
    pub spread: Vec<f32>,
    /// `[rows]`, the predictive entropy `H(mean p) = −Σ_c p·log p` of the mean, in nats: all uncertainty together, 0 to `ln classes`.
    pub entropy: Vec<f32>,
    /// `[rows]`, the mutual information of prediction and mask, `H(mean p) − mean H(p)`, in nats: how far the samples disagree, at least 0.
    pub information: Vec<f32>,
}

impl MonteCarlo {
    /// From what the device summed up over samples of weight 1: `[rows, 2·classes + 1]`.
    fn of(moments: &[f32], classes: usize, samples: u32) -> Self {
        let mean: Vec<f32> = weighted_means(moments, classes).collect();
        let row = 2 * classes + 1;
        let spread = moments.chunks(row).flat_map(|row| &row[classes..2 * classes]);
        let spread = spread.map(|&squares| (f64::from(squares) / f64::from(samples)).sqrt() as f32).collect();
        let term = |&p: &f32| if p > 0.0 { -f64::from(p) * f64::from(p).ln() } else { 0.0 };
        let entropy: Vec<f64> = mean.chunks(classes).map(|row| row.iter().map(term).sum()).collect();
        let pairs = entropy.iter().zip(moments.chunks(row));
        let information = pairs.map(|(entropy, row)| (entropy - f64::from(row[2 * classes])).max(0.0) as f32).collect();
        Self { mean, spread, entropy: entropy.iter().map(|&entropy| entropy as f32).collect(), information }
    }
}

impl<B: Backend> Mlp<B> {
    /// Mean and spread of the class probabilities over `samples` masks: sample `s` draws with the top bit of `layer` set, `step = s`
    /// and `row` the index in the data, so that each row has a mask of its own.
    ///
    /// Samples are averaged where they are made: nothing is read back between them, and all of them are one submit, as far as one holds
    /// so many dispatches. What no mask reaches is computed once for all samples.
    ///
    /// Source: Gal, Ghahramani, "Dropout as a Bayesian approximation", ICML 2016; Srivastava et al., JMLR 15 (2014), section 7.5; entropy and
    /// information from Houlsby et al., "Bayesian active learning for classification and preference learning", 2011.
    ///
    /// # Errors
    /// [`Error::Invalid`] for no samples, [`Error::Shape`] for data of another width.
    pub fn predict_monte_carlo(&mut self, data: &Resident<B>, samples: u32) -> Result<MonteCarlo> {
        if samples == 0 {
            return Err(Error::invalid("0 samples: must be 1 or more"));
        }
        self.check_data(data)?;
        self.workspaces.forget_given();
        let classes = self.architecture.classes;
        let one = self.backend.tensor(1, 1, &[1.0])?;
        let mut moments = Vec::new();
        for first in (0..data.rows()).step_by(BATCH) {
            let rows = BATCH.min(data.rows() - first);
            let mut chunk = self.backend.zeros(rows, 2 * classes + 1)?;
            self.sample(data, first, rows, samples, &one, &mut chunk)?;
            moments.push(chunk);
        }
        let moments = self.backend.read_all(&moments.iter().collect::<Vec<_>>())?.concat();
        Ok(MonteCarlo::of(&moments, classes, samples))
    }

    /// Averages over all samples on the rows from `first` on.
    fn sample(
        &mut self,
        data: &Resident<B>,
        first: usize,
        rows: usize,
        samples: u32,
        one: &B::Tensor<f32>,
        moments: &mut B::Tensor<f32>,
    ) -> Result<()> {
        let Self { backend, architecture, layers, workspaces, .. } = self;
        let site = |layer: usize, sample: u32| {
            let key = Key { seed: architecture.seed, layer: layer as u32 | PREDICTION, step: sample };
            Dropout::train(architecture.mode, Mask::new(architecture.rate_of(layer), key).at(first as u64, 0))
        };
        let widths = architecture.widths();
        let workspace = workspaces.get(backend, rows, &widths, false)?;
        // Without dropout of the input, the first hidden layer is the same for all samples up to its own dropout.
        let fixed = architecture.mode == Mode::None || architecture.input_rate.drop_in_effect() == 0.0;
        let mut shared = (fixed && layers.len() > 1).then(|| backend.zeros(rows, widths[1])).transpose()?;
        for sample in 0..samples {
            if sample == 0 || !fixed {
                backend.gather(Gather {
                    data: data.features(),
                    all_labels: &data.labels,
                    order: &data.order,
                    first,
                    unit: data.unit,
                    x: &mut workspace.x,
                    labels: &mut workspace.labels,
                    dropout: site(0, sample),
                })?;
            }
            for (index, layer) in layers.iter().enumerate() {
                let last = index + 1 == layers.len();
                let (before, after) = workspace.outputs.split_at_mut(index);
                let mut forward = |y: &mut B::Tensor<f32>, dropout: Dropout, x: &B::Tensor<f32>| {
                    let (weight, bias) = (&layer.weight, Some(&layer.bias));
                    backend.linear_forward(LinearForward { x, weight, bias, y, relu: !last, dropout })
                };
                let x = before.last().unwrap_or(&workspace.x);
                match (&mut shared, index) {
                    (Some(plain), 0) => {
                        if sample == 0 {
                            forward(plain, Dropout::NONE, x)?;
                        }
                        backend.dropout(DropoutCall { x: plain, y: &mut after[0], dropout: site(1, sample) })?;
                    }
                    _ => forward(&mut after[0], if last { Dropout::NONE } else { site(index + 1, sample) }, x)?,
                }
            }
            let Some(logits) = workspace.outputs.last_mut() else { continue };
            backend.moments(Moments { logits, weights: one, first: 0, before: sample as f32, moments })?;
        }
        backend.submit()
    }
}

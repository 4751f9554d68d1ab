//! A network whose hidden layers have batch normalization.

use super::layer::Layer;
use super::network::Mlp;
use super::norm::{BatchNormPlace, Norm, NormParameters};
use super::wait::{Wait, blocking};
use crate::backend::Backend;
use crate::call::EPSILON;
use crate::shape::Matrix;
use crate::{Error, Result};

impl<B: Backend> Mlp<B> {
    /// Adds batch normalization to each hidden layer of an untrained network.
    ///
    /// Training normalizes a unit by its mean and variance in the mini-batch, prediction by the
    /// running ones, which move a tenth of the way to each mini-batch's. A mini-batch of one row
    /// has no variance: it is trained on, but its gradient says nothing about the weights before
    /// the normalization.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a network that was already trained; any error of the backend when it
    /// allocates.
    pub fn with_batch_norm(mut self, place: BatchNormPlace) -> Result<Self> {
        if self.step > 0 {
            return Err(Error::invalid(format!(
                "batch normalization: {} updates were made without it",
                self.step
            )));
        }
        let hidden = self.architecture.hidden.len();
        for layer in &mut self.layers[..hidden] {
            layer.norm = Some(Norm::new(&mut self.backend, layer.weight.cols(), place)?);
        }
        Ok(self)
    }

    /// Returns the normalization of hidden layer `index`, counted from 0; `None` without one.
    ///
    /// # Errors
    /// [`Error::Device`] if the device was lost.
    pub fn norm_parameters(&mut self, index: usize) -> Result<Option<NormParameters>> {
        blocking(self.norm_parameters_of(index, Wait::Block))
    }

    /// [`norm_parameters`](Self::norm_parameters) without blocking, as [`Backend::read_async`].
    ///
    /// # Errors
    /// As [`norm_parameters`](Self::norm_parameters).
    pub async fn norm_parameters_async(&mut self, index: usize) -> Result<Option<NormParameters>> {
        self.norm_parameters_of(index, Wait::Yield).await
    }

    async fn norm_parameters_of(
        &mut self,
        index: usize,
        wait: Wait,
    ) -> Result<Option<NormParameters>> {
        let Some(norm) = self.layers.get(index).and_then(|layer| layer.norm.as_ref()) else {
            return Ok(None);
        };
        let mut weight = wait.read(&mut self.backend, &norm.affine).await?;
        let mut running_mean = wait.read(&mut self.backend, &norm.running).await?;
        let (bias, running_var) =
            (weight.split_off(weight.len() / 2), running_mean.split_off(running_mean.len() / 2));
        Ok(Some(NormParameters { weight, bias, running_mean, running_var }))
    }

    /// Returns the place of batch normalization in the hidden layers; `None` without normalization.
    pub fn batch_norm(&self) -> Option<BatchNormPlace> {
        self.layers.first().and_then(|layer| layer.norm.as_ref()).map(|norm| norm.place)
    }

    /// Returns the weights `[inputs, outputs]` and the bias of each layer, with prediction's
    /// normalization folded into them. An affine map before a ReLU is folded into its own layer,
    /// one after a dropout into the next layer. Computed in f64.
    pub(super) async fn folded(&mut self, wait: Wait) -> Result<Vec<(Vec<f32>, Vec<f32>)>> {
        let mut folded = Vec::new();
        // Map that the previous layer leaves to this one: a factor and a summand for each of its
        // inputs.
        let mut left: Option<(Vec<f64>, Vec<f64>)> = None;
        for layer in &self.layers {
            let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<f64>>();
            let mut weight = wide(wait.read(&mut self.backend, &layer.weight).await?);
            let mut bias = wide(wait.read(&mut self.backend, &layer.bias).await?);
            let units = bias.len();
            if let Some((factors, summands)) = left.take() {
                for (row, (factor, summand)) in
                    weight.chunks_mut(units).zip(factors.iter().zip(&summands))
                {
                    bias.iter_mut().zip(&*row).for_each(|(bias, w)| *bias += summand * w);
                    row.iter_mut().for_each(|w| *w *= factor);
                }
            }
            if let Some(norm) = &layer.norm {
                let affine = wide(wait.read(&mut self.backend, &norm.affine).await?);
                let running = wide(wait.read(&mut self.backend, &norm.running).await?);
                let factors: Vec<f64> = affine
                    .iter()
                    .zip(&running[units..])
                    .map(|(gamma, variance)| gamma / (variance + f64::from(EPSILON)).sqrt())
                    .collect();
                let summands: Vec<f64> = (0..units)
                    .map(|unit| affine[units + unit] - running[unit] * factors[unit])
                    .collect();
                match norm.place {
                    BatchNormPlace::Before => {
                        weight.iter_mut().enumerate().for_each(|(i, w)| *w *= factors[i % units]);
                        bias.iter_mut()
                            .zip(factors.iter().zip(&summands))
                            .for_each(|(b, (f, s))| *b = *b * f + s);
                    }
                    BatchNormPlace::After => left = Some((factors, summands)),
                }
            }
            let narrow = |values: Vec<f64>| values.into_iter().map(|value| value as f32).collect();
            folded.push((narrow(weight), narrow(bias)));
        }
        Ok(folded)
    }

    /// Returns copies of the layers with their normalization folded in, for sub-networks; `None` if
    /// the network has no normalization and its own layers serve.
    pub(super) async fn plain_layers(&mut self, wait: Wait) -> Result<Option<Vec<Layer<B>>>> {
        if self.batch_norm().is_none() {
            return Ok(None);
        }
        let widths = self.architecture.widths();
        let folded = self.folded(wait).await?;
        let layer = |(pair, (weight, bias)): (&[usize], (Vec<f32>, Vec<f32>))| {
            let weight = self.backend.tensor(pair[0], pair[1], &weight)?;
            let bias = self.backend.tensor(1, pair[1], &bias)?;
            Ok(Layer::new(weight, bias))
        };
        widths.windows(2).zip(folded).map(layer).collect::<Result<_>>().map(Some)
    }
}

//! The network itself: its shape, its parameters, its training state.

use super::convolution::Convolutions;
use super::norm::Norm;
use super::optimizer::Optimizer;
use super::schedule::Schedules;
use super::train::Training;
use super::wait::{Wait, blocking};
use super::workspace::Workspaces;
use crate::backend::Backend;
use crate::{Dropout, Error, Key, Mask, Mode, Rate, Result, init};

/// Shape of a network and its dropout.
#[derive(Debug, Clone, PartialEq)]
pub struct Architecture {
    /// Features per row.
    pub inputs: usize,
    /// Units of each hidden layer; an empty list gives softmax regression.
    pub hidden: Vec<usize>,
    /// Classes: the units of the last layer.
    pub classes: usize,
    /// When the scale of dropout is applied: in training or in prediction.
    pub mode: Mode,
    /// Rate of every hidden layer.
    pub rate: Rate,
    /// Rate of the input.
    pub input_rate: Rate,
    /// Seed of weights, shuffles and masks.
    pub seed: u64,
}

impl Architecture {
    /// Returns the number of units of each layer, from the input to the classes.
    pub fn widths(&self) -> Vec<usize> {
        [&[self.inputs], self.hidden.as_slice(), &[self.classes]].concat()
    }

    /// Returns the rate of dropout site `layer`: site 0 is the input, site i is the i-th hidden
    /// layer, and any site after that drops nothing.
    pub fn rate_of(&self, layer: usize) -> Rate {
        match layer {
            0 => self.input_rate,
            layer if layer <= self.hidden.len() => self.rate,
            _ => Rate::KEEP_ALL,
        }
    }

    /// Returns the dropout of site `layer` in training step `step`. A shard that starts at a later
    /// row of the mini-batch takes its mask [`at`](Mask::at) that row.
    pub fn training_site(&self, layer: usize, step: u32, schedules: &Schedules) -> Dropout {
        let key = Key { seed: self.seed, layer: layer as u32, step };
        Dropout::train(self.mode, Mask::new(schedules.rate(self.rate_of(layer), step), key))
    }

    /// Returns the dropout of site `layer` in prediction, which draws no mask.
    pub(super) fn prediction_site(&self, layer: usize) -> Dropout {
        Dropout::predict(self.mode, self.rate_of(layer))
    }

    fn check(&self) -> Result<()> {
        for (layer, &width) in self.widths().iter().enumerate() {
            // Widths are u32 on the device. The layer numbers reserved for other draws are far
            // above any network's.
            if width == 0 || width > u32::MAX as usize / 2 {
                let last = self.hidden.len() + 1;
                let what = match layer {
                    0 => "the input".to_owned(),
                    layer if layer == last => "the classes".to_owned(),
                    layer => format!("hidden layer {layer}"),
                };
                return Err(Error::invalid(format!(
                    "{what}: {width} units; must be 1 to {}",
                    u32::MAX / 2
                )));
            }
        }
        Ok(())
    }
}

/// Weights and bias of one affine layer, with the state of its updates.
#[derive(Debug)]
pub(super) struct Layer<B: Backend> {
    /// `[inputs, outputs]`
    pub weight: B::Tensor<f32>,
    /// `[1, outputs]`
    pub bias: B::Tensor<f32>,
    /// Gradients of both. Allocated by the first training step with max-norm, with AdamW or of a
    /// shard; no other step stores them.
    pub grad: Option<(B::Tensor<f32>, B::Tensor<f32>)>,
    /// Velocities of both; allocated by the first step with momentum.
    pub velocity: Option<(B::Tensor<f32>, B::Tensor<f32>)>,
    /// Second moments of both; allocated by AdamW's first step. AdamW's first moments are the
    /// velocities.
    pub second: Option<(B::Tensor<f32>, B::Tensor<f32>)>,
    /// Batch normalization; hidden layers only.
    pub norm: Option<Norm<B>>,
}

/// A multi-layer perceptron with dropout on backend `B`.
///
/// `H₀ = dropout(X)`, `Hᵢ = dropout(relu(Hᵢ₋₁·Wᵢ + bᵢ))`, `p = softmax(Hₙ·W + b)`, where `X` is
/// `[B, inputs]`, `Wᵢ` is `[inputs of layer i, units of layer i]` and `p` is `[B, classes]`.
/// Training minimizes the mean cross-entropy of a mini-batch, in nats.
///
/// Source: Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting",
/// JMLR 15 (2014).
///
/// ```
/// use wgpu_dropout::{Cpu, Mode, Rate, mlp::{Architecture, Mlp, Training}};
///
/// let architecture = Architecture {
///     inputs: 2,
///     hidden: vec![16, 16],
///     classes: 2,
///     mode: Mode::Inverted,
///     rate: Rate::drop(0.5)?,
///     input_rate: Rate::KEEP_ALL,
///     seed: 42,
/// };
/// let mut net = Mlp::new(Cpu::new(), architecture)?;
/// net.train_step(&[0.0, 1.0, 1.0, 0.0], &[1, 0], &Training::default())?;
/// let probabilities = net.predict(&[0.0, 1.0])?;
/// assert_eq!(probabilities.len(), 2);
/// # Ok::<(), wgpu_dropout::Error>(())
/// ```
#[derive(Debug)]
pub struct Mlp<B: Backend> {
    pub(super) backend: B,
    pub(super) architecture: Architecture,
    pub(super) layers: Vec<Layer<B>>,
    /// Front before the layers; only in a [`ConvNet`](super::ConvNet).
    pub(super) front: Option<Convolutions<B>>,
    pub(super) step: u32,
    pub(super) epoch: u32,
    /// Settings of the latest update.
    pub(super) training: Option<Training>,
    pub(super) workspaces: Workspaces<B>,
}

impl<B: Backend> Mlp<B> {
    /// Creates a network with He's uniform weights and biases of 0 ([`init`]).
    ///
    /// # Errors
    /// [`Error::Invalid`] for a layer of 0 units; any error of the backend when it allocates.
    pub fn new(backend: B, architecture: Architecture) -> Result<Self> {
        let mut net = Self::empty(backend, architecture)?;
        for (index, pair) in net.architecture.widths().windows(2).enumerate() {
            let weights = init::he_uniform(net.architecture.seed, index as u32, pair[0], pair[1]);
            net.backend.write(&mut net.layers[index].weight, &weights)?;
        }
        Ok(net)
    }

    /// Creates a network whose parameters are all 0.
    pub(super) fn empty(mut backend: B, architecture: Architecture) -> Result<Self> {
        architecture.check()?;
        let mut layers = Vec::new();
        for pair in architecture.widths().windows(2) {
            layers.push(Layer {
                weight: backend.zeros(pair[0], pair[1])?,
                bias: backend.zeros(1, pair[1])?,
                grad: None,
                velocity: None,
                second: None,
                norm: None,
            });
        }
        let workspaces = Workspaces::default();
        Ok(Self {
            backend,
            architecture,
            layers,
            front: None,
            step: 0,
            epoch: 0,
            training: None,
            workspaces,
        })
    }

    /// Returns the shape, rates and seed.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Returns the number of updates so far.
    pub fn step(&self) -> u32 {
        self.step
    }

    /// Returns the number of finished epochs.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Returns the settings of the latest update, which a saved network keeps; `None` before the
    /// first update.
    pub fn training(&self) -> Option<&Training> {
        self.training.as_ref()
    }

    /// Checks that settings fit the network and its training so far.
    ///
    /// # Errors
    /// [`Error::Invalid`] as [`Training::check_for`], and for an optimizer other than that of the
    /// updates so far.
    pub fn check_training(&self, training: &Training) -> Result<()> {
        training.check_for(&self.architecture)?;
        let before = self.training.map_or(Optimizer::Sgd, |training| training.optimizer);
        if self.step > 0 && !before.is_like(&training.optimizer) {
            let what = format!(
                "optimizer {}: the {} updates so far were made by {before}",
                training.optimizer, self.step
            );
            return Err(Error::invalid(what));
        }
        Ok(())
    }

    /// Returns the device.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// Returns the device, for uploading data to it.
    pub fn backend_mut(&mut self) -> &mut B {
        &mut self.backend
    }

    /// Returns the device, consuming the network.
    pub fn into_backend(self) -> B {
        self.backend
    }

    /// Returns the weights `[inputs, outputs]` and the bias `[outputs]` of layer `index`, counted
    /// from 0; `None` past the last layer.
    ///
    /// # Errors
    /// [`Error::Device`] if the device was lost.
    pub fn parameters(&mut self, index: usize) -> Result<Option<(Vec<f32>, Vec<f32>)>> {
        blocking(self.parameters_of(index, Wait::Block))
    }

    /// [`parameters`](Self::parameters) without blocking, as [`Backend::read_async`].
    ///
    /// # Errors
    /// As [`parameters`](Self::parameters).
    pub async fn parameters_async(&mut self, index: usize) -> Result<Option<(Vec<f32>, Vec<f32>)>> {
        self.parameters_of(index, Wait::Yield).await
    }

    async fn parameters_of(
        &mut self,
        index: usize,
        wait: Wait,
    ) -> Result<Option<(Vec<f32>, Vec<f32>)>> {
        let Some(layer) = self.layers.get(index) else { return Ok(None) };
        let mut both =
            wait.read_all(&mut self.backend, &[&layer.weight, &layer.bias]).await?.into_iter();
        Ok(both.next().zip(both.next()))
    }

    /// Overwrites the weights and the bias of layer `index`.
    ///
    /// # Errors
    /// [`Error::Invalid`] past the last layer; [`Error::Shape`] if a length differs from the
    /// layer's.
    pub fn set_parameters(&mut self, index: usize, weight: &[f32], bias: &[f32]) -> Result<()> {
        let count = self.layers.len();
        let Some(layer) = self.layers.get_mut(index) else {
            return Err(Error::invalid(format!(
                "layer {index}: the network has layers 0 to {}",
                count - 1
            )));
        };
        crate::backend::check_len(&layer.bias, bias.len())?;
        self.backend.write(&mut layer.weight, weight)?;
        self.backend.write(&mut layer.bias, bias)
    }
}

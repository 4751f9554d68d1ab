//! The network itself: its shape, its parameters, its training state.

use super::architecture::Architecture;
use super::convolution::Convolutions;
use super::layer::Layer;
use super::optimizer::Optimizer;
use super::trained_on::TrainedOn;
use super::training::Training;
use super::wait::{Wait, blocking};
use super::workspace::Workspaces;
use crate::backend::Backend;
use crate::{Error, Result, init};

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
/// use wgpu_dropout::{Cpu, mlp::{Architecture, Mlp, Training}};
///
/// let mut net = Mlp::new(Cpu::new(), Architecture::new(2, [16, 16], 2))?;
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
    pub(super) trained_on: Option<TrainedOn>,
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
            layers.push(Layer::new(backend.zeros(pair[0], pair[1])?, backend.zeros(1, pair[1])?));
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
            trained_on: None,
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

    /// Returns the description of the data that the network was trained on; `None` if nobody
    /// [described](Self::describe_data) them.
    pub fn trained_on(&self) -> Option<&TrainedOn> {
        self.trained_on.as_ref()
    }

    /// Describes the data that the network is trained on. Nothing is computed with it.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the number of names differs from the number of classes.
    pub fn describe_data(&mut self, data: TrainedOn) -> Result<()> {
        let (names, classes) = (data.classes.len(), self.architecture.classes);
        if names != classes {
            return Err(Error::invalid(format!("{names} names for {classes} classes")));
        }
        self.trained_on = Some(data);
        Ok(())
    }

    /// Returns the network with another seed for its masks and shuffles. Its weights stay.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.architecture.seed = seed;
        self
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

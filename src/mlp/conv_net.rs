//! A network behind a convolutional front.

use super::architecture::Architecture;
use super::convolution::{Convolutions, Front};
use super::layer::Layer;
use super::network::Mlp;
use super::predict::Evaluation;
use super::resident::Resident;
use super::training::{Epoch, Training};
use super::wait::{Wait, blocking};
use crate::backend::Backend;
use crate::{Error, Result};

/// A network behind a convolutional front, trained and used on any [`Backend`].
///
/// ```
/// use wgpu_dropout::call::{Filter, Image, Pool, Pooling};
/// use wgpu_dropout::mlp::{Architecture, ConvNet, Front, Stage, Training};
/// use wgpu_dropout::{Cpu, Mode, Rate};
///
/// let front = Front {
///     image: Image { height: 8, width: 8, channels: 1 },
///     stages: vec![
///         Stage::Convolution { channels: 4, filter: Filter { side: 3, padding: 1 } },
///         Stage::Pool(Pool { pooling: Pooling::Max, height: 2, width: 2 }),
///     ],
/// };
/// let head = Architecture {
///     inputs: front.maps()?.elements(),
///     hidden: vec![16],
///     classes: 2,
///     mode: Mode::Inverted,
///     rate: Rate::drop(0.5)?,
///     input_rate: Rate::KEEP_ALL,
///     seed: 42,
/// };
/// let mut net = ConvNet::new(Cpu::new(), &front, head)?;
/// net.train_step(&[0.5; 128], &[1, 0], &Training::default())?;
/// assert_eq!(net.predict(&[0.5; 64])?.len(), 2);
/// # Ok::<(), wgpu_dropout::Error>(())
/// ```
#[derive(Debug)]
pub struct ConvNet<B: Backend> {
    net: Mlp<B>,
}

impl<B: Backend> ConvNet<B> {
    /// Creates a front and the network that takes its features, with He's uniform weights and
    /// biases of 0. Two fronts of the same shape and seed start with the same weights, whatever
    /// network follows them.
    ///
    /// # Errors
    /// As [`Front::maps`] and [`Mlp::new`]; [`Error::Invalid`] for a front that does not end with
    /// pooling; [`Error::Shape`] for a network whose number of inputs differs from the number of
    /// features.
    pub fn new(mut backend: B, front: &Front, architecture: Architecture) -> Result<Self> {
        let features = front.maps()?.elements();
        if architecture.inputs != features {
            return Err(Error::shape(
                "network",
                format!("{} inputs behind a front of {features} features", architecture.inputs),
            ));
        }
        let convolutions = Convolutions::new(&mut backend, front, architecture.seed)?;
        let net = Mlp::new(backend, architecture)?;
        Ok(Self { net: Mlp { front: Some(convolutions), ..net } })
    }

    /// Returns the network behind the front: its shape, its training state, its device.
    pub fn head(&self) -> &Mlp<B> {
        &self.net
    }

    /// Returns the front.
    pub fn front(&self) -> Option<&Front> {
        self.net.front.as_ref().map(|convolutions| &convolutions.front)
    }

    /// Returns the device, for uploading data to it.
    pub fn backend_mut(&mut self) -> &mut B {
        &mut self.net.backend
    }

    /// Returns the device, consuming the network.
    pub fn into_backend(self) -> B {
        self.net.into_backend()
    }

    /// Returns the filters `[side·side·channels, filters]` and the biases of the front's stage
    /// `index`; `None` if that stage is not a convolution or does not exist.
    ///
    /// # Errors
    /// [`Error::Device`] if the device was lost.
    pub fn filters(&mut self, index: usize) -> Result<Option<(Vec<f32>, Vec<f32>)>> {
        blocking(self.filters_of(index, Wait::Block))
    }

    /// [`filters`](Self::filters) without blocking, as [`Backend::read_async`].
    ///
    /// # Errors
    /// As [`filters`](Self::filters).
    pub async fn filters_async(&mut self, index: usize) -> Result<Option<(Vec<f32>, Vec<f32>)>> {
        self.filters_of(index, Wait::Yield).await
    }

    async fn filters_of(
        &mut self,
        index: usize,
        wait: Wait,
    ) -> Result<Option<(Vec<f32>, Vec<f32>)>> {
        let Mlp { backend, front, .. } = &mut self.net;
        let layer = front.as_ref().and_then(|front| front.layers.get(index)?.as_ref());
        let Some(Layer { weight, bias, .. }) = layer else { return Ok(None) };
        let mut both = wait.read_all(backend, &[weight, bias]).await?.into_iter();
        Ok(both.next().zip(both.next()))
    }

    /// As [`Mlp::parameters`], of the network behind the front.
    ///
    /// # Errors
    /// As [`Mlp::parameters`].
    pub fn parameters(&mut self, index: usize) -> Result<Option<(Vec<f32>, Vec<f32>)>> {
        self.net.parameters(index)
    }

    /// As [`Mlp::parameters_async`], of the network behind the front.
    ///
    /// # Errors
    /// As [`Mlp::parameters`].
    pub async fn parameters_async(&mut self, index: usize) -> Result<Option<(Vec<f32>, Vec<f32>)>> {
        self.net.parameters_async(index).await
    }

    /// As [`Mlp::train_step`], on images.
    ///
    /// # Errors
    /// As [`Mlp::train_step`].
    pub fn train_step(&mut self, x: &[f32], labels: &[u32], training: &Training) -> Result<()> {
        self.net.train_step(x, labels, training)
    }

    /// As [`Mlp::train_step_async`], on images.
    ///
    /// # Errors
    /// As [`Mlp::train_step`].
    pub async fn train_step_async(
        &mut self,
        x: &[f32],
        labels: &[u32],
        training: &Training,
    ) -> Result<()> {
        self.net.train_step_async(x, labels, training).await
    }

    /// As [`Mlp::loss`].
    ///
    /// # Errors
    /// As [`Mlp::loss`].
    pub fn loss(&mut self) -> Result<Option<f32>> {
        self.net.loss()
    }

    /// As [`Mlp::loss_async`].
    ///
    /// # Errors
    /// As [`Mlp::loss`].
    pub async fn loss_async(&mut self) -> Result<Option<f32>> {
        self.net.loss_async().await
    }

    /// As [`Mlp::train_epoch`], on images.
    ///
    /// # Errors
    /// As [`Mlp::train_epoch`].
    pub fn train_epoch(&mut self, data: &Resident<B>, training: &Training) -> Result<Epoch> {
        self.net.train_epoch(data, training)
    }

    /// As [`Mlp::train_epoch_async`], on images.
    ///
    /// # Errors
    /// As [`Mlp::train_epoch`].
    pub async fn train_epoch_async(
        &mut self,
        data: &Resident<B>,
        training: &Training,
    ) -> Result<Epoch> {
        self.net.train_epoch_async(data, training).await
    }

    /// As [`Mlp::evaluate`], on images.
    ///
    /// # Errors
    /// As [`Mlp::evaluate`].
    pub fn evaluate(&mut self, data: &Resident<B>) -> Result<Evaluation> {
        self.net.evaluate(data)
    }

    /// As [`Mlp::evaluate_async`], on images.
    ///
    /// # Errors
    /// As [`Mlp::evaluate`].
    pub async fn evaluate_async(&mut self, data: &Resident<B>) -> Result<Evaluation> {
        self.net.evaluate_async(data).await
    }

    /// As [`Mlp::predict`], on images.
    ///
    /// # Errors
    /// As [`Mlp::predict`].
    pub fn predict(&mut self, x: &[f32]) -> Result<Vec<f32>> {
        self.net.predict(x)
    }

    /// As [`Mlp::predict_async`], on images.
    ///
    /// # Errors
    /// As [`Mlp::predict`].
    pub async fn predict_async(&mut self, x: &[f32]) -> Result<Vec<f32>> {
        self.net.predict_async(x).await
    }

    /// As [`Mlp::predict_on`], on images.
    ///
    /// # Errors
    /// As [`Mlp::predict_on`].
    pub fn predict_on(&mut self, data: &Resident<B>) -> Result<Vec<f32>> {
        self.net.predict_on(data)
    }

    /// As [`Mlp::predict_on_async`], on images.
    ///
    /// # Errors
    /// As [`Mlp::predict_on`].
    pub async fn predict_on_async(&mut self, data: &Resident<B>) -> Result<Vec<f32>> {
        self.net.predict_on_async(data).await
    }
}

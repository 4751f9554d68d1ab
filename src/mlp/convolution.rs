//! A convolutional front for a network, just large enough to compare classification heads on
//! images.
//!
//! A convolution is a matrix product over patches, with its ReLU in the same kernel. Its weights,
//! updates and optimizers are therefore those of any other layer. The front itself drops nothing;
//! the network's input dropout applies to the front's features.

use super::network::{Architecture, Layer, Mlp};
use super::optimizer::Update;
use super::predict::Evaluation;
use super::resident::Resident;
use super::train::{Epoch, Training};
use super::wait::{Wait, blocking};
use super::workspace::Workspace;
use crate::backend::Backend;
use crate::call::{
    DropoutCall, Filter, GradInput, Image, LinearForward, Patches, PatchesGrad, Pool, PoolCall,
    PoolGrad,
};
use crate::{Dropout, Error, Result, init};

/// Layer number of stage 0 in the initialization: the weights of stage `i` are drawn as those of
/// layer `FIRST + i`, a number that no network's own layers reach.
const FIRST: u32 = 1 << 16;

/// A stage of the front: it maps images to images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// A convolution with ReLU.
    Convolution {
        /// Number of filters, which is the number of output channels.
        channels: usize,
        /// Windows of the filters.
        filter: Filter,
    },
    /// Pooling.
    Pool(Pool),
}

impl Stage {
    /// Returns the size of the stage's output for an image of this size.
    ///
    /// # Errors
    /// [`Error::Shape`] if the stage's windows do not fit, or for 0 channels.
    pub fn output(self, image: Image) -> Result<Image> {
        match self {
            Self::Convolution { channels, filter } => {
                let output = Image { channels, ..filter.patches(image)? };
                output.check("convolution").map(|()| output)
            }
            Self::Pool(pool) => pool.pooled(image),
        }
    }
}

/// Stages from the data's images to the features that a network takes; the last stage must pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Front {
    /// Size of the image in one row of the data.
    pub image: Image,
    /// Stages in order.
    pub stages: Vec<Stage>,
}

impl Front {
    /// Returns the size of the last stage's output for one image: the features of one row.
    ///
    /// # Errors
    /// [`Error::Shape`] if a stage does not fit the output of the previous one.
    pub fn maps(&self) -> Result<Image> {
        self.stages.iter().try_fold(self.image, |image, stage| stage.output(image))
    }

    /// Returns the number of weights and biases of all stages.
    ///
    /// # Errors
    /// As [`maps`](Self::maps).
    pub fn parameters(&self) -> Result<usize> {
        let mut image = self.image;
        let mut sum = 0;
        for stage in &self.stages {
            if let Stage::Convolution { channels, filter } = *stage {
                sum += (filter.patches(image)?.channels + 1) * channels;
            }
            image = stage.output(image)?;
        }
        Ok(sum)
    }
}

/// A front with its weights.
#[derive(Debug)]
pub(super) struct Convolutions<B: Backend> {
    pub front: Front,
    /// Input size of each stage.
    entering: Vec<Image>,
    /// Parameters of each stage; `None` for pooling.
    pub layers: Vec<Option<Layer<B>>>,
}

/// Buffers of one stage for a mini-batch. The first training step allocates the gradients.
#[derive(Debug)]
struct Space<B: Backend> {
    output: B::Tensor<f32>,
    /// Patches of a convolution, one row per position.
    patches: Option<B::Tensor<f32>>,
    /// Gradient of the output, after the backward pass of its ReLU.
    grad: Option<B::Tensor<f32>>,
    grad_patches: Option<B::Tensor<f32>>,
}

/// Buffers of a front for a mini-batch.
#[derive(Debug)]
pub(super) struct Spaces<B: Backend> {
    pub images: B::Tensor<f32>,
    stages: Vec<Space<B>>,
}

impl<B: Backend> Spaces<B> {
    /// Returns the gradient of the features.
    pub fn grad_features(&mut self) -> Option<&mut B::Tensor<f32>> {
        self.stages.last_mut().and_then(|stage| stage.grad.as_mut())
    }
}

impl<B: Backend> Convolutions<B> {
    fn new(backend: &mut B, front: &Front, seed: u64) -> Result<Self> {
        if !matches!(front.stages.last(), Some(Stage::Pool(_))) {
            return Err(Error::invalid(
                "a front must end with a pooling stage: its maps are the features of a row",
            ));
        }
        let mut image = front.image;
        let mut entering = Vec::new();
        let mut layers = Vec::new();
        for (number, stage) in (FIRST..).zip(&front.stages) {
            entering.push(image);
            layers.push(match *stage {
                Stage::Convolution { channels, filter } => {
                    let inputs = filter.patches(image)?.channels;
                    let weight = backend.tensor(
                        inputs,
                        channels,
                        &init::he_uniform(seed, number, inputs, channels),
                    )?;
                    let bias = backend.zeros(1, channels)?;
                    Some(Layer {
                        weight,
                        bias,
                        grad: None,
                        velocity: None,
                        second: None,
                        norm: None,
                    })
                }
                Stage::Pool(_) => None,
            });
            image = stage.output(image)?;
        }
        Ok(Self { front: front.clone(), entering, layers })
    }

    /// Allocates the buffers for mini-batches of `rows` rows.
    pub fn spaces(&self, backend: &mut B, rows: usize) -> Result<Spaces<B>> {
        let mut stages = Vec::new();
        for (stage, &image) in self.front.stages.iter().zip(&self.entering) {
            let made = stage.output(image)?;
            let (output, patches) = match stage {
                Stage::Convolution { filter, .. } => {
                    let patches = filter.patches(image)?;
                    let places = rows * patches.pixels();
                    (
                        backend.zeros(places, made.channels)?,
                        Some(backend.zeros(places, patches.channels)?),
                    )
                }
                Stage::Pool(_) => (backend.zeros(rows, made.elements())?, None),
            };
            stages.push(Space { output, patches, grad: None, grad_patches: None });
        }
        Ok(Spaces { images: backend.zeros(rows, self.front.image.elements())?, stages })
    }

    /// Allocates the gradients of these buffers. The patches of the first convolution get none,
    /// because the data needs no gradient.
    pub fn make_grads(&self, backend: &mut B, spaces: &mut Spaces<B>) -> Result<()> {
        let mut zeros =
            |of: &B::Tensor<f32>| backend.zeros(crate::Matrix::rows(of), crate::Matrix::cols(of));
        for (index, space) in
            spaces.stages.iter_mut().enumerate().filter(|(_, space)| space.grad.is_none())
        {
            space.grad = Some(zeros(&space.output)?);
            space.grad_patches =
                space.patches.as_ref().filter(|_| index > 0).map(&mut zeros).transpose()?;
        }
        Ok(())
    }

    /// Computes the features `X` of a workspace's images and applies their dropout.
    pub fn forward(
        &self,
        backend: &mut B,
        workspace: &mut Workspace<B>,
        dropout: Dropout,
    ) -> Result<()> {
        let Some(Spaces { images, stages }) = &mut workspace.front else { return Ok(()) };
        for (index, stage) in self.front.stages.iter().enumerate() {
            let (before, after) = stages.split_at_mut(index);
            let x = before.last().map_or(&*images, |space| &space.output);
            let image = self.entering[index];
            let Space { output: y, patches, .. } = &mut after[0];
            match (stage, &self.layers[index], patches) {
                (
                    Stage::Convolution { filter, .. },
                    Some(Layer { weight, bias, .. }),
                    Some(patches),
                ) => {
                    backend.run(Patches { x, image, filter: *filter, patches: &mut *patches })?;
                    let x = &*patches;
                    backend.run(LinearForward {
                        x,
                        weight,
                        bias: Some(bias),
                        y,
                        relu: true,
                        dropout: Dropout::NONE,
                    })?;
                }
                (Stage::Pool(pool), ..) => backend.run(PoolCall { x, image, pool: *pool, y })?,
                (Stage::Convolution { .. }, ..) => {}
            }
        }
        let Some(features) = stages.last() else { return Ok(()) };
        backend.run(DropoutCall { x: &features.output, y: &mut workspace.x, dropout })
    }

    /// Runs the backward pass of all stages and updates each. It starts at the gradient of the
    /// features, after the backward pass of their dropout.
    pub fn backward(
        &mut self,
        backend: &mut B,
        workspace: &mut Workspace<B>,
        update: &Update,
    ) -> Result<()> {
        let Some(Spaces { images, stages }) = &mut workspace.front else { return Ok(()) };
        for (index, stage) in self.front.stages.iter().enumerate().rev() {
            let (before, after) = stages.split_at_mut(index);
            let Space { patches, grad: Some(grad), grad_patches, .. } = &mut after[0] else {
                continue;
            };
            let image = self.entering[index];
            let below = before.last_mut();
            // The input of every stage but the first is the output of a ReLU, perhaps pooled: where
            // it is 0, its gradient is 0.
            let (x, grad_x) = match below {
                Some(Space { output, grad: Some(grad_x), .. }) => (&*output, Some(grad_x)),
                _ => (&*images, None),
            };
            match (stage, &mut self.layers[index], patches, grad_x) {
                (Stage::Convolution { filter, .. }, Some(layer), Some(patches), grad_x) => {
                    if let (Some(grad_x), Some(grad_input)) = (grad_x, grad_patches) {
                        let grad_output = &*grad;
                        backend.run(GradInput {
                            grad_output,
                            output: None,
                            weight: &layer.weight,
                            grad_input: &mut *grad_input,
                            dropout: Dropout::NONE,
                            through: None,
                        })?;
                        let grad_patches = &*grad_input;
                        backend.run(PatchesGrad {
                            grad_patches,
                            image,
                            filter: *filter,
                            grad_x,
                            through: Some((x, 1.0)),
                        })?;
                    }
                    layer.update(backend, patches, grad, update)?;
                }
                (Stage::Pool(pool), .., Some(grad_x)) => {
                    let grad_y = &*grad;
                    backend.run(PoolGrad {
                        x,
                        image,
                        pool: *pool,
                        grad_y,
                        grad_x,
                        through: Some(1.0),
                    })?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

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

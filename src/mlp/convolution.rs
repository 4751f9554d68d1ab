//! A convolutional front for a network, just large enough to compare classification heads on
//! images.
//!
//! A convolution is a matrix product over patches, with its ReLU in the same kernel. Its weights,
//! updates and optimizers are therefore those of any other layer. The front itself drops nothing;
//! the network's input dropout applies to the front's features.

use super::layer::Layer;
use super::optimizer::Update;
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
    pub fn new(backend: &mut B, front: &Front, seed: u64) -> Result<Self> {
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
                    Some(Layer::new(weight, bias))
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

    /// Computes the features `X` of the images and applies their dropout.
    pub fn forward(
        &self,
        backend: &mut B,
        spaces: &mut Spaces<B>,
        x: &mut B::Tensor<f32>,
        dropout: Dropout,
    ) -> Result<()> {
        let Spaces { images, stages } = spaces;
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
        backend.run(DropoutCall { x: &features.output, y: x, dropout })
    }

    /// Runs the backward pass of all stages and updates each. It starts at the gradient of the
    /// features, after the backward pass of their dropout.
    pub fn backward(
        &mut self,
        backend: &mut B,
        spaces: &mut Spaces<B>,
        update: &Update,
    ) -> Result<()> {
        let Spaces { images, stages } = spaces;
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

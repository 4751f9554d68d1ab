//! "L2 and KL": a net with a Kullback-Leibler penalty that keeps its units from being active often.
//!
//! The divergence of two activity rates requires activations from 0 to 1, so the units here are
//! logistic. The paper's units are ReLUs; it does not say how it applied the penalty to them.

use crate::study::handmade::{self, Handmade};
use crate::study::layer::Layer;
use crate::study::plan::{Computation, Recipe, Scene};
use crate::study::record::Found;
use wgpu_dropout::call::{Activation, ActivationGrad, BatchStatistics, SgdRule, SparsityGrad};
use wgpu_dropout::{Backend, Dropout, Result};

/// Target of the units' mean activation.
const TARGET: f32 = 0.2;

/// Recipe, seed, and the penalty's λ (`weight`). With λ = 0, the units are
/// logistic but not penalized.
pub struct Net<'a> {
    pub scene: &'a Scene,
    pub recipe: Recipe,
    pub seed: u64,
    pub weight: f32,
}

impl Computation for Net<'_> {
    fn on<B: Backend>(&self, mut backend: B) -> Result<(B, Found)> {
        let scene = self.scene;
        let recipe = &self.recipe;
        let widths = recipe
            .architecture(scene.data.train.cols, scene.data.classes.len(), self.seed)?
            .widths();
        let layers = Layer::stack(&mut backend, self.seed, &widths)?;
        let hidden = recipe
            .hidden
            .iter()
            .map(|&units| Hidden::new(&mut backend, recipe.batch, units))
            .collect::<Result<_>>()?;
        handmade::train(
            backend,
            scene,
            recipe,
            self.seed,
            Sparse { layers, hidden, weight: self.weight },
        )
    }
}

struct Sparse<B: Backend> {
    layers: Vec<Layer<B>>,
    hidden: Vec<Hidden<B>>,
    weight: f32,
}

/// Tensors of a hidden layer for a mini-batch: pre-activations, activations, the gradients with
/// respect to both, and each unit's mean activation.
struct Hidden<B: Backend> {
    z: B::Tensor<f32>,
    y: B::Tensor<f32>,
    grad_z: B::Tensor<f32>,
    grad_y: B::Tensor<f32>,
    statistics: B::Tensor<f32>,
    running: B::Tensor<f32>,
}

impl<B: Backend> Hidden<B> {
    fn new(backend: &mut B, batch: usize, units: usize) -> Result<Self> {
        Ok(Self {
            z: backend.zeros(batch, units)?,
            y: backend.zeros(batch, units)?,
            grad_z: backend.zeros(batch, units)?,
            grad_y: backend.zeros(batch, units)?,
            statistics: backend.zeros(2, units)?,
            running: backend.zeros(2, units)?,
        })
    }

    /// Computes `dZ` from `dY` of the layer above plus the gradient of the penalty.
    fn backward(&mut self, backend: &mut B, weight: f32) -> Result<()> {
        let Self { z, y, grad_z, grad_y, statistics, running } = self;
        backend.run(BatchStatistics {
            x: &*y,
            statistics: &mut *statistics,
            running,
            momentum: 0.1,
        })?;
        backend.run(SparsityGrad {
            statistics: &*statistics,
            grad_y: &mut *grad_y,
            target: TARGET,
            weight,
        })?;
        let (activation, dropout) = (Activation::Sigmoid, Dropout::NONE);
        backend.run(ActivationGrad { grad_output: &*grad_y, z: &*z, grad_z, activation, dropout })
    }
}

impl<B: Backend> Handmade<B> for Sparse<B> {
    fn forward(
        &mut self,
        backend: &mut B,
        x: &B::Tensor<f32>,
        logits: &mut B::Tensor<f32>,
        _: Option<u32>,
    ) -> Result<()> {
        let mut below = x;
        let last = self.hidden.len();
        for (layer, Hidden { z, y, .. }) in self.layers.iter().zip(&mut self.hidden) {
            layer.logistic(backend, below, z, y)?;
            below = y;
        }
        self.layers[last].forward(backend, below, logits, false, Dropout::NONE)
    }

    fn backward(
        &mut self,
        backend: &mut B,
        x: &B::Tensor<f32>,
        grad_logits: &B::Tensor<f32>,
        _: u32,
        rule: SgdRule,
    ) -> Result<()> {
        for index in (0..self.layers.len()).rev() {
            let (below, above) = self.hidden.split_at_mut(index);
            let grad_z = above.first().map_or(grad_logits, |layer| &layer.grad_z);
            let layer = &mut self.layers[index];
            if let Some(below) = below.last_mut() {
                layer.grad_input(backend, grad_z, &mut below.grad_y)?;
                below.backward(backend, self.weight)?;
            }
            layer.update(backend, below.last().map_or(x, |below| &below.y), grad_z, rule)?;
        }
        Ok(())
    }
}

//! One affine layer: its parameters and their update.

use super::norm::Norm;
use super::optimizer::Update;
use super::training::Training;
use crate::backend::Backend;
use crate::call::{GradWeight, GradWeightSgd};
use crate::shape::Matrix;
use crate::{Dropout, Result};

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

impl<B: Backend> Layer<B> {
    /// Creates an untrained layer.
    pub(super) fn new(weight: B::Tensor<f32>, bias: B::Tensor<f32>) -> Self {
        Self { weight, bias, grad: None, velocity: None, second: None, norm: None }
    }

    /// Allocates the memory that only training needs.
    pub(super) fn prepare(&mut self, backend: &mut B, training: &Training) -> Result<()> {
        if training.stores_gradients() {
            self.prepare_gradient(backend)?;
        }
        self.prepare_moments(backend, training)
    }

    /// Allocates the gradients, if they are not there yet.
    pub(super) fn prepare_gradient(&mut self, backend: &mut B) -> Result<()> {
        if self.grad.is_none() {
            self.grad = Some(self.zeros(backend)?);
        }
        Ok(())
    }

    /// Allocates the velocities if the rule has momentum, or AdamW's moments.
    pub(super) fn prepare_moments(&mut self, backend: &mut B, training: &Training) -> Result<()> {
        let [first, second] = training.moments();
        if first && self.velocity.is_none() {
            self.velocity = Some(self.zeros(backend)?);
        }
        if second && self.second.is_none() {
            self.second = Some(self.zeros(backend)?);
        }
        self.norm.as_mut().map_or(Ok(()), |norm| norm.prepare(backend, training))
    }

    fn zeros(&self, backend: &mut B) -> Result<(B::Tensor<f32>, B::Tensor<f32>)> {
        Ok((
            backend.zeros(self.weight.rows(), self.weight.cols())?,
            backend.zeros(1, self.weight.cols())?,
        ))
    }

    /// Updates `W`, `b` and their moments by the gradients of `X` and `dZ`, and γ and β by their
    /// own stored gradients.
    pub(super) fn update(
        &mut self,
        backend: &mut B,
        x: &B::Tensor<f32>,
        grad_z: &B::Tensor<f32>,
        update: &Update,
    ) -> Result<()> {
        if update.stores_gradients() {
            self.gradient(backend, x, grad_z)?;
            return self.apply(backend, update);
        }
        let Self { weight, bias, velocity, norm, .. } = self;
        let velocity = velocity.as_mut().map(|(weight, bias)| (weight, bias));
        backend.run(GradWeightSgd { x, grad_z, weight, bias, velocity, rule: update.rule })?;
        norm.as_mut().map_or(Ok(()), |norm| norm.apply(backend, update))
    }

    /// Computes and stores the gradients of `X` and `dZ`.
    pub(super) fn gradient(
        &mut self,
        backend: &mut B,
        x: &B::Tensor<f32>,
        grad_z: &B::Tensor<f32>,
    ) -> Result<()> {
        let Some((grad_weight, grad_bias)) = &mut self.grad else { return Ok(()) };
        backend.run(GradWeight {
            x,
            grad_output: grad_z,
            output: None,
            grad_weight,
            grad_bias,
            dropout: Dropout::NONE,
        })
    }

    /// Updates `W`, `b` and their moments by the stored gradients.
    pub(super) fn apply(&mut self, backend: &mut B, update: &Update) -> Result<()> {
        let Self { weight, bias, grad: Some((grad_weight, grad_bias)), velocity, second, norm } =
            self
        else {
            return Ok(());
        };
        let (weight_first, bias_first) =
            velocity.as_mut().map(|(weight, bias)| (weight, bias)).unzip();
        let (weight_second, bias_second) =
            second.as_mut().map(|(weight, bias)| (weight, bias)).unzip();
        update.apply(backend, grad_weight, weight, weight_first, weight_second)?;
        update.for_bias().apply(backend, grad_bias, bias, bias_first, bias_second)?;
        norm.as_mut().map_or(Ok(()), |norm| norm.apply(backend, update))
    }
}

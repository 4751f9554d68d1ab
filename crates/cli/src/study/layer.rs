//! Affine layer with its velocities, for studies whose networks the library does not provide.

use wgpu_dropout::call::{
    Activation, GradInput, GradWeightSgd, LinearActivation, LinearForward, SgdRule,
};
use wgpu_dropout::{Backend, Dropout, Result, init};

/// Weights `[inputs, outputs]`, bias `[1, outputs]`, and a velocity for each.
pub struct Layer<B: Backend> {
    /// Weights `W`.
    pub weight: B::Tensor<f32>,
    bias: B::Tensor<f32>,
    velocity: [B::Tensor<f32>; 2],
}

impl<B: Backend> Layer<B> {
    /// Creates layer `layer` with He's initialization and zero bias.
    pub fn new(
        backend: &mut B,
        seed: u64,
        layer: u32,
        inputs: usize,
        outputs: usize,
    ) -> Result<Self> {
        let weight =
            backend.tensor(inputs, outputs, &init::he_uniform(seed, layer, inputs, outputs))?;
        let velocity = [backend.zeros(inputs, outputs)?, backend.zeros(1, outputs)?];
        Ok(Self { weight, bias: backend.zeros(1, outputs)?, velocity })
    }

    /// Creates the layers of a network with the given widths, from its input to its classes.
    pub fn stack(backend: &mut B, seed: u64, widths: &[usize]) -> Result<Vec<Self>> {
        (0..)
            .zip(widths.windows(2))
            .map(|(layer, pair)| Self::new(backend, seed, layer, pair[0], pair[1]))
            .collect()
    }

    /// Computes `Y = M·s·relu(X·W + b)`, with or without the ReLU.
    pub fn forward(
        &self,
        backend: &mut B,
        x: &B::Tensor<f32>,
        y: &mut B::Tensor<f32>,
        relu: bool,
        dropout: Dropout,
    ) -> Result<()> {
        backend.run(LinearForward {
            x,
            weight: &self.weight,
            bias: Some(&self.bias),
            y,
            relu,
            dropout,
        })
    }

    /// Computes `Z = X·W + b` and `Y = 1/(1 + exp(−Z))`.
    pub fn logistic(
        &self,
        backend: &mut B,
        x: &B::Tensor<f32>,
        z: &mut B::Tensor<f32>,
        y: &mut B::Tensor<f32>,
    ) -> Result<()> {
        backend.run(LinearActivation {
            x,
            weight: &self.weight,
            bias: Some(&self.bias),
            residual: None,
            z: Some(z),
            y,
            activation: Activation::Sigmoid,
            dropout: Dropout::NONE,
        })
    }

    /// Computes `dX = dZ·Wᵀ`.
    pub fn grad_input(
        &self,
        backend: &mut B,
        grad_z: &B::Tensor<f32>,
        grad_x: &mut B::Tensor<f32>,
    ) -> Result<()> {
        backend.run(GradInput {
            grad_output: grad_z,
            output: None,
            weight: &self.weight,
            grad_input: grad_x,
            dropout: Dropout::NONE,
            through: None,
        })
    }

    /// Updates weights and bias from `dW = Xᵀ·dZ` and the column sums of `dZ`.
    pub fn update(
        &mut self,
        backend: &mut B,
        x: &B::Tensor<f32>,
        grad_z: &B::Tensor<f32>,
        rule: SgdRule,
    ) -> Result<()> {
        let Self { weight, bias, velocity: [weight_velocity, bias_velocity] } = self;
        backend.run(GradWeightSgd {
            x,
            grad_z,
            weight,
            bias,
            velocity: Some((weight_velocity, bias_velocity)),
            rule,
        })
    }
}

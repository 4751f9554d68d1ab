//! An affine layer with its velocities, for studies of networks that the library's own does not make.

use wgpu_dropout::call::{GradWeightSgd, LinearForward, SgdRule};
use wgpu_dropout::{Backend, Dropout, Result, init};

/// Weights `[inputs, outputs]`, bias, and a velocity of each.
pub struct Layer<B: Backend> {
    /// `W`
    pub weight: B::Tensor<f32>,
    bias: B::Tensor<f32>,
    velocity: [B::Tensor<f32>; 2],
}

impl<B: Backend> Layer<B> {
    /// He's weights of layer `layer`.
    pub fn new(backend: &mut B, seed: u64, layer: u32, inputs: usize, outputs: usize) -> Result<Self> {
        let weight = backend.tensor(inputs, outputs, &init::he_uniform(seed, layer, inputs, outputs))?;
        let velocity = [backend.zeros(inputs, outputs)?, backend.zeros(1, outputs)?];
        Ok(Self { weight, bias: backend.zeros(1, outputs)?, velocity })
    }

    /// `Y = M·s·relu(X·W + b)`, with or without the ReLU.
    pub fn forward(&self, backend: &mut B, x: &B::Tensor<f32>, y: &mut B::Tensor<f32>, relu: bool, dropout: Dropout) -> Result<()> {
        backend.linear_forward(LinearForward { x, weight: &self.weight, bias: Some(&self.bias), y, relu, dropout })
    }

    /// An update by the gradients that `X` and `dZ` make.
    pub fn update(&mut self, backend: &mut B, x: &B::Tensor<f32>, grad_z: &B::Tensor<f32>, rule: SgdRule) -> Result<()> {
        let Self { weight, bias, velocity: [weight_velocity, bias_velocity] } = self;
        backend.grad_weight_sgd(GradWeightSgd { x, grad_z, weight, bias, velocity: Some((weight_velocity, bias_velocity)), rule })
    }
}

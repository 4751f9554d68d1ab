//! A fully connected layer, forward with and without dropout and backward, beside the plain matrix product of the same shape.

use super::work::{Bound, Entry, Timed, Work, numbers};
use std::time::Duration;
use wgpu_dropout::call::{GradInput, GradWeight, LinearForward};
use wgpu_dropout::{Backend, Dropout, Key, Mask, Mode, Rate, Result};

/// The tensors of a layer.
pub struct Layer<'a, B: Backend> {
    backend: &'a mut B,
    shape: [usize; 3],
    x: B::Tensor<f32>,
    weight: B::Tensor<f32>,
    bias: B::Tensor<f32>,
    y: B::Tensor<f32>,
    grad_output: B::Tensor<f32>,
    grad_input: B::Tensor<f32>,
    grad_weight: B::Tensor<f32>,
    grad_bias: B::Tensor<f32>,
    dropout: Dropout,
}

impl<'a, B: Backend> Layer<'a, B> {
    /// A layer of batch, inputs and outputs, with inverted dropout that keeps half of the outputs.
    pub fn new(backend: &'a mut B, shape: [usize; 3], key: Key) -> Result<Self> {
        let [batch, inputs, outputs] = shape;
        Ok(Self {
            shape,
            x: backend.tensor(batch, inputs, &numbers(1, batch, inputs))?,
            weight: backend.tensor(inputs, outputs, &numbers(2, inputs, outputs))?,
            bias: backend.tensor(1, outputs, &numbers(3, 1, outputs))?,
            y: backend.zeros(batch, outputs)?,
            grad_output: backend.tensor(batch, outputs, &numbers(4, batch, outputs))?,
            grad_input: backend.zeros(batch, inputs)?,
            grad_weight: backend.zeros(inputs, outputs)?,
            grad_bias: backend.zeros(1, outputs)?,
            dropout: Dropout::train(Mode::Inverted, Mask::new(Rate::drop(0.5)?, key)),
            backend,
        })
    }

    fn forward(&mut self, whole: bool, dropout: Dropout) -> Result<()> {
        let bias = whole.then_some(&self.bias);
        self.backend.linear_forward(LinearForward { x: &self.x, weight: &self.weight, bias, y: &mut self.y, relu: whole, dropout })
    }
}

impl<B: Timed> Work for Layer<'_, B> {
    fn entries(&self) -> Vec<Entry> {
        let [batch, inputs, outputs] = self.shape.map(|size| size as u64);
        let (x, weight, y) = (batch * inputs, inputs * outputs, batch * outputs);
        let entry = |kernel, elements: u64| Entry {
            kernel,
            shape: self.shape.to_vec(),
            bytes: 4 * elements,
            flops: 2 * batch * inputs * outputs,
            bound: Bound::Flops,
            per_call: 1,
        };
        vec![
            entry("matmul", x + weight + y),
            entry("linear_forward_plain", x + weight + outputs + y),
            entry("linear_forward", x + weight + outputs + y),
            entry("grad_input", y + weight + 2 * x),
            entry("grad_weight", y + x + weight + outputs),
        ]
    }

    fn call(&mut self, entry: usize) -> Result<()> {
        // As in a training step, where gradients arrive as dZ and leave as the dZ of the layer before.
        let (grad_output, output, dropout) = (&self.grad_output, None, Dropout::NONE);
        match entry {
            0 => self.forward(false, Dropout::NONE),
            1 => self.forward(true, Dropout::NONE),
            2 => self.forward(true, self.dropout),
            3 => {
                let (weight, grad_input, through) = (&self.weight, &mut self.grad_input, Some((&self.x, self.dropout.scale)));
                self.backend.grad_input(GradInput { grad_output, output, weight, grad_input, dropout, through })
            }
            _ => {
                let (grad_weight, grad_bias) = (&mut self.grad_weight, &mut self.grad_bias);
                self.backend.grad_weight(GradWeight { x: &self.x, grad_output, output, grad_weight, grad_bias, dropout })
            }
        }
    }

    fn finish(&mut self) -> Result<Option<Duration>> {
        self.backend.finish()
    }
}

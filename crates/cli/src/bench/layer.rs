//! A fully connected layer, forward and backward, against the plain matrix product of the same
//! shape; and the cost of dropout in it.

use super::work::{Bound, Entry, Timed, Work, filled};
use std::time::Duration;
use wgpu_dropout::call::{GradInput, GradWeight, LinearForward};
use wgpu_dropout::{Backend, Dropout, Key, Mask, Mode, Rate, Result};

fn entry(kernel: &'static str, shape: [usize; 3], elements: impl Fn([u64; 3]) -> u64) -> Entry {
    let [batch, inputs, outputs] = shape.map(|size| size as u64);
    Entry {
        kernel,
        shape: shape.to_vec(),
        dtype: "f32",
        bytes: 4 * elements([batch * inputs, inputs * outputs, batch * outputs]),
        flops: 2 * batch * inputs * outputs,
        bound: Bound::Flops,
        per_call: 1,
    }
}

/// Returns the layer's kernels for this batch, inputs and outputs.
pub fn entries(shape: [usize; 3]) -> Vec<Entry> {
    let outputs = shape[2] as u64;
    let [plain, dropped] = cost_entries(shape);
    vec![
        entry("matmul", shape, |[x, weight, y]| x + weight + y),
        plain,
        dropped,
        entry("grad_input", shape, |[x, weight, y]| y + weight + 2 * x),
        entry("grad_weight", shape, |[x, weight, y]| y + x + weight + outputs),
    ]
}

/// Returns the forward pass without and with dropout.
pub fn cost_entries(shape: [usize; 3]) -> [Entry; 2] {
    let outputs = shape[2] as u64;
    ["linear_forward_plain", "linear_forward"]
        .map(|kernel| entry(kernel, shape, |[x, weight, y]| x + weight + outputs + y))
}

/// The tensors of a forward pass.
struct Forward<B: Backend> {
    x: B::Tensor<f32>,
    weight: B::Tensor<f32>,
    bias: B::Tensor<f32>,
    y: B::Tensor<f32>,
    /// Inverted dropout that keeps half of the outputs.
    dropout: Dropout,
}

impl<B: Backend> Forward<B> {
    fn new(backend: &mut B, [batch, inputs, outputs]: [usize; 3], key: Key) -> Result<Self> {
        Ok(Self {
            x: filled(backend, 1, batch, inputs)?,
            weight: filled(backend, 2, inputs, outputs)?,
            bias: filled(backend, 3, 1, outputs)?,
            y: backend.zeros(batch, outputs)?,
            dropout: Dropout::train(Mode::Inverted, Mask::new(Rate::drop(0.5)?, key)),
        })
    }

    /// Computes `X·W`.
    fn matmul(&mut self, backend: &mut B) -> Result<()> {
        self.run(backend, false, Dropout::NONE)
    }

    /// Computes `relu(X·W + b)`.
    fn plain(&mut self, backend: &mut B) -> Result<()> {
        self.run(backend, true, Dropout::NONE)
    }

    /// Computes `dropout(relu(X·W + b))`.
    fn dropped(&mut self, backend: &mut B) -> Result<()> {
        self.run(backend, true, self.dropout)
    }

    fn run(&mut self, backend: &mut B, whole: bool, dropout: Dropout) -> Result<()> {
        let bias = whole.then_some(&self.bias);
        backend.run(LinearForward {
            x: &self.x,
            weight: &self.weight,
            bias,
            y: &mut self.y,
            relu: whole,
            dropout,
        })
    }
}

/// A layer in training.
pub struct Layer<'a, B: Backend> {
    backend: &'a mut B,
    forward: Forward<B>,
    grad_output: B::Tensor<f32>,
    grad_input: B::Tensor<f32>,
    grad_weight: B::Tensor<f32>,
    grad_bias: B::Tensor<f32>,
}

impl<'a, B: Backend> Layer<'a, B> {
    /// Creates a layer with this batch, inputs and outputs.
    pub fn new(backend: &'a mut B, shape: [usize; 3], key: Key) -> Result<Self> {
        let [batch, inputs, outputs] = shape;
        Ok(Self {
            forward: Forward::new(backend, shape, key)?,
            grad_output: filled(backend, 4, batch, outputs)?,
            grad_input: backend.zeros(batch, inputs)?,
            grad_weight: backend.zeros(inputs, outputs)?,
            grad_bias: backend.zeros(1, outputs)?,
            backend,
        })
    }
}

impl<B: Timed> Work for Layer<'_, B> {
    fn call(&mut self, entry: usize) -> Result<()> {
        let Self { backend, forward, grad_output, grad_input, grad_weight, grad_bias } = self;
        // As in a training step, where gradients arrive as dZ and leave as the dZ of the preceding
        // layer.
        let (output, dropout) = (None, Dropout::NONE);
        match entry {
            0 => forward.matmul(backend),
            1 => forward.plain(backend),
            2 => forward.dropped(backend),
            3 => {
                let (weight, through) =
                    (&forward.weight, Some((&forward.x, forward.dropout.scale)));
                backend.run(GradInput {
                    grad_output: &*grad_output,
                    output,
                    weight,
                    grad_input,
                    dropout,
                    through,
                })
            }
            _ => backend.run(GradWeight {
                x: &forward.x,
                grad_output: &*grad_output,
                output,
                grad_weight,
                grad_bias,
                dropout,
            }),
        }
    }

    fn finish(&mut self) -> Result<Option<Duration>> {
        self.backend.finish()
    }
}

/// A layer's forward pass without and with dropout.
pub struct Cost<'a, B: Backend> {
    backend: &'a mut B,
    forward: Forward<B>,
}

impl<'a, B: Backend> Cost<'a, B> {
    /// Creates a layer with this batch, inputs and outputs.
    pub fn new(backend: &'a mut B, shape: [usize; 3], key: Key) -> Result<Self> {
        Ok(Self { forward: Forward::new(backend, shape, key)?, backend })
    }
}

impl<B: Timed> Work for Cost<'_, B> {
    fn call(&mut self, entry: usize) -> Result<()> {
        match entry {
            0 => self.forward.plain(self.backend),
            _ => self.forward.dropped(self.backend),
        }
    }

    fn finish(&mut self) -> Result<Option<Duration>> {
        self.backend.finish()
    }
}

//! A fully connected layer with dropout, forward and backward: the three matrix products as one
//! case.

use super::check::{poisoned, same_bits};
use super::random::Cases;
use crate::call::{GradInput, GradWeight, LinearForward};
use crate::oracle::{self, Exact};
use crate::{Backend, Dropout, Result};

/// Inputs of a layer and its backward pass.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    /// Shape `[B, I, O]`.
    pub shape: [usize; 3],
    pub x: Vec<f32>,
    pub weight: Vec<f32>,
    pub bias: Option<Vec<f32>>,
    pub grad_output: Vec<f32>,
    pub relu: bool,
    pub dropout: Dropout,
    /// Scale of the preceding dropout, if dX also passes back through that and its ReLU.
    pub through: Option<f32>,
}

/// Results of a layer and its backward pass.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Results {
    pub y: Vec<f32>,
    pub dx: Vec<f32>,
    pub dw: Vec<f32>,
    pub db: Vec<f32>,
}

/// A layer's tensors on a device.
pub(super) struct Tensors<B: Backend> {
    x: B::Tensor<f32>,
    weight: B::Tensor<f32>,
    bias: Option<B::Tensor<f32>>,
    grad_output: B::Tensor<f32>,
    y: B::Tensor<f32>,
    dx: B::Tensor<f32>,
    dw: B::Tensor<f32>,
    db: B::Tensor<f32>,
}

impl Layer {
    /// Creates a layer of this shape with values from `fill`; the bias and the preceding layer are
    /// random.
    pub fn new(
        cases: &mut Cases,
        fill: fn(&mut Cases, usize) -> Vec<f32>,
        shape: [usize; 3],
        relu: bool,
        dropout: Dropout,
    ) -> Self {
        let [batch, inputs, outputs] = shape;
        let x = fill(cases, batch * inputs);
        let weight = fill(cases, inputs * outputs);
        let grad_output = fill(cases, batch * outputs);
        let bias = cases.flip().then(|| fill(cases, outputs));
        let through = cases.flip().then_some(dropout.scale);
        Self { shape, x, weight, bias, grad_output, relu, dropout, through }
    }

    /// Uploads the values and poisons the outputs.
    pub fn upload<B: Backend>(&self, backend: &mut B) -> Result<Tensors<B>> {
        let [batch, inputs, outputs] = self.shape;
        Ok(Tensors {
            x: backend.tensor(batch, inputs, &self.x)?,
            weight: backend.tensor(inputs, outputs, &self.weight)?,
            bias: self.bias.as_ref().map(|bias| backend.tensor(1, outputs, bias)).transpose()?,
            grad_output: backend.tensor(batch, outputs, &self.grad_output)?,
            y: poisoned(backend, batch, outputs)?,
            dx: poisoned(backend, batch, inputs)?,
            dw: poisoned(backend, inputs, outputs)?,
            db: poisoned(backend, 1, outputs)?,
        })
    }

    /// Runs the three kernels.
    pub fn call<B: Backend>(&self, backend: &mut B, on: &mut Tensors<B>) -> Result<()> {
        let (relu, dropout) = (self.relu, self.dropout);
        backend.run(LinearForward {
            x: &on.x,
            weight: &on.weight,
            bias: on.bias.as_ref(),
            y: &mut on.y,
            relu,
            dropout,
        })?;
        let (output, through) = (relu.then_some(&on.y), self.through.map(|scale| (&on.x, scale)));
        let grad_output = &on.grad_output;
        backend.run(GradInput {
            grad_output,
            output,
            weight: &on.weight,
            grad_input: &mut on.dx,
            dropout,
            through,
        })?;
        let (grad_weight, grad_bias) = (&mut on.dw, &mut on.db);
        backend.run(GradWeight { x: &on.x, grad_output, output, grad_weight, grad_bias, dropout })
    }

    /// Uploads the layer, calls the kernels, and reads the results.
    pub fn run<B: Backend>(&self, backend: &mut B) -> Result<Results> {
        let mut tensors = self.upload(backend)?;
        self.call(backend, &mut tensors)?;
        Ok(read(backend, std::slice::from_ref(&tensors))?.remove(0))
    }

    /// Returns a description of the layer.
    pub fn name(&self) -> String {
        let Self { shape: [batch, inputs, outputs], relu, dropout, bias, through, .. } = self;
        let (bias, through) = (bias.is_some(), through.is_some());
        format!(
            "layer {batch}×{inputs}×{outputs}, relu {relu}, bias {bias}, through {through}, {dropout:?}"
        )
    }

    /// Returns the oracle's values for Y, dX, dW and db, next to the computed ones. The gradient
    /// uses the ReLU gate of the computed Y.
    pub fn exact<'a>(&self, got: &'a Results) -> [(Exact, &'a [f32]); 4] {
        let forward = oracle::linear_forward(
            &self.x,
            &self.weight,
            self.bias.as_deref(),
            self.shape,
            self.relu,
            &self.dropout,
        );
        let grad_z = oracle::gradient(
            &self.grad_output,
            self.relu.then_some(&got.y),
            self.shape[2],
            &self.dropout,
        );
        let mut grad_input = oracle::grad_input(&grad_z, &self.weight, self.shape);
        if let Some(scale) = self.through {
            back_through(&mut grad_input, &self.x, scale);
        }
        let (weight, bias) = oracle::grad_weight(&self.x, &grad_z, self.shape);
        [
            (forward, &got.y[..]),
            (grad_input, &got.dx[..]),
            (weight, &got.dw[..]),
            (bias, &got.db[..]),
        ]
    }

    /// Compares each kernel's result with the oracle: `linear_forward`, `grad_input` and
    /// `grad_weight`, in that order.
    pub fn against_oracle(&self, got: &Results) -> [Result<()>; 3] {
        let [forward, grad_input, weight, bias] =
            self.exact(got).map(|(exact, got)| exact.check(&self.name(), got));
        [forward, grad_input, weight.and(bias)]
    }

    /// Returns an error that names the first bit in which two results differ.
    pub fn same(&self, got: &Results, expected: &Results) -> std::result::Result<(), String> {
        let pairs = [
            ("y", &got.y, &expected.y),
            ("dx", &got.dx, &expected.dx),
            ("dw", &got.dw, &expected.dw),
            ("db", &got.db, &expected.db),
        ];
        pairs
            .into_iter()
            .try_for_each(|(name, got, expected)| same_bits(name, got, expected))
            .map_err(|e| format!("{}: {e}", self.name()))
    }
}

/// Reads the results of many layers with one wait.
pub(super) fn read<B: Backend>(backend: &mut B, layers: &[Tensors<B>]) -> Result<Vec<Results>> {
    let tensors: Vec<&B::Tensor<f32>> =
        layers.iter().flat_map(|on| [&on.y, &on.dx, &on.dw, &on.db]).collect();
    let mut values = backend.read_all(&tensors)?.into_iter();
    let mut next = || values.next().unwrap_or_default();
    Ok(layers.iter().map(|_| Results { y: next(), dx: next(), dw: next(), db: next() }).collect())
}

/// Passes the gradient back through the ReLU and dropout whose output is `x`: `dX·s` if `X > 0` or
/// X is NaN, else 0.
fn back_through(grad_input: &mut Exact, x: &[f32], scale: f32) {
    for values in [&mut grad_input.values, &mut grad_input.magnitudes] {
        values.iter_mut().zip(x).for_each(|(value, &x)| {
            *value = if x <= 0.0 { 0.0 } else { *value * f64::from(scale) }
        });
    }
}

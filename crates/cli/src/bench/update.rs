//! The rest of a training step, `sgd` and `softmax_cross_entropy`, against `copy`.

use super::elementwise::{COLS, copy};
use super::work::{Entry, Timed, Work, filled};
use std::time::Duration;
use wgpu_dropout::call::{CopyCall, Sgd, SgdRule, SoftmaxCrossEntropy};
use wgpu_dropout::{Backend, Result};

/// Number of classes of the loss.
const CLASSES: usize = 16;
/// Update rule with momentum, and a learning rate so small that any number of steps changes the
/// weights little.
const RULE: SgdRule = SgdRule { momentum: 0.9, ..SgdRule::plain(1e-6) };

/// Returns the kernels over `elements` elements, a multiple of [`COLS`].
pub fn entries(elements: usize) -> Vec<Entry> {
    let (copy, n, samples) = (copy(elements), elements as u64, (elements / CLASSES) as u64);
    // Gradient, velocity and weight are read; the last two are also written.
    let sgd = Entry { kernel: "sgd", bytes: 20 * n, flops: 4 * n, ..copy.clone() };
    // For each element, the logit is read and its gradient written; for each row, a label is read,
    // and a loss and a hit are written. Operations: largest logit, subtraction, exp, sum, product.
    let (shape, bytes) = (vec![elements / CLASSES, CLASSES], 8 * n + 12 * samples);
    let loss =
        Entry { kernel: "softmax_cross_entropy", shape, bytes, flops: 5 * n, ..copy.clone() };
    vec![copy, sgd, loss]
}

/// Tensors of an update, and logits with the same number of elements.
pub struct Update<'a, B: Backend> {
    backend: &'a mut B,
    grad: B::Tensor<f32>,
    weight: B::Tensor<f32>,
    velocity: B::Tensor<f32>,
    logits: B::Tensor<f32>,
    labels: B::Tensor<u32>,
    grad_logits: B::Tensor<f32>,
    losses: B::Tensor<f32>,
}

impl<'a, B: Backend> Update<'a, B> {
    /// Creates tensors of `elements` elements.
    pub fn new(backend: &'a mut B, elements: usize) -> Result<Self> {
        let (rows, samples) = (elements / COLS, elements / CLASSES);
        let labels: Vec<u32> = (0..CLASSES as u32).cycle().take(samples).collect();
        Ok(Self {
            grad: filled(backend, 5, rows, COLS)?,
            weight: filled(backend, 6, rows, COLS)?,
            velocity: backend.zeros(rows, COLS)?,
            logits: filled(backend, 7, samples, CLASSES)?,
            labels: backend.tensor(samples, 1, &labels)?,
            grad_logits: backend.zeros(samples, CLASSES)?,
            losses: backend.zeros(samples, 2)?,
            backend,
        })
    }
}

impl<B: Timed> Work for Update<'_, B> {
    fn call(&mut self, entry: usize) -> Result<()> {
        let backend = &mut *self.backend;
        match entry {
            0 => backend.run(CopyCall { x: &self.grad, y: &mut self.weight }),
            1 => {
                let velocity = Some(&mut self.velocity);
                backend.run(Sgd {
                    grad: &self.grad,
                    weight: &mut self.weight,
                    velocity,
                    rule: RULE,
                })
            }
            _ => backend.run(SoftmaxCrossEntropy {
                logits: &self.logits,
                labels: &self.labels,
                grad_logits: &mut self.grad_logits,
                losses: &mut self.losses,
                batch: wgpu_dropout::Matrix::rows(&self.logits),
            }),
        }
    }

    fn finish(&mut self) -> Result<Option<Duration>> {
        self.backend.finish()
    }
}

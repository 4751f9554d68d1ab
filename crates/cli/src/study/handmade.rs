//! Training of networks that a study builds from kernels because it needs features that the
//! library's own network lacks.

use super::draw::drawn;
use super::plan::{Recipe, Scene};
use super::record::Found;
use super::training::is_point;
use crate::train::session::upload;
use wgpu_dropout::call::{Gather, SgdRule, SoftmaxCrossEntropy};
use wgpu_dropout::data::Samples;
use wgpu_dropout::mlp::{Evaluation, Resident};
use wgpu_dropout::{Backend, Dropout, Result, init};

/// Number of points of a learning curve.
const POINTS: u32 = 10;

/// Network that classifies rows and holds its own activations of a mini-batch.
pub trait Handmade<B: Backend> {
    /// Computes the logits of a mini-batch: in training if there is a step, else for prediction.
    fn forward(
        &mut self,
        backend: &mut B,
        x: &B::Tensor<f32>,
        logits: &mut B::Tensor<f32>,
        step: Option<u32>,
    ) -> Result<()>;

    /// Updates the parameters from the logits' gradient. The forward pass of the same step must
    /// come first.
    fn backward(
        &mut self,
        backend: &mut B,
        x: &B::Tensor<f32>,
        grad_logits: &B::Tensor<f32>,
        step: u32,
        rule: SgdRule,
    ) -> Result<()>;
}

/// Trains a network by the recipe's rows, batch, updates, rule and schedules of learning rate and
/// momentum. The recipe's other settings are for the network to apply.
pub fn train<B: Backend>(
    mut backend: B,
    scene: &Scene,
    recipe: &Recipe,
    seed: u64,
    mut net: impl Handmade<B>,
) -> Result<(B, Found)> {
    let samples = drawn(&scene.data.train, recipe.rows, seed);
    let mut batch = Batch::new(&mut backend, recipe.batch, samples.cols, scene.data.classes.len())?;
    let mut train = Rows::new(&mut backend, &samples, recipe.batch)?;
    let mut test = Rows::new(&mut backend, &scene.data.test, recipe.batch)?;
    let epochs = recipe.epochs();
    let training = recipe.training();
    let mut found = Found::default();
    for epoch in 1..=epochs {
        train.visit(&mut backend, init::shuffle(seed, epoch - 1, samples.rows as u32))?;
        for (step, first) in ((epoch - 1) * recipe.steps()..).zip(train.batches()) {
            batch.forward(&mut backend, &mut net, &train, first, Some(step))?;
            let rule = training.schedules.rule(&training.rule, step);
            net.backward(&mut backend, &batch.x, &batch.grad_logits, step, rule)?;
            backend.submit()?;
        }
        if is_point(epoch, epochs, POINTS) {
            let [seen, unseen] =
                [&mut train, &mut test].map(|rows| batch.evaluate(&mut backend, &mut net, rows));
            let seen = seen?;
            let unseen = unseen?;
            // Divergence is a result too, one without figures.
            if !seen.loss.is_finite() {
                return Ok((backend, Found::default()));
            }
            found.epoch(epoch, seen, unseen);
        }
    }
    Ok((backend, found))
}

/// Rows on a device, and the order in which they are visited. All mini-batches are whole: the last
/// one is filled up with the first rows.
struct Rows<B: Backend> {
    resident: Resident<B>,
    unit: f32,
    batch: usize,
    order: B::Tensor<u32>,
}

impl<B: Backend> Rows<B> {
    fn new(backend: &mut B, samples: &Samples, batch: usize) -> Result<Self> {
        let resident = upload(backend, samples)?;
        let order = backend.zeros(samples.rows.next_multiple_of(batch), 1)?;
        Ok(Self { resident, unit: samples.unit.factor(), batch, order })
    }

    fn visit(&mut self, backend: &mut B, order: Vec<u32>) -> Result<()> {
        let whole = order.len().next_multiple_of(self.batch);
        backend.write(&mut self.order, &order.into_iter().cycle().take(whole).collect::<Vec<_>>())
    }

    /// Returns the start of each mini-batch.
    fn batches(&self) -> impl Iterator<Item = usize> + use<B> {
        (0..self.resident.rows()).step_by(self.batch)
    }
}

/// Tensors of a mini-batch.
struct Batch<B: Backend> {
    x: B::Tensor<f32>,
    labels: B::Tensor<u32>,
    logits: B::Tensor<f32>,
    grad_logits: B::Tensor<f32>,
    losses: B::Tensor<f32>,
}

impl<B: Backend> Batch<B> {
    fn new(backend: &mut B, rows: usize, inputs: usize, classes: usize) -> Result<Self> {
        Ok(Self {
            x: backend.zeros(rows, inputs)?,
            labels: backend.zeros(rows, 1)?,
            logits: backend.zeros(rows, classes)?,
            grad_logits: backend.zeros(rows, classes)?,
            losses: backend.zeros(rows, 2)?,
        })
    }

    /// Computes the losses, the correct answers and the logits' gradient of the mini-batch at
    /// `first`.
    fn forward(
        &mut self,
        backend: &mut B,
        net: &mut impl Handmade<B>,
        rows: &Rows<B>,
        first: usize,
        step: Option<u32>,
    ) -> Result<()> {
        let Self { x, labels, logits, grad_logits, losses } = self;
        backend.run(Gather {
            data: rows.resident.features(),
            all_labels: rows.resident.labels(),
            order: &rows.order,
            first,
            unit: rows.unit,
            x: &mut *x,
            labels: &mut *labels,
            dropout: Dropout::NONE,
        })?;
        net.forward(backend, x, logits, step)?;
        backend.run(SoftmaxCrossEntropy {
            logits: &*logits,
            labels: &*labels,
            grad_logits,
            losses,
            batch: rows.batch,
        })
    }

    /// Evaluates loss and error by the weight-scaling rule.
    fn evaluate(
        &mut self,
        backend: &mut B,
        net: &mut impl Handmade<B>,
        rows: &mut Rows<B>,
    ) -> Result<Evaluation> {
        let count = rows.resident.rows();
        rows.visit(backend, (0..count as u32).collect())?;
        let mut loss = 0.0;
        let mut right = 0.0;
        for first in rows.batches() {
            self.forward(backend, net, rows, first, None)?;
            for row in backend.read(&self.losses)?.chunks_exact(2).take(count - first) {
                loss += f64::from(row[0]);
                right += f64::from(row[1]);
            }
        }
        let count = count.max(1) as f64;
        Ok(Evaluation { loss: loss / count, error: 100.0 * (1.0 - right / count) })
    }
}

//! A training step of a whole network, against the plain matrix products of its forward pass, and
//! the work that the step gives its device.

use super::work::{Bound, Entry, Timed, Work, filled, numbers};
use std::time::{Duration, Instant};
use wgpu_dropout::call::{LinearForward, SgdRule};
use wgpu_dropout::mlp::{Architecture, Mlp, Resident, Source, Training};
use wgpu_dropout::{Backend, Counts, Dropout, Mode, Rate, Result};

/// Update rule with a learning rate so small that any number of steps changes the weights little.
const RULE: SgdRule = SgdRule { momentum: 0.9, ..SgdRule::plain(1e-6) };

/// Work of a device in some training steps, and the extra time of the first ones.
#[derive(Debug, Clone, Copy)]
pub struct PerStep {
    /// Number of steps.
    pub steps: usize,
    /// Counts over all these steps.
    pub counts: Counts,
    /// Extra time in seconds that the same number of steps took at first: the time to compile the
    /// pipelines that nothing has used before and that the driver has not cached.
    pub start: f64,
}

impl PerStep {
    /// Returns the name of each count, and the count per step.
    pub fn each(&self) -> [(&'static str, f64); 5] {
        let Counts { dispatches, submits, objects, mask_bytes, bytes_read } = self.counts;
        let share = |count: u64| count as f64 / self.steps as f64;
        [
            ("dispatches", share(dispatches)),
            ("submits", share(submits)),
            ("objects", share(objects)),
            ("mask_bytes", share(mask_bytes)),
            ("bytes_read", share(bytes_read)),
        ]
    }
}

/// A network to train: inverted dropout keeps 0.8 of the input and half of each hidden layer.
#[derive(Debug, Clone)]
pub struct Network {
    /// Rows of a mini-batch.
    pub batch: usize,
    /// Units of each layer, from the input to the classes.
    pub widths: Vec<usize>,
    /// Steps of an epoch. The device is waited for after each epoch.
    pub steps: usize,
}

/// Returns the products of a network's forward pass, and its training step.
pub fn entries(Network { batch, widths, steps }: &Network) -> Vec<Entry> {
    let weights: usize = widths.windows(2).map(|pair| pair[0] * pair[1]).sum();
    let first = widths.iter().take(2).product::<usize>();
    // Forward, and backward to the weights and to all layers' inputs except the data.
    let forward = 2 * (batch * weights) as u64;
    let flops = 3 * forward - 2 * (batch * first) as u64;
    let shape = [&[*batch], widths.as_slice()].concat();
    let activations: usize = batch * widths.iter().sum::<usize>();
    let matmul = Entry {
        kernel: "matmul",
        shape,
        dtype: "f32",
        bytes: 4 * (weights + activations) as u64,
        flops: forward,
        bound: Bound::Flops,
        per_call: 1,
    };
    // Weights and velocities are read and written, and weights are read again in the backward pass.
    // The same holds for activations and gradients.
    let bytes = 4 * (6 * weights + 4 * activations) as u64;
    vec![matmul.clone(), Entry { kernel: "train_step", bytes, flops, per_call: *steps, ..matmul }]
}

/// A network with its data, and separate operands for its products.
pub struct Step<B: Backend> {
    shape: Network,
    net: Mlp<B>,
    data: Resident<B>,
    products: Vec<Product<B>>,
}

struct Product<B: Backend> {
    x: B::Tensor<f32>,
    weight: B::Tensor<f32>,
    y: B::Tensor<f32>,
}

impl<B: Backend> Step<B> {
    /// Creates the network on a backend, which [`into_backend`](Self::into_backend) returns.
    pub fn new(backend: B, shape: &Network, seed: u64) -> Result<Self> {
        let Network { batch, widths, steps } = shape;
        let [inputs, hidden @ .., classes] = widths.as_slice() else {
            return Err(wgpu_dropout::Error::Invalid {
                what: "a network of fewer than two layers".to_owned(),
            });
        };
        let architecture = Architecture {
            inputs: *inputs,
            hidden: hidden.to_vec(),
            classes: *classes,
            mode: Mode::Inverted,
            rate: Rate::keep(0.5)?,
            input_rate: Rate::keep(0.8)?,
            seed,
        };
        let mut net = Mlp::new(backend, architecture)?;
        let backend = net.backend_mut();
        let rows = steps * batch;
        let labels: Vec<u32> = (0..*classes as u32).cycle().take(rows).collect();
        let data = Resident::new(
            backend,
            Source::Floats(&numbers(0, rows, *inputs)),
            *inputs,
            1.0,
            &labels,
        )?;
        let mut product = |pair: &[usize]| {
            Ok(Product {
                x: filled(backend, 1, *batch, pair[0])?,
                weight: filled(backend, 2, pair[0], pair[1])?,
                y: backend.zeros(*batch, pair[1])?,
            })
        };
        let products = widths.windows(2).map(&mut product).collect::<Result<_>>()?;
        Ok(Self { shape: shape.clone(), net, data, products })
    }

    /// Trains an epoch and returns its duration in seconds.
    pub fn timed(&mut self) -> Result<f64> {
        let start = Instant::now();
        self.epoch()?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// Trains an epoch and returns the device's counts, including the read-back of the epoch's
    /// losses. `first` is the duration of the first epoch in seconds, `each` that of a step.
    pub fn counted(&mut self, first: f64, each: f64) -> Result<PerStep> {
        let (steps, before) = (self.shape.steps, self.net.backend().counts());
        self.epoch()?;
        Ok(PerStep {
            steps,
            counts: self.net.backend().counts() - before,
            start: (first - steps as f64 * each).max(0.0),
        })
    }

    fn epoch(&mut self) -> Result<()> {
        let training =
            Training { batch: self.shape.batch, shuffle: false, rule: RULE, ..Training::default() };
        self.net.train_epoch(&self.data, &training).map(|_| ())
    }

    /// Returns the backend.
    pub fn into_backend(self) -> B {
        self.net.into_backend()
    }
}

impl<B: Timed> Work for Step<B> {
    fn call(&mut self, entry: usize) -> Result<()> {
        if entry == 0 {
            return self.products.iter_mut().try_for_each(|Product { x, weight, y }| {
                let call = LinearForward {
                    x: &*x,
                    weight: &*weight,
                    bias: None,
                    y,
                    relu: false,
                    dropout: Dropout::NONE,
                };
                self.net.backend_mut().run(call)
            });
        }
        self.epoch()
    }

    /// Waits for the work. A step submits itself, so the wall clock times both entries.
    fn finish(&mut self) -> Result<Option<Duration>> {
        self.net.backend_mut().wait()?;
        Ok(None)
    }
}

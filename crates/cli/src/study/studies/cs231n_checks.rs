//! The checks of CS231n's second assignment: the effect of dropout on a large array, its gradient,
//! and a whole network's gradient.

use crate::study::experiment::Study;
use crate::study::normal::{normal, normal32};
use crate::study::plan::{Arm, Computation, Scene};
use crate::study::record::Found;
use crate::study::results::Results;
use crate::study::verdict::Verdict;
use wgpu_dropout::call::{DropoutCall, SgdRule};
use wgpu_dropout::mlp::{Architecture, Mlp, Training};
use wgpu_dropout::oracle::network::{Batch, Network64, flat, training};
use wgpu_dropout::{Backend, Dropout, Key, Mask, Mode, Rate, Result, oracle};

/// Study `cs231n-checks`.
pub static STUDY: Study = Study {
    name: "cs231n-checks",
    claim: "Inverted dropout zeroes a fraction 1 - keep of its units, preserves the mean of its \
            input, and is the identity at prediction; its computed gradient is the true one, in a \
            layer and in a whole network.",
    published: "x ~ N(10, 1), 500×500: zeros .7498, .6008, .3007 at keep .25, .4, .7, mean about 10; relative error of dx 5.4e-11; loss of a \
                fresh 15-20-30-10 network about 2.30, relative errors of its gradient up to 1e-6, 2e-5 for one matrix",
    source: "CS231n, assignment 2, Dropout.ipynb",
    arms,
    judge,
    columns: &[
        ("zeros", "zeros", 4),
        ("mean", "mean", 3),
        ("dx_error", "error of dx", 0),
        ("loss", "first loss", 4),
        ("gradient_error", "gradient, f64", 0),
        ("device_error", "on the device", 0),
    ],
    figures: |_, _| Ok(Vec::new()),
};

/// Keep rates of the large array and of the network.
const KEEPS: [f64; 3] = [0.25, 0.4, 0.7];
const NETS: [f64; 3] = [1.0, 0.75, 0.5];
const LAYER: &str = "500×500, keep";
const NET: &str = "15-20-30-10, keep";
/// Number of rows and of columns of the large array, and of the array whose gradient is taken.
const SIDE: usize = 500;
const SMALL: usize = 10;

fn arms(_: &Scene) -> Vec<Arm> {
    let layers = KEEPS.map(|keep| {
        Arm::compute(LAYER, keep, |_, device, seed, keep| Layer { seed, keep }.on_device(device))
    });
    let nets = NETS.map(|keep| {
        Arm::compute(NET, keep, |_, device, seed, keep| Network { seed, keep }.on_device(device))
    });
    layers.into_iter().chain(nets).collect()
}

fn judge(_: &Scene, results: &Results<'_>) -> Vec<Verdict> {
    let error =
        |claim: &str, line, what, most| Verdict::error(claim, results.worst(line, what), most);
    vec![
        error("the fraction of zeros is 1 - keep, in standard deviations", LAYER, "zeros_off", 5.0),
        error("the mean is preserved, in standard deviations", LAYER, "mean_off", 5.0),
        error("prediction is the identity: number of changed elements", LAYER, "changed", 0.0),
        error("dx against differences, in f64: relative error", LAYER, "dx_error", 1e-10),
        error("dx on the device against f64: relative error", LAYER, "dx_device", 2e-7),
        error("the first loss against ln 10", NET, "loss_off", 0.05),
        error(
            "a network's gradient against differences, in f64: relative error",
            NET,
            "gradient_error",
            1e-6,
        ),
        error(
            "a network's gradient on the device against f64: relative error",
            NET,
            "device_error",
            1e-5,
        ),
    ]
}

/// Dropout of a large array, and its gradient on a small one.
struct Layer {
    seed: u64,
    keep: f64,
}

impl Computation for Layer {
    fn on<B: Backend>(&self, mut backend: B) -> Result<(B, Found)> {
        let mask = Mask::new(Rate::keep(self.keep)?, Key { seed: self.seed, layer: 1, step: 0 });
        let train = Dropout::train(Mode::Inverted, mask);
        let predict = Dropout::predict(Mode::Inverted, mask.rate);
        let x: Vec<f32> = normal(self.seed, 0, SIDE * SIDE)
            .into_iter()
            .map(|value| (value + 10.0) as f32)
            .collect();
        let y = run(&mut backend, &x, SIDE, train)?;
        let unchanged = run(&mut backend, &x, SIDE, predict)?;

        let keep = mask.rate.keep_in_effect();
        let count = (SIDE * SIDE) as f64;
        let zeros = y.iter().filter(|&&y| y == 0.0).count() as f64 / count;
        let mean = y.iter().copied().map(f64::from).sum::<f64>() / count;
        // Variance of an element of y: E[y²] − E[y]² = 101/keep − 100, since E[x²] = 101.
        let zeros_deviation = (keep * (1.0 - keep) / count).sqrt();
        let mean_deviation = ((101.0 / keep - 100.0) / count).sqrt();
        let mut found = Found::default();
        found.value("zeros", zeros);
        found.value("mean", mean);
        found.value("zeros_off", (zeros - (1.0 - keep)).abs() / zeros_deviation);
        found.value("mean_off", (mean - 10.0).abs() / mean_deviation);
        found.value(
            "changed",
            x.iter().zip(&unchanged).filter(|(x, y)| x.to_bits() != y.to_bits()).count() as f64,
        );
        self.gradient(&mut backend, train, &mut found)?;
        Ok((backend, found))
    }
}

impl Layer {
    /// Computes `dx` of `Σ dy·y` on a small array by the backward pass, in f64 and on the device,
    /// and by central differences.
    fn gradient<B: Backend>(
        &self,
        backend: &mut B,
        dropout: Dropout,
        found: &mut Found,
    ) -> Result<()> {
        // Dropout is linear, so any step will do. x and h are multiples of a power of two, so that
        // f32 holds x ± h exactly.
        let unit = 1.0f32 / 1024.0;
        let h = 4.0f32;
        let x: Vec<f32> = normal(self.seed, 1, SMALL * SMALL)
            .into_iter()
            .map(|value| (value as f32 / unit).round() * unit + 10.0)
            .collect();
        let dy = normal32(self.seed, 2, SMALL * SMALL);
        let slope = |i: usize| {
            let at = |x_i: f32| {
                let mut x = x.clone();
                x[i] = x_i;
                let y = oracle::dropout(&x, SMALL, &dropout).values;
                y.iter().zip(&dy).map(|(y, &dy)| y * f64::from(dy)).sum::<f64>()
            };
            (at(x[i] + h) - at(x[i] - h)) / (2.0 * f64::from(h))
        };
        let slopes: Vec<f64> = (0..x.len()).map(slope).collect();
        let exact = oracle::dropout(&dy, SMALL, &dropout).values;
        let device: Vec<f64> =
            run(backend, &dy, SMALL, dropout)?.into_iter().map(f64::from).collect();
        found.value("dx_error", relative_error(&exact, &slopes));
        found.value("dx_device", relative_error(&device, &exact));
        Ok(())
    }
}

fn run<B: Backend>(backend: &mut B, x: &[f32], cols: usize, dropout: Dropout) -> Result<Vec<f32>> {
    let rows = x.len() / cols;
    let x = backend.tensor(rows, cols, x)?;
    let mut y = backend.zeros(rows, cols)?;
    backend.run(DropoutCall { x: &x, y: &mut y, dropout })?;
    backend.read(&y)
}

/// Computes the assignment's `rel_error`: the largest `|a − b| / max(10⁻⁸, |a| + |b|)`. NaN counts
/// as infinite.
fn relative_error(a: &[f64], b: &[f64]) -> f64 {
    let errors = a.iter().zip(b).map(|(a, b)| (a - b).abs() / (a.abs() + b.abs()).max(1e-8));
    errors.map(|error| if error.is_nan() { f64::INFINITY } else { error }).fold(0.0, f64::max)
}

/// Gradient of a whole network.
struct Network {
    seed: u64,
    keep: f64,
}

impl Computation for Network {
    fn on<B: Backend>(&self, backend: B) -> Result<(B, Found)> {
        let seed = self.seed;
        let architecture = Architecture {
            inputs: 15,
            hidden: vec![20, 30],
            classes: 10,
            mode: Mode::Inverted,
            rate: Rate::keep(self.keep)?,
            input_rate: Rate::KEEP_ALL,
            seed,
        };
        let mut net = Mlp::new(backend, architecture.clone())?;
        for (layer, widths) in (0..).zip(architecture.widths().windows(2)) {
            let weights: Vec<f32> = normal(seed, 3 + layer, widths[0] * widths[1])
                .iter()
                .map(|w| (0.05 * w) as f32)
                .collect();
            net.set_parameters(layer as usize, &weights, &vec![0.0; widths[1]])?;
        }
        let x = normal32(seed, 10, 2 * 15);
        let labels = [seed as u32 % 10, (seed as u32).wrapping_add(7) % 10];
        let batch = Batch { x: &x, labels: &labels };
        let site = training(&architecture, 0);
        let before = Network64::of(&mut net)?;
        // A learning rate of 1 subtracts the gradient itself from the parameters.
        let rule = SgdRule::plain(1.0);
        net.train_step(&x, &labels, &Training { rule, ..Training::default() })?;
        let loss = f64::from(net.loss()?.unwrap_or(f32::NAN));
        let after = Network64::of(&mut net)?;
        let taken: Vec<f64> = flat(&before.layers)
            .iter()
            .zip(flat(&after.layers))
            .map(|(before, after)| before - after)
            .collect();

        let exact = before.gradient(batch, &site);
        let mut found = Found::default();
        found.value("loss", loss);
        found.value("loss_off", (loss - 10f64.ln()).abs());
        found.value(
            "gradient_error",
            distance(&flat(&exact), &before.differences(batch, &site, 1e-5)),
        );
        found.value("device_error", distance(&taken, &flat(&exact)));
        Ok((net.into_backend(), found))
    }
}

/// Returns `‖a − b‖ / (‖a‖ + ‖b‖)`. An element-wise error would not do: the elements of a gradient
/// differ by many orders of magnitude, and differences of a loss of 2.3 give the smallest of them
/// to three digits at best.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    let length = |values: &mut dyn Iterator<Item = f64>| {
        values.map(|value| value * value).sum::<f64>().sqrt()
    };
    let difference = length(&mut a.iter().zip(b).map(|(a, b)| a - b));
    difference / (length(&mut a.iter().copied()) + length(&mut b.iter().copied()))
}

//! The mathematics of dropout, checked by enumeration of all masks: the ensemble's geometric mean,
//! ridge regression, and the variance over masks.

use crate::failure::Failure;
use crate::study::experiment::Study;
use crate::study::histogram::Histogram;
use crate::study::normal::{normal, normal32};
use crate::study::plan::{Arm, Computation, Scene};
use crate::study::plot::{Line, Plot};
use crate::study::record::Found;
use crate::study::results::Results;
use crate::study::spread::Spread;
use crate::study::verdict::Verdict;
use wgpu_dropout::call::{GradWeight, LinearForward};
use wgpu_dropout::mlp::{Architecture, Mlp, Predictive, Resident, Sharing, Source};
use wgpu_dropout::{Backend, Dropout, Matrix, Mode, Rate, Result};

/// Study `exact-ensemble`.
pub static STUDY: Study = Study {
    name: "exact-ensemble",
    claim: "Prediction with scaled weights is the renormalized geometric mean of all sub-networks, \
            exactly so for a softmax unit; dropout in linear regression is ridge regression.",
    published: "the normalized geometric mean over all masks of softmax units is the softmax of the mean input; dropout in linear regression \
                is ridge with weight (1 - k)/k; the variance over masks is (1 - k)/k Σ w²x²",
    source: "Baldi, Sadowski 2013; Srivastava et al. 2014, section 9; Wager et al. 2013",
    arms,
    judge,
    columns: &[
        ("geometric_error", "geometric mean", 0),
        ("arithmetic_error", "arithmetic mean", 0),
        ("variance_error", "variance", 0),
        ("ridge_error", "ridge", 0),
        ("squares_error", "least squares", 0),
    ],
    figures,
};

/// Number of units that are dropped: 2¹² masks.
const UNITS: usize = 12;
const MASKS: usize = 1 << UNITS;
const CLASSES: usize = 10;
const UNIT: &str = "softmax unit, keep";
const RIDGE: &str = "linear regression, keep";
const DEEP: &str = "two hidden layers, keep";

fn arms(_: &Scene) -> Vec<Arm> {
    let unit = [0.5, 0.8].map(|keep| {
        Arm::compute(UNIT, keep, |_, device, seed, keep| Unit { seed, keep }.on_device(device))
    });
    let ridge = [0.5, 0.8].map(|keep| {
        Arm::compute(RIDGE, keep, |_, device, seed, keep| Ridge { seed, keep }.on_device(device))
    });
    let deep = [0.5].map(|keep| {
        Arm::compute(DEEP, keep, |_, device, seed, keep| Deep { seed, keep }.on_device(device))
    });
    unit.into_iter().chain(ridge).chain(deep).collect()
}

fn judge(_: &Scene, results: &Results<'_>) -> Vec<Verdict> {
    let error =
        |claim: &str, line, what, most| Verdict::error(claim, results.worst(line, what), most);
    let squares = Spread::of([results.least(RIDGE, "squares_error")]);
    vec![
        error(
            "softmax unit: scaled weights against the geometric mean over 4,096 masks",
            UNIT,
            "geometric_error",
            1e-6,
        ),
        error(
            "linear unit: the variance over masks against (1 - k)/k Σ w²x², relatively",
            UNIT,
            "variance_error",
            1e-5,
        ),
        error(
            "linear regression: dropout's weights against ridge regression's",
            RIDGE,
            "ridge_error",
            1e-4,
        ),
        Verdict::more(
            "linear regression: dropout's weights differ from those of least squares",
            squares,
            0.01,
            "",
        ),
        error(
            "two hidden layers: the library's exact ensemble against the mean of the sub-networks",
            DEEP,
            "ensemble_error",
            1e-5,
        ),
        error(
            "two hidden layers: the average of 1,000 samples against that mean, in standard errors",
            DEEP,
            "sampled_off",
            5.0,
        ),
    ]
}

fn figures(_: &Scene, results: &Results<'_>) -> std::result::Result<Vec<String>, Failure> {
    let Some(record) = results.of(results.name_at(DEEP, 0.5)).next() else { return Ok(Vec::new()) };
    let value = |name: &str| record.found.values.get(name).copied().unwrap_or(f64::NAN);
    let series = |name: &str| record.found.series.get(name).cloned().unwrap_or_default();
    let bars = Histogram {
        title: "Two hidden layers of 6 units: the predictions of the 4,096 sub-networks",
        x: "probability of the first class",
        y: "sub-networks",
        end: 1.0,
        groups: vec![("sub-networks".to_owned(), series("sub_networks"))],
        marks: vec![
            ("arithmetic mean".to_owned(), value("arithmetic")),
            ("geometric mean, renormalized".to_owned(), value("geometric")),
            ("scaled weights".to_owned(), value("scaled")),
        ],
    };
    let samples = series("samples");
    let level = |name: &str| samples.iter().map(|&n| (n, Spread::of([value(name)]))).collect();
    let sampled = samples.iter().zip(series("monte_carlo")).zip(series("monte_carlo_error"));
    let sampled =
        sampled.map(|((&n, mean), deviation)| (n, Spread { mean, deviation, count: 2 })).collect();
    let convergence = Plot {
        title: "The average over sampled masks approaches the mean over all",
        x: "sampled masks",
        y: "probability of the first class",
        log: true,
        falling: false,
        lines: vec![
            Line::new("average over samples, ± its standard error", sampled),
            Line::new("arithmetic mean", level("arithmetic")).bare(),
            Line::new("scaled weights", level("scaled")).bare(),
        ],
    };
    Ok(vec![bars.draw()?, convergence.draw()?])
}

/// Softmax unit `softmax(X·W + b)` with dropout of its 12 inputs: all masks at once, one per row.
struct Unit {
    seed: u64,
    keep: f64,
}

impl Computation for Unit {
    fn on<B: Backend>(&self, mut backend: B) -> Result<(B, Found)> {
        let Self { seed, .. } = *self;
        let rate = Rate::keep(self.keep)?;
        let weight = normal32(seed, 0, UNITS * CLASSES);
        let bias = normal32(seed, 1, CLASSES);
        let x: Vec<f32> = normal32(seed, 2, UNITS);
        let scaled: Vec<f32> = x.iter().map(|x| x * rate.keep_in_effect() as f32).collect();
        let scaled =
            softmax(&affine(&mut backend, &scaled, &weight, Some(&bias), UNITS, false)?, CLASSES);
        let masked: Vec<f32> = (0..MASKS)
            .flat_map(|mask| (0..UNITS).map(move |i| kept(mask, i)))
            .zip(x.iter().cycle())
            .map(|(kept, x)| kept * x)
            .collect();
        let logits = affine(&mut backend, &masked, &weight, Some(&bias), UNITS, false)?;
        let means = Means::of(&softmax(&logits, CLASSES), &weights(rate, UNITS));

        // The first class before the softmax is a linear unit. Division by k makes its dropout
        // inverted.
        let k = rate.keep_in_effect();
        let first = logits.chunks(CLASSES).map(|row| row[0]);
        let bias = f64::from(bias[0]);
        let outputs: Vec<f64> = first.map(|z| (f64::from(z) - bias) / k).collect();
        let mean: f64 = outputs.iter().zip(weights(rate, UNITS)).map(|(y, p)| y * p).sum();
        let variance: f64 =
            outputs.iter().zip(weights(rate, UNITS)).map(|(y, p)| p * (y - mean).powi(2)).sum();
        let squares: f64 =
            (0..UNITS).map(|i| (f64::from(weight[i * CLASSES]) * f64::from(x[i])).powi(2)).sum();

        let mut found = Found::default();
        found.value("geometric_error", largest(&means.geometric, &scaled));
        found.value("arithmetic_error", largest(&means.arithmetic, &scaled));
        found.value("variance_error", (variance / ((1.0 - k) / k * squares) - 1.0).abs());
        Ok((backend, found))
    }
}

/// Least squares over all 4,096 masks of every row's inputs at once, by conjugate gradients whose
/// products the device computes.
struct Ridge {
    seed: u64,
    keep: f64,
}

impl Ridge {
    const ROWS: usize = 16;
    const STEPS: usize = 2 * UNITS;
}

impl Computation for Ridge {
    fn on<B: Backend>(&self, mut backend: B) -> Result<(B, Found)> {
        let rate = Rate::keep(self.keep)?;
        let x = normal(self.seed, 0, Self::ROWS * UNITS);
        let y = normal(self.seed, 1, Self::ROWS);
        // Scaling the rows of x and y by √p weights each mask by its probability p.
        let mut masked = Vec::new();
        let mut targets = Vec::new();
        for (mask, p) in weights(rate, UNITS).into_iter().enumerate() {
            for (row, y) in x.chunks(UNITS).zip(&y) {
                let scale = p.sqrt() * f64::from(rate.inverse());
                masked.extend(
                    row.iter().enumerate().map(|(i, x)| (scale * x) as f32 * kept(mask, i)),
                );
                targets.push((p.sqrt() * y) as f32);
            }
        }
        let rows = targets.len();
        let input = backend.tensor(rows, UNITS, &masked)?;
        // Conjugate gradients on the normal equations (Hestenes, Stiefel 1952). In exact arithmetic
        // they end after as many steps as there are weights.
        let mut found_weights = vec![0.0; UNITS];
        let mut residual: Vec<f64> = targets.iter().copied().map(f64::from).collect();
        let mut slope = products(&mut backend, &input, &residual)?;
        let mut direction = slope.clone();
        let mut length = squares(&slope);
        for _ in 0..Self::STEPS {
            let weight: Vec<f32> = direction.iter().map(|&d| d as f32).collect();
            let along = affine_on(&mut backend, &input, &weight, None, false)?;
            let along: Vec<f64> = along.into_iter().map(f64::from).collect();
            let step = length / squares(&along).max(f64::MIN_POSITIVE);
            found_weights.iter_mut().zip(&direction).for_each(|(w, d)| *w += step * d);
            residual.iter_mut().zip(&along).for_each(|(r, q)| *r -= step * q);
            slope = products(&mut backend, &input, &residual)?;
            let before = std::mem::replace(&mut length, squares(&slope));
            direction = slope
                .iter()
                .zip(&direction)
                .map(|(s, d)| s + length / before.max(f64::MIN_POSITIVE) * d)
                .collect();
        }

        let k = rate.keep_in_effect();
        let ridge = regression(&x, &y, (1.0 - k) / k);
        let mut found = Found::default();
        found.value("ridge_error", largest(&found_weights, &ridge));
        found.value("squares_error", largest(&found_weights, &regression(&x, &y, 0.0)));
        Ok((backend, found))
    }
}

fn squares(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum()
}

/// Computes `Xᵀ·r` on the device.
fn products<B: Backend>(backend: &mut B, x: &B::Tensor<f32>, r: &[f64]) -> Result<Vec<f64>> {
    let r: Vec<f32> = r.iter().map(|&r| r as f32).collect();
    let grad_output = backend.tensor(r.len(), 1, &r)?;
    let mut grad_weight = backend.zeros(UNITS, 1)?;
    let mut grad_bias = backend.zeros(1, 1)?;
    backend.run(GradWeight {
        x,
        grad_output: &grad_output,
        output: None,
        grad_weight: &mut grad_weight,
        grad_bias: &mut grad_bias,
        dropout: Dropout::NONE,
    })?;
    Ok(backend.read(&grad_weight)?.into_iter().map(f64::from).collect())
}

/// Solves `(XᵀX + λ·diag(XᵀX))·w = Xᵀy` for `w`, by elimination with pivots.
fn regression(x: &[f64], y: &[f64], lambda: f64) -> Vec<f64> {
    let column = |i: usize| x.iter().skip(i).step_by(UNITS);
    let mut rows: Vec<Vec<f64>> = (0..UNITS)
        .map(|i| {
            let products = (0..UNITS).map(|j| {
                column(i).zip(column(j)).map(|(a, b)| a * b).sum::<f64>()
                    * if i == j { 1.0 + lambda } else { 1.0 }
            });
            products.chain([column(i).zip(y).map(|(a, b)| a * b).sum()]).collect()
        })
        .collect();
    for i in 0..UNITS {
        let pivot =
            (i..UNITS).max_by(|&a, &b| rows[a][i].abs().total_cmp(&rows[b][i].abs())).unwrap_or(i);
        rows.swap(i, pivot);
        let pivot = rows[i].clone();
        for (_, row) in rows.iter_mut().enumerate().filter(|(other, _)| *other != i) {
            let factor = row[i] / pivot[i];
            row.iter_mut().zip(&pivot).for_each(|(value, pivot)| *value -= factor * pivot);
        }
    }
    rows.iter().enumerate().map(|(i, row)| row[UNITS] / row[i]).collect()
}

/// Network with two hidden layers of 6 units each and dropout of these units: each of its 4,096
/// sub-networks, and the predictions that average them.
struct Deep {
    seed: u64,
    keep: f64,
}

impl Deep {
    const INPUTS: usize = 8;
    const WIDTH: usize = UNITS / 2;
    const SAMPLES: [u32; 8] = [1, 3, 10, 30, 100, 200, 400, 1000];
}

impl Computation for Deep {
    fn on<B: Backend>(&self, backend: B) -> Result<(B, Found)> {
        let Self { seed, .. } = *self;
        let rate = Rate::keep(self.keep)?;
        let mut net = Mlp::new(
            backend,
            Architecture {
                inputs: Self::INPUTS,
                hidden: vec![Self::WIDTH; 2],
                classes: CLASSES,
                mode: Mode::Inverted,
                rate,
                input_rate: Rate::KEEP_ALL,
                seed,
            },
        )?;
        // Biases of 1 keep most units active, so that their masks make a difference.
        for (layer, widths) in (0..).zip(net.architecture().widths().windows(2)) {
            let size = 1.5 / (widths[0] as f32).sqrt();
            let weight: Vec<f32> = normal32(seed, 1 + layer as u64, widths[0] * widths[1])
                .iter()
                .map(|w| size * w)
                .collect();
            net.set_parameters(layer, &weight, &vec![1.0; widths[1]])?;
        }
        let x = normal32(seed, 0, Self::INPUTS);
        let scaled = net.predict(&x)?;
        let data = Resident::new(net.backend_mut(), Source::Floats(&x), Self::INPUTS, 1.0, &[0])?;
        let ensemble = net.predict_ensemble(&data)?.mean;
        let mut found = Found::default();
        for samples in Self::SAMPLES {
            let Predictive { mean, spread, .. } =
                net.predict_monte_carlo(&data, samples, Sharing::PerRow)?;
            let error: Vec<f64> = spread
                .iter()
                .map(|&spread| f64::from(spread) / f64::from(samples).sqrt())
                .collect();
            found.push("samples", f64::from(samples));
            found.push("monte_carlo", f64::from(mean[0]));
            found.push("monte_carlo_error", error[0]);
            let off = mean
                .iter()
                .zip(&ensemble)
                .zip(&error)
                .map(|((mean, exact), error)| f64::from((mean - exact).abs()) / error);
            found.value("sampled_off", off.fold(0.0, f64::max));
        }
        let mut layers = Vec::new();
        while let Some(layer) = net.parameters(layers.len())? {
            layers.push(layer);
        }
        let mut backend = net.into_backend();
        let predictions = self.sub_networks(&mut backend, &x, &layers, rate.inverse())?;
        let means = Means::of(&predictions, &weights(rate, UNITS));
        let mut counts = vec![0.0; 40];
        predictions
            .chunks(CLASSES)
            .for_each(|row| counts[(row[0] * 40.0).min(39.0) as usize] += 1.0);
        found.series.insert("sub_networks".to_owned(), counts);
        let scaled: Vec<f64> = scaled.into_iter().map(f64::from).collect();
        let ensemble: Vec<f64> = ensemble.into_iter().map(f64::from).collect();
        found.value("arithmetic", means.arithmetic[0]);
        found.value("geometric", means.geometric[0]);
        found.value("scaled", scaled[0]);
        found.value("geometric_error", largest(&means.geometric, &scaled));
        found.value("arithmetic_error", largest(&means.arithmetic, &scaled));
        found.value("ensemble_error", largest(&means.arithmetic, &ensemble));
        Ok((backend, found))
    }
}

impl Deep {
    /// Computes the class probabilities of every sub-network. The first layer's mask varies
    /// slowest.
    fn sub_networks<B: Backend>(
        &self,
        backend: &mut B,
        x: &[f32],
        layers: &[(Vec<f32>, Vec<f32>)],
        scale: f32,
    ) -> Result<Vec<f64>> {
        let masked = |hidden: &[f32]| -> Vec<f32> {
            let masks = |row: Vec<f32>| {
                (0..1 << Self::WIDTH).flat_map(move |mask| {
                    row.clone().into_iter().enumerate().map(move |(i, h)| kept(mask, i) * h * scale)
                })
            };
            hidden.chunks(Self::WIDTH).flat_map(|row| masks(row.to_vec())).collect()
        };
        let mut rows = x.to_vec();
        for (index, (weight, bias)) in layers.iter().enumerate() {
            let last = index + 1 == layers.len();
            let y = affine(backend, &rows, weight, Some(bias), rows_of(weight, bias), !last)?;
            rows = if last { y } else { masked(&y) };
        }
        Ok(softmax(&rows, CLASSES))
    }
}

/// Returns the number of inputs of a layer.
fn rows_of(weight: &[f32], bias: &[f32]) -> usize {
    weight.len() / bias.len()
}

/// Computes `X·W + b` on the device, with or without ReLU.
fn affine<B: Backend>(
    backend: &mut B,
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    inputs: usize,
    relu: bool,
) -> Result<Vec<f32>> {
    let x = backend.tensor(x.len() / inputs, inputs, x)?;
    affine_on(backend, &x, weight, bias, relu)
}

/// Computes [`affine`] of an `X` that is already on the device.
fn affine_on<B: Backend>(
    backend: &mut B,
    x: &B::Tensor<f32>,
    weight: &[f32],
    bias: Option<&[f32]>,
    relu: bool,
) -> Result<Vec<f32>> {
    let rows = x.rows();
    let inputs = x.cols();
    let outputs = weight.len() / inputs;
    let weight = backend.tensor(inputs, outputs, weight)?;
    let bias = bias.map(|bias| backend.tensor(1, outputs, bias)).transpose()?;
    let mut y = backend.zeros(rows, outputs)?;
    backend.run(LinearForward {
        x,
        weight: &weight,
        bias: bias.as_ref(),
        y: &mut y,
        relu,
        dropout: Dropout::NONE,
    })?;
    backend.read(&y)
}

/// Returns 1 if a mask keeps unit `i`, else 0.
fn kept(mask: usize, i: usize) -> f32 {
    (mask >> i & 1) as f32
}

/// Returns the probability of each mask.
fn weights(rate: Rate, units: usize) -> Vec<f64> {
    let keep = rate.keep_in_effect();
    let drop = rate.drop_in_effect();
    let of = |mask: usize| {
        keep.powi(mask.count_ones() as i32) * drop.powi(units as i32 - mask.count_ones() as i32)
    };
    (0..1 << units).map(of).collect()
}

/// Computes the softmax of each row.
fn softmax(logits: &[f32], classes: usize) -> Vec<f64> {
    let of = |row: &[f32]| {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exps: Vec<f64> = row.iter().map(|&z| f64::from(z - largest).exp()).collect();
        let sum: f64 = exps.iter().sum();
        exps.into_iter().map(move |e| e / sum)
    };
    logits.chunks(classes).flat_map(of).collect()
}

/// Averages of the sub-networks' predictions.
struct Means {
    arithmetic: Vec<f64>,
    /// Geometric mean of each class, divided by their sum.
    geometric: Vec<f64>,
}

impl Means {
    /// Averages class probabilities, one row per mask, with a weight for each mask.
    fn of(probabilities: &[f64], weights: &[f64]) -> Self {
        let mut arithmetic = vec![0.0; CLASSES];
        let mut logarithms = vec![0.0; CLASSES];
        for (row, weight) in probabilities.chunks(CLASSES).zip(weights) {
            for (class, p) in row.iter().enumerate() {
                arithmetic[class] += weight * p;
                logarithms[class] += weight * p.ln();
            }
        }
        let geometric: Vec<f64> = logarithms.into_iter().map(f64::exp).collect();
        let sum: f64 = geometric.iter().sum();
        Self { arithmetic, geometric: geometric.into_iter().map(|p| p / sum).collect() }
    }
}

/// Returns the largest absolute difference; NaN counts as infinite.
fn largest(a: &[f64], b: &[f64]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .map(|d| if d.is_nan() { f64::INFINITY } else { d })
        .fold(0.0, f64::max)
}

//! The oracle: every kernel computed again, naively and in f64, directly from its equations. It is
//! slow on purpose; tests and `demo` compare results with it.
//!
//! Beside each sum it returns the sum of the terms' magnitudes, which gives the error bound of an
//! f32 sum: `|f32 − f64| ≤ c·(terms + 2)·ε·magnitude` with ε = 2·2^-24 (Higham, "Accuracy and
//! Stability of Numerical Algorithms", section 3.1).

mod activation;
mod attention;
mod convolution;
mod forms;
#[cfg(feature = "network")]
pub mod network;
mod normalization;

pub use activation::*;
pub use attention::*;
pub use convolution::*;
pub use forms::*;
pub use normalization::*;

use crate::rules::SgdRule;
use crate::{Dropout, Error, Result};

/// Values in f64, with the magnitudes that bound their rounding errors.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Exact {
    /// The values.
    pub values: Vec<f64>,
    /// For each value, the sum of its terms' absolute values times the scale.
    pub magnitudes: Vec<f64>,
    /// Number of terms in each sum.
    pub terms: usize,
}

/// Factor c of the bound. Each of the at most `terms + 2` operations rounds once, and the scale
/// itself is rounded.
pub const C: f64 = 2.0;

impl Exact {
    /// Appends a value and its magnitude.
    fn push(&mut self, value: f64, magnitude: f64) {
        self.values.push(value);
        self.magnitudes.push(magnitude);
    }

    /// Checks that every value of `computed` lies within its bound. NaN must match NaN, and an
    /// infinity must match the same infinity.
    ///
    /// # Errors
    /// [`Error::Invalid`], naming the first element out of bounds, the computed value, the expected
    /// value and the bound.
    pub fn check(&self, what: &str, computed: &[f32]) -> Result<()> {
        self.check_within(what, computed, |_| f64::from(f32::MIN_POSITIVE))
    }

    /// Does the same as [`check`](Self::check) for values that were then stored as f16. They may be
    /// rounded in either direction, and numbers too small to be normal may have become 0.
    ///
    /// # Errors
    /// The same as [`check`](Self::check).
    pub fn check_half(&self, what: &str, computed: &[f32]) -> Result<()> {
        let (epsilon, smallest) = (1.0 / 1024.0, 1.0 / 16384.0);
        self.check_within(what, computed, |exact| epsilon * exact.abs() + smallest)
    }

    /// Implements the checks. `stored` bounds the change caused by storing a value.
    fn check_within(
        &self,
        what: &str,
        computed: &[f32],
        stored: impl Fn(f64) -> f64,
    ) -> Result<()> {
        if computed.len() != self.values.len() {
            return Err(Error::invalid(format!(
                "{what}: {} elements, expected {}",
                computed.len(),
                self.values.len()
            )));
        }
        for (i, (&computed, (&exact, &magnitude))) in
            computed.iter().zip(self.values.iter().zip(&self.magnitudes)).enumerate()
        {
            let bound =
                C * (self.terms + 2) as f64 * f64::from(f32::EPSILON) * magnitude + stored(exact);
            let computed = f64::from(computed);
            let same = if exact.is_finite() && bound.is_finite() {
                // A NaN fails this comparison.
                (computed - exact).abs() <= bound
            } else {
                // This also covers a finite result of non-finite terms: a value dropped or cut off
                // by ReLU must be exactly 0.
                computed.is_nan() && exact.is_nan() || computed == exact
            };
            if !same {
                return Err(Error::invalid(format!(
                    "{what}: element {i} is {computed}, expected {exact} ± {bound:e}"
                )));
            }
        }
        Ok(())
    }
}

/// Applies dropout to one element.
fn drop_one(dropout: &Dropout, row: usize, col: usize, value: f64) -> f64 {
    if dropout.mask.keeps(row, col) { value * f64::from(dropout.scale) } else { 0.0 }
}

/// Computes `y = M·s·x`.
pub fn dropout(x: &[f32], cols: usize, dropout: &Dropout) -> Exact {
    let mut y = Exact { terms: 1, ..Exact::default() };
    for (i, &x) in x.iter().enumerate() {
        let value = drop_one(dropout, i / cols, i % cols, f64::from(x));
        y.push(value, value.abs());
    }
    y
}

/// Computes `Y = M·s·relu(X·W + b)`; `shape` is `[B, I, O]`.
pub fn linear_forward(
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    shape: [usize; 3],
    relu: bool,
    dropout: &Dropout,
) -> Exact {
    let [batch, inputs, outputs] = shape;
    let mut y = Exact { terms: inputs, ..Exact::default() };
    for row in 0..batch {
        for col in 0..outputs {
            let terms = (0..inputs)
                .map(|i| f64::from(x[row * inputs + i]) * f64::from(weight[i * outputs + col]));
            let bias = bias.map_or(0.0, |bias| f64::from(bias[col]));
            let z = terms.clone().sum::<f64>() + bias;
            let magnitude = terms.map(f64::abs).sum::<f64>() + bias.abs();
            let activated = if relu && z <= 0.0 { 0.0 } else { z };
            y.push(drop_one(dropout, row, col, activated), magnitude * f64::from(dropout.scale));
        }
    }
    y
}

/// Computes `dZ` from `dY` and, after a ReLU, from `Y`; all `[B, cols]`.
pub fn gradient(
    grad_output: &[f32],
    output: Option<&[f32]>,
    cols: usize,
    dropout: &Dropout,
) -> Vec<f64> {
    let one = |(i, &dy): (usize, &f32)| match output {
        Some(output) if output[i] <= 0.0 => 0.0,
        Some(_) => f64::from(dy) * f64::from(dropout.scale),
        None => drop_one(dropout, i / cols, i % cols, f64::from(dy)),
    };
    grad_output.iter().enumerate().map(one).collect()
}

/// Computes `dX = dZ·Wᵀ`; `shape` is `[B, I, O]`.
pub fn grad_input(grad_z: &[f64], weight: &[f32], shape: [usize; 3]) -> Exact {
    let [batch, inputs, outputs] = shape;
    let mut dx = Exact { terms: outputs, ..Exact::default() };
    for row in 0..batch {
        for input in 0..inputs {
            let terms = (0..outputs)
                .map(|o| grad_z[row * outputs + o] * f64::from(weight[input * outputs + o]));
            dx.push(terms.clone().sum(), terms.map(f64::abs).sum());
        }
    }
    dx
}

/// Computes `dW = Xᵀ·dZ` and `db = Σ_rows dZ`; `shape` is `[B, I, O]`.
pub fn grad_weight(x: &[f32], grad_z: &[f64], shape: [usize; 3]) -> (Exact, Exact) {
    let [batch, inputs, outputs] = shape;
    let mut dw = Exact { terms: batch, ..Exact::default() };
    let mut db = Exact { terms: batch, ..Exact::default() };
    for input in 0..inputs {
        for output in 0..outputs {
            let terms =
                (0..batch).map(|b| f64::from(x[b * inputs + input]) * grad_z[b * outputs + output]);
            dw.push(terms.clone().sum(), terms.map(f64::abs).sum());
        }
    }
    for output in 0..outputs {
        let terms = (0..batch).map(|b| grad_z[b * outputs + output]);
        db.push(terms.clone().sum(), terms.map(f64::abs).sum());
    }
    (dw, db)
}

/// Returns the losses `[B]`, and `dz [B, C]` of the mean loss.
pub fn softmax_cross_entropy(
    logits: &[f32],
    labels: &[u32],
    classes: usize,
) -> (Vec<f64>, Vec<f64>) {
    let (mut losses, mut grad) = (Vec::new(), Vec::new());
    for (z, &label) in logits.chunks(classes).zip(labels) {
        let largest = z.iter().copied().map(f64::from).fold(f64::NEG_INFINITY, f64::max);
        let exps: Vec<f64> = z.iter().map(|&z| (f64::from(z) - largest).exp()).collect();
        let sum: f64 = exps.iter().sum();
        losses.push(sum.ln() - (f64::from(z[label as usize]) - largest));
        let target = |c: usize| if c == label as usize { 1.0 } else { 0.0 };
        grad.extend(
            exps.iter().enumerate().map(|(c, e)| (e / sum - target(c)) / labels.len() as f64),
        );
    }
    (losses, grad)
}

/// Returns the losses `[B]`, and `dz [B, C]` of the mean of `½·Σ_c (y − t)²`, where `y` is the
/// logistic function of `z`, or `z` itself.
pub fn squared_error(
    z: &[f32],
    targets: &[f32],
    cols: usize,
    logistic: bool,
) -> (Vec<f64>, Vec<f64>) {
    let output =
        |&z: &f32| if logistic { 1.0 / (1.0 + (-f64::from(z)).exp()) } else { f64::from(z) };
    let y: Vec<f64> = z.iter().map(output).collect();
    let differences: Vec<f64> = y.iter().zip(targets).map(|(y, &t)| y - f64::from(t)).collect();
    let batch = (z.len() / cols.max(1)) as f64;
    let slope = |y: f64| if logistic { y * (1.0 - y) } else { 1.0 };
    let losses = differences
        .chunks(cols.max(1))
        .map(|row| 0.5 * row.iter().map(|d| d * d).sum::<f64>())
        .collect();
    (losses, differences.iter().zip(&y).map(|(d, &y)| d * slope(y) / batch).collect())
}

/// Computes `v = μ·v + g + λ·W + α·sign(W)` and `W = W − lr·v` from f32 state.
fn step(grad: &Exact, weight: &[f32], velocity: &[f32], rule: &SgdRule) -> [Exact; 2] {
    let lr = f64::from(rule.lr);
    let momentum = f64::from(rule.momentum);
    let decay = f64::from(rule.weight_decay);
    let l1 = |w: f64| if w == 0.0 { 0.0 } else { f64::from(rule.l1) * w.signum() };
    let mut next = Exact { terms: grad.terms, ..Exact::default() };
    let mut next_velocity = Exact { terms: grad.terms, ..Exact::default() };
    for (((&g, &size), &w), &v) in
        grad.values.iter().zip(&grad.magnitudes).zip(weight).zip(velocity)
    {
        let (w, v) = (f64::from(w), f64::from(v));
        let (v, size) = (
            momentum * v + g + decay * w + l1(w),
            (momentum * v).abs() + size + (decay * w).abs() + l1(w).abs(),
        );
        next_velocity.push(v, size);
        next.push(w - lr * v, w.abs() + lr * size);
    }
    [next, next_velocity]
}

/// Applies one update of a layer by [`SgdRule`] from f32 state, without max-norm, and returns `W`,
/// its `v`, `b` and its `v`. `shape` is `[B, I, O]`.
pub fn grad_weight_sgd(
    x: &[f32],
    grad_z: &[f64],
    [weight, weight_velocity, bias, bias_velocity]: [&[f32]; 4],
    shape: [usize; 3],
    rule: &SgdRule,
) -> [Exact; 4] {
    let (dw, db) = grad_weight(x, grad_z, shape);
    let [weight, weight_velocity] = step(&dw, weight, weight_velocity, rule);
    let [bias, bias_velocity] = step(&db, bias, bias_velocity, &rule.for_bias());
    [weight, weight_velocity, bias, bias_velocity]
}

/// Applies one update by [`SgdRule`] from f32 state and returns `W` and `v`.
pub fn sgd(
    grad: &[f32],
    weight: &[f32],
    velocity: &[f32],
    cols: usize,
    rule: &SgdRule,
) -> [Exact; 2] {
    let mut gradient = Exact::default();
    grad.iter().for_each(|&g| gradient.push(f64::from(g), f64::from(g).abs()));
    let [mut next, next_velocity] = step(&gradient, weight, velocity, rule);
    // The bound is (rows + 4)·ε for `W`, since a norm sums a column, and 4·ε for `v`. Since C is 2,
    // `terms` counts half of the roundings.
    next.terms = weight.len() / cols.max(1) / 2;
    for col in 0..cols {
        let column = || (col..weight.len()).step_by(cols);
        let norm = column().map(|i| next.values[i].powi(2)).sum::<f64>().sqrt();
        if let Some(most) = rule.max_norm.map(f64::from).filter(|&most| norm > most) {
            // The norm's own error grows with the rows. Its effect on an element is at most as
            // large as the element.
            let worst = column().map(|i| next.magnitudes[i] / norm).fold(0.0, f64::max);
            column().for_each(|i| {
                next.magnitudes[i] =
                    (next.magnitudes[i] + (1.0 + worst) * next.values[i].abs()) * most / norm;
                next.values[i] *= most / norm;
            });
        }
    }
    [next, next_velocity]
}

/// Returns `[R, 2·C + 1]` statistics of the softmax of `logits [S·R, C]` of S networks with the
/// given weights: the weighted mean, the weighted sum of squares about it, and the weighted mean of
/// the entropies, laid out as in [`Moments`](crate::call::Moments).
pub fn moments(logits: &[f32], weights: &[f64], rows: usize, classes: usize) -> Vec<f64> {
    let probabilities: Vec<f64> = logits
        .chunks(classes)
        .flat_map(|z| {
            let largest = z.iter().copied().map(f64::from).fold(f64::NEG_INFINITY, f64::max);
            let exps: Vec<f64> = z.iter().map(|&z| (f64::from(z) - largest).exp()).collect();
            let sum: f64 = exps.iter().sum();
            exps.into_iter().map(move |e| e / sum)
        })
        .collect();
    let weight: f64 = weights.iter().sum();
    let mut moments = Vec::new();
    for row in 0..rows {
        let of = |c: usize| {
            weights.iter().enumerate().map(move |(s, &w)| (w, (s * rows + row) * classes + c))
        };
        let means: Vec<f64> = (0..classes)
            .map(|c| of(c).map(|(w, i)| w * probabilities[i]).sum::<f64>() / weight)
            .collect();
        let squares = (0..classes)
            .map(|c| of(c).map(|(w, i)| w * (probabilities[i] - means[c]).powi(2)).sum::<f64>());
        let term = |p: f64| if p > 0.0 { -p * p.ln() } else { 0.0 };
        let entropy = of(0)
            .map(|(w, i)| w * probabilities[i..i + classes].iter().map(|&p| term(p)).sum::<f64>())
            .sum::<f64>();
        moments.extend(means.iter().copied().chain(squares).chain([entropy / weight]));
    }
    moments
}

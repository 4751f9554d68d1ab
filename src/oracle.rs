//! The oracle: a naive f64 implementation of every kernel, written exactly as its equation. It is
//! slow on purpose; tests and `demo` compare with it.
//!
//! With each sum it returns the sum of the terms' magnitudes, which gives the error bound of an f32
//! sum: `|f32 − f64| ≤ c·(terms + 2)·ε·magnitude` with ε = 2^-24·2 (Higham, "Accuracy and Stability
//! of Numerical Algorithms", section 3.1).

mod activation;
mod convolution;
mod forms;
pub mod network;
mod normalization;

pub use activation::*;
pub use convolution::*;
pub use forms::*;
pub use normalization::*;

use crate::rules::SgdRule;
use crate::{Dropout, Error, Result};

/// Values in f64, each with the magnitude to which its rounding error is proportional.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Exact {
    /// The values.
    pub values: Vec<f64>,
    /// For each value, the sum of its terms' absolute values, times the scale.
    pub magnitudes: Vec<f64>,
    /// Number of terms in each sum.
    pub terms: usize,
}

/// Factor c of the bound: each of the at most `terms + 2` operations rounds once, and the scale is
/// itself rounded.
pub const C: f64 = 2.0;

impl Exact {
    /// Appends a value and its magnitude.
    fn push(&mut self, value: f64, magnitude: f64) {
        self.values.push(value);
        self.magnitudes.push(magnitude);
    }

    /// Checks that every element of `computed` lies within the bound of its value. A NaN must match
    /// a NaN, and an infinity one of the same sign.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the lengths differ or an element is out of bounds. The message gives
    /// the first such element, its computed value, the expected value and the bound.
    pub fn check(&self, what: &str, computed: &[f32]) -> Result<()> {
        self.check_within(what, computed, |_| f64::from(f32::MIN_POSITIVE))
    }

    /// As [`check`](Self::check), for results computed in f32 and then stored as f16. The
    /// conversion may round either way, and a number too small for a normal f16 may have become 0.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn check_half(&self, what: &str, computed: &[f32]) -> Result<()> {
        let (epsilon, smallest) = (1.0 / 1024.0, 1.0 / 16384.0);
        self.check_within(what, computed, |exact| epsilon * exact.abs() + smallest)
    }

    /// As [`check`](Self::check), where `stored` returns the largest error of storing a value.
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
                // This includes an exact value that is finite although its terms are not: an
                // element that was dropped or cut off by the ReLU must be exactly 0.
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

/// Returns `M·s·value` for element `(row, col)`.
fn drop_one(dropout: &Dropout, row: usize, col: usize, value: f64) -> f64 {
    if dropout.mask.keeps(row, col) { value * f64::from(dropout.scale) } else { 0.0 }
}

/// Computes `y = M·s·x`, both `[rows, cols]`.
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

/// Computes `dZ` from `dY` and, after a ReLU, `Y`; all `[B, cols]`.
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
    let (mut dw, mut db) =
        (Exact { terms: batch, ..Exact::default() }, Exact { terms: batch, ..Exact::default() });
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

/// Computes the losses `[B]` and the gradient `dz [B, C]` of the mean loss.
///
/// # Panics
/// If a label is not below `classes`.
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

/// Computes the losses `½·Σ_c (y − t)²`, `[B]`, and the gradient `dz [B, C]` of their mean. `y` is
/// the logistic function of `z` if `logistic`, else `z` itself.
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

/// Computes `v = μ·v + g + λ·W + α·sign(W)` and `W = W − lr·v` from f32 state. Returns `W` and `v`.
fn step(grad: &Exact, weight: &[f32], velocity: &[f32], rule: &SgdRule) -> [Exact; 2] {
    let (lr, momentum, decay) =
        (f64::from(rule.lr), f64::from(rule.momentum), f64::from(rule.weight_decay));
    let l1 = |w: f64| if w == 0.0 { 0.0 } else { f64::from(rule.l1) * w.signum() };
    let (mut next, mut next_velocity) = (
        Exact { terms: grad.terms, ..Exact::default() },
        Exact { terms: grad.terms, ..Exact::default() },
    );
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

/// Updates a layer once by [`SgdRule`], without max-norm, from the f32 state `W`, its velocity, `b`
/// and its velocity. Returns the new state in the same order. `shape` is `[B, I, O]`.
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

/// Updates a weight matrix once by [`SgdRule`] from f32 state. Returns `W` and `v`.
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
    // Bounds of (rows + 4)·ε for W, since a norm sums a column, and of 4·ε for v. These are as many
    // roundings, each of half the factor C.
    next.terms = weight.len() / cols.max(1) / 2;
    for col in 0..cols {
        let column = || (col..weight.len()).step_by(cols);
        let norm = column().map(|i| next.values[i].powi(2)).sum::<f64>().sqrt();
        if let Some(most) = rule.max_norm.map(f64::from).filter(|&most| norm > most) {
            // The norm's own error grows with the number of rows. Its effect on an element is at
            // most proportional to the element.
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

/// Computes the moments `[R, 2·C + 1]` of the softmax of `logits [S·R, C]` over S networks with the
/// given weights. Each row holds the weighted means, the weighted sums of squares about them, and
/// the weighted mean of the entropies, in the layout of [`Moments`](crate::call::Moments).
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

//! An independent network in f64: forward pass, loss, gradient and update, written exactly as the
//! equations, with the contract's masks.
//!
//! It shares only the masks with the library's network, and the contract's own tests fix their
//! bits.

use crate::backend::Backend;
use crate::mlp::{Architecture, Mlp};
use crate::rules::SgdRule;
use crate::{Key, Mask, Mode, Result};

/// Weights `[inputs, outputs]` and bias `[outputs]` of a layer, or their gradients or velocities.
pub type Layer64 = (Vec<f64>, Vec<f64>);

/// Mini-batch: row-major features and one label per row.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// `[rows, inputs]`
    pub x: &'a [f32],
    /// `[rows]`, each a class of the network.
    pub labels: &'a [u32],
}

/// Fully connected network in f64 with ReLU between the layers.
#[derive(Debug, Clone)]
pub struct Network64 {
    /// Number of units of each layer, from the input to the classes.
    pub widths: Vec<usize>,
    /// Weights and biases.
    pub layers: Vec<Layer64>,
    velocities: Option<Vec<Layer64>>,
}

/// Returns the function `(layer, row, col)` that gives the factor by which dropout site `layer`
/// multiplies element `(row, col)` in training step `step`.
pub fn training(
    architecture: &Architecture,
    step: u32,
) -> impl Fn(usize, usize, usize) -> f64 + '_ {
    move |layer, row, col| {
        let rate = architecture.rate_of(layer);
        let kept = Mask::new(rate, Key { seed: architecture.seed, layer: layer as u32, step })
            .keeps(row, col);
        match architecture.mode {
            Mode::None => 1.0,
            Mode::Vanilla if kept => 1.0,
            Mode::Inverted if kept => 65536.0 / f64::from(rate.threshold()),
            _ => 0.0,
        }
    }
}

/// Returns the function `(layer, row, col)` that gives the factor by which dropout site `layer`
/// multiplies at prediction time.
pub fn prediction(architecture: &Architecture) -> impl Fn(usize, usize, usize) -> f64 + '_ {
    move |layer, _, _| match architecture.mode {
        Mode::Vanilla => f64::from(architecture.rate_of(layer).threshold()) / 65536.0,
        _ => 1.0,
    }
}

impl Network64 {
    /// Copies a network's parameters.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) if the device was lost.
    pub fn of<B: Backend>(net: &mut Mlp<B>) -> Result<Self> {
        let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<_>>();
        let widths = net.architecture().widths();
        let mut layers = Vec::new();
        while let Some((weight, bias)) = net.parameters(layers.len())? {
            layers.push((wide(weight), wide(bias)));
        }
        Ok(Self { widths, layers, velocities: None })
    }

    /// Runs the forward pass. Returns each layer's input after dropout, and each layer's sums
    /// before ReLU. The last sums are the logits.
    fn forward(
        &self,
        x: &[f32],
        site: &impl Fn(usize, usize, usize) -> f64,
    ) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
        let drop = |values: Vec<f64>, layer: usize| -> Vec<f64> {
            let width = self.widths[layer];
            values
                .into_iter()
                .enumerate()
                .map(|(i, v)| v * site(layer, i / width, i % width))
                .collect()
        };
        let mut inputs = vec![drop(x.iter().copied().map(f64::from).collect(), 0)];
        let mut sums: Vec<Vec<f64>> = Vec::new();
        for (index, (weight, bias)) in self.layers.iter().enumerate() {
            let (from, to) = (self.widths[index], self.widths[index + 1]);
            let z: Vec<f64> = inputs[index]
                .chunks(from)
                .flat_map(|row| {
                    (0..to).map(move |o| {
                        bias[o] + (0..from).map(|i| row[i] * weight[i * to + o]).sum::<f64>()
                    })
                })
                .collect();
            if index + 1 < self.layers.len() {
                inputs.push(drop(
                    z.iter().map(|&z| if z > 0.0 { z } else { 0.0 }).collect(),
                    index + 1,
                ));
            }
            sums.push(z);
        }
        (inputs, sums)
    }

    /// Returns the class probabilities, row-major.
    pub fn probabilities(&self, x: &[f32], site: &impl Fn(usize, usize, usize) -> f64) -> Vec<f64> {
        let (_, mut sums) = self.forward(x, site);
        let mut p = sums.pop().unwrap_or_default();
        for row in p.chunks_mut(self.widths[self.widths.len() - 1]) {
            let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            row.iter_mut().for_each(|z| *z = (*z - largest).exp());
            let sum: f64 = row.iter().sum();
            row.iter_mut().for_each(|p| *p /= sum);
        }
        p
    }

    /// Returns the mean cross-entropy in nats.
    pub fn loss(&self, batch: Batch<'_>, site: &impl Fn(usize, usize, usize) -> f64) -> f64 {
        let p = self.probabilities(batch.x, site);
        let of = p.chunks(self.widths[self.widths.len() - 1]).zip(batch.labels);
        of.map(|(p, &label)| -p[label as usize].ln()).sum::<f64>() / batch.labels.len() as f64
    }

    /// Computes the gradient of [`loss`](Self::loss) by the chain rule.
    pub fn gradient(
        &self,
        batch: Batch<'_>,
        site: &impl Fn(usize, usize, usize) -> f64,
    ) -> Vec<Layer64> {
        let rows = batch.labels.len();
        let (inputs, sums) = self.forward(batch.x, site);
        let mut dz = self.probabilities(batch.x, site);
        for (row, &label) in batch.labels.iter().enumerate() {
            dz[row * self.widths[self.widths.len() - 1] + label as usize] -= 1.0;
        }
        dz.iter_mut().for_each(|dz| *dz /= rows as f64);
        let mut gradients = Vec::new();
        for (index, (weight, _)) in self.layers.iter().enumerate().rev() {
            let (from, to) = (self.widths[index], self.widths[index + 1]);
            let over_rows = |i: usize, o: usize| {
                (0..rows).map(|r| inputs[index][r * from + i] * dz[r * to + o]).sum::<f64>()
            };
            let dw = (0..from * to).map(|element| over_rows(element / to, element % to)).collect();
            let db = (0..to).map(|o| (0..rows).map(|r| dz[r * to + o]).sum()).collect();
            gradients.push((dw, db));
            if index > 0 {
                let back = |r: usize, i: usize| {
                    let passes =
                        if sums[index - 1][r * from + i] > 0.0 { site(index, r, i) } else { 0.0 };
                    passes * (0..to).map(|o| dz[r * to + o] * weight[i * to + o]).sum::<f64>()
                };
                dz = (0..rows * from).map(|element| back(element / from, element % from)).collect();
            }
        }
        gradients.reverse();
        gradients
    }

    /// Estimates the derivative of [`loss`](Self::loss) with respect to each parameter, in the
    /// order of [`flat`], by central differences with step `h`.
    pub fn differences(
        &self,
        batch: Batch<'_>,
        site: &impl Fn(usize, usize, usize) -> f64,
        h: f64,
    ) -> Vec<f64> {
        let mut net = self.clone();
        let mut derivatives = Vec::new();
        for layer in 0..net.layers.len() {
            let weights = net.layers[layer].0.len();
            for place in 0..weights + net.layers[layer].1.len() {
                let start = if place < weights {
                    net.layers[layer].0[place]
                } else {
                    net.layers[layer].1[place - weights]
                };
                let mut loss_at = |value: f64| {
                    let (weight, bias) = &mut net.layers[layer];
                    *(if place < weights {
                        &mut weight[place]
                    } else {
                        &mut bias[place - weights]
                    }) = value;
                    net.loss(batch, site)
                };
                derivatives.push((loss_at(start + h) - loss_at(start - h)) / (2.0 * h));
                loss_at(start);
            }
        }
        derivatives
    }

    /// Updates the parameters once: `g = dW + λ·W + α·sign(W)`, `v = μ·v + g`, `W = W − lr·v`, then
    /// max-norm. λ, α and max-norm apply only to weights, not to biases.
    pub fn update(&mut self, gradients: &[Layer64], rule: &SgdRule) {
        let (lr, momentum, decay) =
            (f64::from(rule.lr), f64::from(rule.momentum), f64::from(rule.weight_decay));
        let zeros =
            || self.layers.iter().map(|(w, b)| (vec![0.0; w.len()], vec![0.0; b.len()])).collect();
        let mut velocities: Vec<Layer64> = self.velocities.take().unwrap_or_else(zeros);
        for (((weight, bias), (dw, db)), (v, vb)) in
            self.layers.iter_mut().zip(gradients).zip(&mut velocities)
        {
            for ((w, g), v) in weight.iter_mut().zip(dw).zip(v) {
                let l1 = if *w == 0.0 { 0.0 } else { f64::from(rule.l1) * w.signum() };
                *v = momentum * *v + g + decay * *w + l1;
                *w -= lr * *v;
            }
            for ((b, g), v) in bias.iter_mut().zip(db).zip(vb) {
                *v = momentum * *v + g;
                *b -= lr * *v;
            }
            let cols = bias.len();
            for col in 0..cols {
                let norm = weight.iter().skip(col).step_by(cols).map(|w| w * w).sum::<f64>().sqrt();
                if let Some(most) = rule.max_norm.map(f64::from).filter(|&most| norm > most) {
                    weight.iter_mut().skip(col).step_by(cols).for_each(|w| *w *= most / norm);
                }
            }
        }
        self.velocities = Some(velocities);
    }

    /// Returns the largest absolute difference from a network's parameters. NaN counts as infinite.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn distance<B: Backend>(&self, net: &mut Mlp<B>) -> Result<f64> {
        let other = Self::of(net)?;
        let pairs = self
            .layers
            .iter()
            .zip(&other.layers)
            .flat_map(|(a, b)| a.0.iter().zip(&b.0).chain(a.1.iter().zip(&b.1)));
        Ok(pairs
            .map(|(a, b)| (a - b).abs())
            .map(|d| if d.is_nan() { f64::INFINITY } else { d })
            .fold(0.0, f64::max))
    }
}

/// Returns all parameters layer by layer: the weights, then the bias.
pub fn flat(layers: &[Layer64]) -> Vec<f64> {
    layers.iter().flat_map(|(weight, bias)| weight.iter().chain(bias)).copied().collect()
}

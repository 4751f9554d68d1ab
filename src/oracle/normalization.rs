//! Batch and layer normalization, the sparsity penalty and AdamW, computed naively in f64.

use super::{C, Exact};
use crate::Dropout;
use crate::rules::AdamWRule;

/// Number of roundings of a reciprocal square root by WGSL's accuracy table: 4.5 ULP for `sqrt`,
/// 2.5 for the division, and those of the surrounding operations.
const ROOT: usize = 10;

/// Returns the means and variances of the columns of `x [B, cols]`, as `[2, cols]`.
pub fn batch_statistics(x: &[f32], cols: usize) -> Exact {
    let rows = (x.len() / cols.max(1)) as f64;
    let column = |col: usize| x.iter().skip(col).step_by(cols.max(1)).map(|&x| f64::from(x));
    let mut exact = Exact { terms: x.len() / cols.max(1) + 2, ..Exact::default() };
    let mean = |col: usize| {
        (column(col).sum::<f64>() / rows, column(col).map(f64::abs).sum::<f64>() / rows)
    };
    for col in 0..cols {
        let (mean, magnitude) = mean(col);
        exact.push(mean, magnitude);
    }
    for col in 0..cols {
        let (mean, magnitude) = mean(col);
        let variance = column(col).map(|x| (x - mean).powi(2)).sum::<f64>() / rows;
        // An error in the mean adds its square to the variance; its first-order effect cancels.
        let off = C * (rows + 4.0) * f64::from(f32::EPSILON) * magnitude;
        exact.push(variance, variance + off * magnitude);
    }
    exact
}

/// Computes `Y = γ·(X − mean)/√(variance + ε) + β` for each row of `x [B, cols]`, and the
/// statistics `[B, 2]`: the mean and `1/√(variance + ε)`.
///
/// The error of the mean is at most `(cols + 2)·ε` times the mean magnitude, as in
/// [`batch_statistics`]. Divided by the deviation, it adds to the error of every element. The error
/// of the variance is as large relative to the second moment about the mean, and half of it passes
/// to the root.
pub fn layer_norm(x: &[f32], affine: &[f32], cols: usize, epsilon: f32) -> [Exact; 2] {
    let mut y = Exact { terms: cols + ROOT, ..Exact::default() };
    let mut statistics = y.clone();
    for row in x.chunks_exact(cols.max(1)) {
        let count = cols as f64;
        let mean = row.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
        let magnitude = row.iter().map(|&x| f64::from(x).abs()).sum::<f64>() / count;
        let squares: f64 = row.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum();
        let inverse = 1.0 / (squares / count + f64::from(epsilon)).sqrt();
        // An error δ of the mean adds only δ² to the variance.
        let off = C * (count + 4.0) * f64::from(f32::EPSILON) * magnitude;
        let root = 1.0 + off * magnitude * inverse * inverse;
        statistics.push(mean, magnitude);
        statistics.push(inverse, inverse * root);
        for (&x, (&gamma, &beta)) in row.iter().zip(affine.iter().zip(&affine[cols..])) {
            let (gamma, beta, x) = (f64::from(gamma), f64::from(beta), f64::from(x));
            let normal = (x - mean) * inverse;
            let size = ((x - mean).abs() * root + x.abs() + magnitude) * inverse;
            y.push(gamma * normal + beta, gamma.abs() * size + beta.abs());
        }
    }
    [y, statistics]
}

/// Computes `Y = M·s·relu(γ·(X − mean)/√(variance + ε) + β)` with the given statistics and affine
/// map, both `[2, cols]`.
pub fn batch_norm(
    x: &[f32],
    statistics: &[f32],
    affine: &[f32],
    cols: usize,
    epsilon: f32,
    relu: bool,
    dropout: &Dropout,
) -> Exact {
    let mut exact = Exact { terms: ROOT, ..Exact::default() };
    for (i, &x) in x.iter().enumerate() {
        let (row, col) = (i / cols, i % cols);
        let [mean, variance, gamma, beta] =
            [statistics[col], statistics[cols + col], affine[col], affine[cols + col]]
                .map(f64::from);
        let normal = (f64::from(x) - mean) / (variance + f64::from(epsilon)).sqrt();
        let v = gamma * normal + beta;
        let kept = dropout.mask.keeps(row, col);
        let scale = if kept { f64::from(dropout.scale) } else { 0.0 };
        let value = if !kept || relu && v <= 0.0 { 0.0 } else { v * scale };
        exact.push(value, ((gamma * normal).abs() + beta.abs()) * scale);
    }
    exact
}

/// Returns `dγ` and `dβ` as `[2, cols]`, and `dX` of [`batch_norm`]. The statistics are those of
/// `x` itself, rounded.
pub fn batch_norm_grad(
    x: &[f32],
    statistics: &[f32],
    affine: &[f32],
    grad_y: &[f32],
    cols: usize,
    epsilon: f32,
    through: Option<f32>,
) -> [Exact; 2] {
    let rows = x.len() / cols.max(1);
    let (share, epsilon) = (1.0 / rows.max(1) as f64, f64::from(epsilon));
    let inverse = |col: usize| 1.0 / (f64::from(statistics[cols + col]) + epsilon).sqrt();
    let normal = |i: usize| (f64::from(x[i]) - f64::from(statistics[i % cols])) * inverse(i % cols);
    let over_rows = |col: usize, of: &dyn Fn(usize) -> f64| {
        (0..rows).map(|row| of(row * cols + col)).sum::<f64>()
    };
    let gamma = |i: usize| f64::from(grad_y[i]) * normal(i);
    let beta = |i: usize| f64::from(grad_y[i]);
    let mut sums = Exact { terms: rows + ROOT, ..Exact::default() };
    for of in [&gamma as &dyn Fn(usize) -> f64, &beta] {
        (0..cols).for_each(|col| sums.push(over_rows(col, of), over_rows(col, &|i| of(i).abs())));
    }
    let mut dx = Exact { terms: rows + 2 * ROOT, ..Exact::default() };
    for (i, &at) in x.iter().enumerate() {
        let col = i % cols;
        let slope = f64::from(affine[col]) * inverse(col);
        let (dgamma, dbeta) = (share * sums.values[col], share * sums.values[cols + col]);
        let (gammas, betas) = (share * sums.magnitudes[col], share * sums.magnitudes[cols + col]);
        let value = slope * (beta(i) - dbeta - normal(i) * dgamma);
        let magnitude = slope.abs() * (beta(i).abs() + betas + normal(i).abs() * gammas);
        match through {
            Some(_) if at <= 0.0 => dx.push(0.0, 0.0),
            Some(scale) => dx.push(value * f64::from(scale), magnitude * f64::from(scale)),
            None => dx.push(value, magnitude),
        }
    }
    [sums, dx]
}

/// Returns `weight·Σ KL(target ‖ mean)`.
pub fn sparsity(means: &[f64], target: f64, weight: f64) -> f64 {
    let kl = |mean: &f64| {
        target * (target / mean).ln() + (1.0 - target) * ((1.0 - target) / (1.0 - mean)).ln()
    };
    weight * means.iter().map(kl).sum::<f64>()
}

/// Returns `dY` plus the gradient of [`sparsity`]. The means are the first `cols` values of
/// `statistics`, clamped to at least 10⁻⁶ and at most 1 − 10⁻⁶.
pub fn sparsity_grad(
    statistics: &[f32],
    grad_y: &[f32],
    cols: usize,
    target: f32,
    weight: f32,
) -> Exact {
    let target = f64::from(target);
    let share = f64::from(weight) / (grad_y.len() / cols.max(1)).max(1) as f64;
    let mut exact = Exact { terms: ROOT, ..Exact::default() };
    for (i, &grad) in grad_y.iter().enumerate() {
        let mean = f64::from(statistics[i % cols]).clamp(1e-6, 1.0 - 1e-6);
        let (over, under) = (share * (1.0 - target) / (1.0 - mean), share * target / mean);
        // 1 − mean is rounded in proportion to 1, and before it 1 − 10⁻⁶.
        let rounded = over * (1.0 + 0.25 / (1.0 - mean));
        exact.push(f64::from(grad) + over - under, f64::from(grad).abs() + rounded + under);
    }
    exact
}

/// Applies update number `step` (from 0) by [`AdamWRule`] from f32 state and returns `W`, `m` and
/// `v`.
pub fn adamw(
    grad: &[f32],
    [weight, first, second]: [&[f32]; 3],
    rule: &AdamWRule,
    step: u32,
) -> [Exact; 3] {
    let [lr, beta1, beta2, epsilon, decay] =
        [rule.lr, rule.beta1, rule.beta2, rule.epsilon, rule.weight_decay].map(f64::from);
    let corrected = |beta: f64| 1.0 - beta.powi(step as i32 + 1);
    let mut next = [(); 3].map(|()| Exact { terms: ROOT, ..Exact::default() });
    for (((&g, &w), &m), &v) in grad.iter().zip(weight).zip(first).zip(second) {
        let [g, w, m, v] = [g, w, m, v].map(f64::from);
        let (m, size) =
            (beta1 * m + (1.0 - beta1) * g, (beta1 * m).abs() + ((1.0 - beta1) * g).abs());
        let v = beta2 * v + (1.0 - beta2) * g * g;
        let step = lr / corrected(beta1) / ((v / corrected(beta2)).sqrt() + epsilon);
        next[0].push(w - lr * decay * w - step * m, w.abs() + step * size);
        next[1].push(m, size);
        next[2].push(v, v);
    }
    next
}

//! Attention, naively and in f64.

use super::Exact;
use crate::cpu::reference::{AttentionFactors, AttentionResults};
use crate::rules::{AttentionRule, Dropped};

/// Roundings of a weight besides those of its score: WGSL grants an exponential 3 + 2·|x| ULP, and
/// a logarithm 3.
const WEIGHT: usize = 8;

/// A weight, and the bound of its relative error in units of `(terms + 2)·ε`.
struct Weight {
    key: usize,
    kept: bool,
    /// Weight before dropout.
    value: f64,
    error: f64,
}

/// A query of a head: its place, its logsumexp with its magnitude, and its weights.
struct Row {
    at: usize,
    key_head: usize,
    logsumexp: [f64; 2],
    weights: Vec<Weight>,
}

/// Returns the rows of all sequences and heads.
fn rows(factors: &AttentionFactors<'_>, rule: &AttentionRule<'_>) -> Vec<Row> {
    let AttentionFactors { query: q, key: k, width, .. } = *factors;
    let [queries, keys] = factors.rows(rule);
    let tau = 1.0 / (width as f64).sqrt();
    let mut rows = Vec::new();
    for index in 0..rule.count() {
        let sequence = rule.sequence(index, queries, keys);
        for (head, query) in (0..rule.heads)
            .flat_map(|head| (0..sequence.queries.len()).map(move |query| (head, query)))
        {
            let at = (sequence.queries.start + query) * rule.heads + head;
            let key_head = rule.key_head(head);
            let mask = rule.mask(sequence.number, head);
            let bias = factors.bias_row(rule, index, head, query);
            let mut scores = Vec::new();
            for key in rule.keys_of(query, sequence.keys.len()) {
                let kept = mask.keeps(query, key);
                if !kept && rule.dropped == Dropped::Scores {
                    continue;
                }
                let row = sequence.keys.start + key;
                let from = (row * rule.key_heads + key_head) * width;
                let terms =
                    (0..width).map(|d| f64::from(q[at * width + d]) * f64::from(k[from + d]) * tau);
                let bias = bias.map_or(0.0, |bias| f64::from(bias[key]));
                let score = terms.clone().sum::<f64>() + bias;
                let magnitude = terms.map(f64::abs).sum::<f64>() + bias.abs();
                scores.push((row, kept, score, magnitude));
            }
            let most = scores.iter().map(|score| score.2).fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = scores.iter().map(|score| (score.2 - most).exp()).sum();
            let logsumexp = match scores.is_empty() || most == f64::NEG_INFINITY {
                true => f64::NEG_INFINITY,
                false => most + sum.ln(),
            };
            let met = logsumexp != f64::NEG_INFINITY;
            let value = |score: f64| if met { (score - logsumexp).exp() } else { 0.0 };
            let finite = |x: f64| if x.is_finite() { x.abs() } else { 0.0 };
            // Relative error of a weight: that of its score, and of the largest one's.
            let own = |score: f64, magnitude: f64| finite(magnitude) + finite(score - logsumexp);
            let mean: f64 = (scores.iter())
                .map(|&(_, _, score, magnitude)| value(score) * own(score, magnitude))
                .sum();
            let weights = (scores.iter())
                .map(|&(key, kept, score, magnitude)| Weight {
                    key,
                    kept,
                    value: value(score),
                    error: 2.0 + own(score, magnitude) + mean + finite(logsumexp),
                })
                .collect();
            rows.push(Row {
                at,
                key_head,
                logsumexp: [logsumexp, 2.0 + mean + finite(logsumexp)],
                weights,
            });
        }
    }
    rows
}

/// Returns the largest number of terms that the sums of a row have.
fn terms(factors: &AttentionFactors<'_>, rule: &AttentionRule<'_>) -> usize {
    let [queries, keys] = factors.rows(rule);
    let group = rule.heads / rule.key_heads;
    factors.width + keys.max(queries * group) + WEIGHT
}

/// Returns an [`Exact`] of zeros for `len` values.
fn zeros(len: usize, terms: usize) -> Exact {
    Exact { values: vec![0.0; len], magnitudes: vec![0.0; len], terms }
}

/// Adds a term to a value.
fn add(to: &mut Exact, at: usize, value: f64, magnitude: f64) {
    to.values[at] += value;
    to.magnitudes[at] += magnitude;
}

/// Computes `O` and `L` of [`call::Attention`](crate::call::Attention).
pub fn attention(factors: &AttentionFactors<'_>, rule: &AttentionRule<'_>) -> [Exact; 2] {
    let (width, scale) = (factors.width, f64::from(rule.scale()));
    let terms = terms(factors, rule);
    let mut output = zeros(factors.query.len(), terms);
    let mut logsumexp = zeros(factors.query.len() / width.max(1), terms);
    for row in rows(factors, rule) {
        let [value, magnitude] = row.logsumexp;
        add(&mut logsumexp, row.at, value, magnitude);
        for weight in row.weights {
            let from = (weight.key * rule.key_heads + row.key_head) * width;
            for d in 0..width {
                let value = f64::from(factors.value[from + d]);
                // As a kernel does: a dropped weight is 0, and 0 times infinity is NaN.
                let dropped = if weight.kept { weight.value * scale } else { 0.0 };
                let term = dropped * value;
                add(&mut output, row.at * width + d, term, term.abs() * weight.error);
            }
        }
    }
    [output, logsumexp]
}

/// Computes `dQ`, `dK` and `dV` of [`call::AttentionGrad`](crate::call::AttentionGrad) from what
/// the forward pass wrote.
pub fn attention_grad(
    factors: &AttentionFactors<'_>,
    results: &AttentionResults<'_>,
    rule: &AttentionRule<'_>,
) -> [Exact; 3] {
    let (width, scale) = (factors.width, f64::from(rule.scale()));
    let tau = 1.0 / (width as f64).sqrt();
    let terms = terms(factors, rule);
    let [forward, _] = attention(factors, rule);
    let mut grads =
        [factors.query, factors.key, factors.key].map(|values| zeros(values.len(), terms));
    for row in rows(factors, rule) {
        let at = row.at * width;
        let dy = |d: usize| f64::from(results.grad_output[at + d]);
        let delta: f64 = (0..width).map(|d| dy(d) * forward.values[at + d]).sum();
        let delta_magnitude: f64 =
            (0..width).map(|d| (dy(d) * forward.magnitudes[at + d]).abs()).sum();
        for weight in row.weights {
            let from = (weight.key * rule.key_heads + row.key_head) * width;
            let terms = (0..width).map(|d| dy(d) * f64::from(factors.value[from + d]));
            let kept = if weight.kept { scale } else { 0.0 };
            let slope: f64 = if weight.kept { terms.clone().sum::<f64>() * scale } else { 0.0 };
            let magnitude: f64 = kept * terms.map(f64::abs).sum::<f64>() + delta_magnitude;
            let slope = weight.value * (slope - delta) * tau;
            let magnitude = weight.value * tau * magnitude * weight.error;
            let dropped = if weight.kept { weight.value * scale } else { 0.0 };
            for d in 0..width {
                let [q, k] = [factors.query[at + d], factors.key[from + d]].map(f64::from);
                add(&mut grads[0], at + d, slope * k, magnitude * k.abs());
                add(&mut grads[1], from + d, slope * q, magnitude * q.abs());
                let term = dropped * dy(d);
                add(&mut grads[2], from + d, term, term.abs() * weight.error);
            }
        }
    }
    grads
}

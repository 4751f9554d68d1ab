//! Twin of `shaders/attention_grad.wgsl`.

use super::attention::{AttentionFactors, Row, rows};
use crate::rules::{AttentionRule, score_factor};

/// The results of the forward pass, and the gradient of its output.
#[derive(Debug, Clone, Copy)]
pub struct AttentionResults<'a> {
    /// `O [B·T, H·D]`
    pub output: &'a [f32],
    /// `L [B·T, H]`
    pub logsumexp: &'a [f32],
    /// `dO [B·T, H·D]`
    pub grad_output: &'a [f32],
}

/// Computes `dQ`, `dK` and `dV`, given in this order, with the shapes of `Q`, `K` and `V`.
///
/// ```text
/// P = exp(S − L)      δ = Σ_d dO·O      dP = M·s·(dO·Vᵀ)      dS = P·(dP − δ)
/// dQ = τ·dS·K         dK = τ·dSᵀ·Q      dV = (M·s·P)ᵀ·dO
/// ```
///
/// Every sum is in ascending order, those of `dK` and `dV` over the heads of a group and then over
/// queries.
pub fn attention_grad(
    factors: AttentionFactors<'_>,
    results: AttentionResults<'_>,
    [grad_query, grad_key, grad_value]: [&mut [f32]; 3],
    rule: &AttentionRule<'_>,
) {
    let (width, tau, scale) = (factors.width, score_factor(factors.width), rule.scale());
    let [queries, keys] = factors.rows(rule);
    for sequence in (0..rule.count()).map(|index| rule.sequence(index, queries, keys)) {
        let (q, k) = (rule.heads * width, rule.key_heads * width);
        grad_query[sequence.queries.start * q..sequence.queries.end * q].fill(0.0);
        grad_key[sequence.keys.start * k..sequence.keys.end * k].fill(0.0);
        grad_value[sequence.keys.start * k..sequence.keys.end * k].fill(0.0);
    }
    for Row { query, at: [row, head], scores } in rows(&factors, rule) {
        let at = row * rule.heads + head;
        let logsumexp = results.logsumexp[at];
        if logsumexp == f32::NEG_INFINITY {
            continue;
        }
        let [output, grad] = [results.output, results.grad_output]
            .map(|values| &values[at * width..(at + 1) * width]);
        let delta = grad.iter().zip(output).fold(0.0, |sum, (grad, o)| sum + grad * o);
        let grad_query = &mut grad_query[at * width..(at + 1) * width];
        for (score, [row, head], kept) in scores {
            let at = (row * rule.key_heads + head) * width;
            let weight = (score - logsumexp).exp();
            let value = &factors.value[at..at + width];
            let grad_weight = grad.iter().zip(value).fold(0.0, |sum, (grad, v)| sum + grad * v);
            // By selection, so that a dropped NaN or infinity becomes 0.
            let grad_weight = if kept { grad_weight * scale } else { 0.0 };
            let dropped = if kept { weight * scale } else { 0.0 };
            let slope = weight * (grad_weight - delta) * tau;
            let slope = if weight == 0.0 { 0.0 } else { slope };
            let key = &factors.key[at..at + width];
            grad_query.iter_mut().zip(key).for_each(|(d, k)| *d += slope * k);
            let grad_key = &mut grad_key[at..at + width];
            grad_key.iter_mut().zip(query).for_each(|(d, q)| *d += slope * q);
            let grad_value = &mut grad_value[at..at + width];
            grad_value.iter_mut().zip(grad).for_each(|(d, grad)| *d += dropped * grad);
        }
    }
}

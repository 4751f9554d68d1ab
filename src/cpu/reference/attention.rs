//! Twin of `shaders/attention.wgsl`.

use crate::rules::{AttentionRule, Dropped, score_factor};

/// The tensors that an attention reads, in rows of tokens with the heads side by side.
#[derive(Debug, Clone, Copy)]
pub struct AttentionFactors<'a> {
    /// `Q [B·T, H·D]`
    pub query: &'a [f32],
    /// `K [B·S, G·D]`
    pub key: &'a [f32],
    /// `V [B·S, G·D]`
    pub value: &'a [f32],
    /// `A`, added to the scores, and its columns.
    pub bias: Option<(&'a [f32], usize)>,
    /// Numbers D of a head.
    pub width: usize,
}

impl<'a> AttentionFactors<'a> {
    /// Returns the rows of the queries and of the keys.
    pub(crate) fn rows(&self, rule: &AttentionRule<'_>) -> [usize; 2] {
        [
            self.query.len() / (rule.heads * self.width).max(1),
            self.key.len() / (rule.key_heads * self.width).max(1),
        ]
    }

    /// Returns the row of the bias for a query of a head in the sequence `index`.
    pub(crate) fn bias_row(
        &self,
        rule: &AttentionRule<'_>,
        index: usize,
        head: usize,
        query: usize,
    ) -> Option<&'a [f32]> {
        let (bias, cols) = self.bias?;
        let rows = bias.len().checked_div(cols).unwrap_or(0);
        let row = rule.bias_row(index, head, rows, self.rows(rule)[0]) + query;
        bias.get(row * cols..(row + 1) * cols)
    }
}

/// A row of an attention: one query of one head.
pub(super) struct Row<'a> {
    /// `D` numbers of the query.
    pub query: &'a [f32],
    /// Row of the query in its tensor, and its head.
    pub at: [usize; 2],
    /// Scores of the keys that the query meets, and for each the row and head of the key, and true
    /// if the mask keeps it.
    pub scores: Vec<(f32, [usize; 2], bool)>,
}

/// Returns the rows of all sequences and heads, in order of sequences, key heads, query heads and
/// queries.
pub(super) fn rows<'a>(
    factors: &AttentionFactors<'a>,
    rule: &AttentionRule<'_>,
) -> impl Iterator<Item = Row<'a>> {
    let (factors, rule) = (*factors, *rule);
    let [queries, keys] = factors.rows(&rule);
    let width = factors.width;
    let factor = score_factor(width);
    (0..rule.count()).flat_map(move |index| {
        let sequence = rule.sequence(index, queries, keys);
        let mut all = Vec::new();
        for head in 0..rule.heads {
            let mask = rule.mask(sequence.number, head);
            let key_head = rule.key_head(head);
            for (query, row) in sequence.queries.clone().enumerate() {
                let at = (row * rule.heads + head) * width;
                let values = &factors.query[at..at + width];
                let bias = factors.bias_row(&rule, index, head, query);
                let score = |key: usize| {
                    let row = sequence.keys.start + key;
                    let at = (row * rule.key_heads + key_head) * width;
                    let terms = values.iter().zip(&factors.key[at..at + width]);
                    let product = terms.fold(0.0, |sum, (q, k)| sum + q * k) * factor;
                    let score = bias.map_or(product, |bias| product + bias[key]);
                    (score, [row, key_head], mask.keeps(query, key))
                };
                let met = rule.keys_of(query, sequence.keys.len()).map(score);
                // A dropped score is one that the query does not meet.
                let scores =
                    met.filter(|(_, _, kept)| *kept || rule.dropped == Dropped::Weights).collect();
                all.push(Row { query: values, at: [row, head], scores });
            }
        }
        all
    })
}

/// Computes `O = (M·s·softmax(τ·Q·Kᵀ + A))·V` and the logsumexp of the scores, `[B·T, H]`.
///
/// The sums of a row run over its keys in ascending order. A query that meets no key has the output
/// 0 and the logsumexp −∞.
pub fn attention(
    factors: AttentionFactors<'_>,
    output: &mut [f32],
    logsumexp: &mut [f32],
    rule: &AttentionRule<'_>,
) {
    let width = factors.width;
    for Row { at: [row, head], scores, .. } in rows(&factors, rule) {
        let at = row * rule.heads + head;
        let output = &mut output[at * width..(at + 1) * width];
        let largest = scores.iter().fold(-f32::MAX, |most, (score, ..)| most.max(*score));
        let mut sum = 0.0;
        output.fill(0.0);
        for (score, [row, head], kept) in scores {
            let weight = (score - largest).exp();
            sum += weight;
            // By selection, so that the weight of a dropped score that is NaN is 0.
            let weight = if kept { weight } else { 0.0 };
            let value = &factors.value[(row * rule.key_heads + head) * width..];
            output.iter_mut().zip(value).for_each(|(o, v)| *o += weight * v);
        }
        if sum == 0.0 {
            output.fill(0.0);
            logsumexp[at] = f32::NEG_INFINITY;
        } else {
            let factor = rule.scale() / sum;
            output.iter_mut().for_each(|o| *o *= factor);
            logsumexp[at] = largest + sum.ln();
        }
    }
}

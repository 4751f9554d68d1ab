//! The call of `attention`.

use super::unfused::{self, Tensors};
use super::{Call, DevicePlace, HostPlace, Place, fused};
use crate::cpu::reference::AttentionFactors;
use crate::cpu::{fast, fast::Isa, reference};
use crate::plan::{Plan, Planner, Stem, check_tensors, read, write};
use crate::rules::{AttentionRule, Sequences};
use crate::shape::{Matrix, expect};
use crate::{Error, Result};

/// Attention with dropout, forward: `O = (M·s·softmax(τ·Q·Kᵀ + A))·V` for each sequence and head.
///
/// With B sequences of T queries and S keys, H query heads, G key heads and D numbers a head,
///
/// ```text
/// S = τ·Q·Kᵀ + A      [T, S]   τ = 1/√D; A the bias; −∞ where a query does not meet a key
/// L = ln Σ_k exp(S)   [T]      natural logarithm, of the scores before dropout, whatever the rate
/// P = exp(S − L)      [T, S]
/// O = (M·s·P)·V       [T, D]   M of the scores' place in the mask, by selection
/// ```
///
/// Neither `P` nor `M` is stored. A query that meets no key has the output 0 and the logsumexp −∞.
///
/// Sources: Vaswani et al., "Attention is all you need" (2017), section 3.2; Shazeer, "Fast
/// transformer decoding" (2019), for shared key heads; Dao et al., "FlashAttention", NeurIPS
/// (2022), for the blocks and the logsumexp.
pub struct Attention<'a, P: Place> {
    /// `Q [B·T, H·D]`: a row for each token, the heads side by side.
    pub query: P::In<f32>,
    /// `K [B·S, G·D]`
    pub key: P::In<f32>,
    /// `V [B·S, G·D]`
    pub value: P::In<f32>,
    /// `A`, added to the scores: `[H·T, S]` for all sequences, or `[B·H·T, S]`. Sequences of
    /// several lengths take the first rows of a head and the first columns.
    pub bias: Option<P::In<f32>>,
    /// `O [B·T, H·D]`, written.
    pub output: P::Out<f32>,
    /// `L [B·T, H]`, written.
    pub logsumexp: P::Out<f32>,
    /// Heads, sequences, allowed pairs, and dropout.
    pub rule: AttentionRule<'a>,
}

/// Checks the shapes that both passes share; returns the numbers D of a head.
pub(super) fn check_attention(
    kernel: &'static str,
    [query, key, value]: [&impl Matrix; 3],
    bias: Option<&impl Matrix>,
    rule: &AttentionRule<'_>,
) -> Result<usize> {
    rule.check(kernel, query.rows(), key.rows())?;
    let width = query.cols() / rule.heads;
    if width == 0 || query.cols() != width * rule.heads {
        let what = format!("query has {} columns for {} heads", query.cols(), rule.heads);
        return Err(Error::shape(kernel, what));
    }
    let cols = rule.key_heads.saturating_mul(width);
    expect(kernel, "key", key, key.rows(), cols)?;
    expect(kernel, "value", value, key.rows(), cols)?;
    let Some(bias) = bias else { return Ok(width) };
    let (rows, cols) = (bias.rows(), bias.cols());
    let fits = match rule.sequences {
        Sequences::Equal(count) => {
            let of_all = rule.heads * query.rows();
            let of_one = of_all / count.max(1);
            (rows == of_one || rows == of_all) && cols == key.rows() / count.max(1)
        }
        Sequences::Listed(list) => {
            let longest = |len: fn(&crate::call::Sequence) -> usize| list.iter().map(len).max();
            rows.is_multiple_of(rule.heads)
                && longest(|sequence| sequence.queries.len()) <= Some(rows / rule.heads)
                && longest(|sequence| sequence.keys.len()) <= Some(cols)
        }
    };
    if fits {
        return Ok(width);
    }
    let what = format!("bias is {rows}×{cols}: must have a row for each query of each head, and a column for each key");
    Err(Error::shape(kernel, what))
}

impl<P: Place> Call<P> for Attention<'_, P> {
    fn check(&self) -> Result<()> {
        let (kernel, rows) = ("attention", self.query.rows());
        let tensors = [&self.query, &self.key, &self.value];
        check_attention(kernel, tensors, self.bias.as_ref(), &self.rule)?;
        expect(kernel, "output", &self.output, rows, self.query.cols())?;
        expect(kernel, "logsumexp", &self.logsumexp, rows, self.rule.heads)
    }

    fn plan<'p>(&'p self, planner: &Planner) -> Result<Plan<'p>>
    where
        P: DevicePlace,
    {
        self.check()?;
        let [query, key, value] = [&self.query, &self.key, &self.value].map(P::read);
        let [output, logsumexp] = [&self.output, &self.logsumexp].map(P::written);
        let bias = self.bias.as_ref().map(P::read);
        let mut operands = vec![
            read("query", query),
            read("key", key),
            read("value", value),
            write("output", output),
            write("logsumexp", logsumexp),
        ];
        operands.extend(bias.map(|bias| read("bias", bias)));
        check_tensors(Stem::AttentionWeights, &operands)?;
        let tensors = Tensors { query, key, value, bias, logsumexp };
        match fused::forward(planner, tensors, output, &self.rule)? {
            Some(plan) => Ok(plan),
            None => unfused::forward(planner, tensors, output, &self.rule),
        }
    }

    fn compute(mut self, isa: Option<Isa>)
    where
        P: HostPlace,
    {
        let factors = AttentionFactors {
            query: P::values(&self.query),
            key: P::values(&self.key),
            value: P::values(&self.value),
            bias: self.bias.as_ref().map(|bias| (P::values(bias), bias.cols())),
            width: self.query.cols() / self.rule.heads,
        };
        let output = P::values_mut(&mut self.output);
        let logsumexp = P::values_mut(&mut self.logsumexp);
        match isa {
            Some(isa) => fast::attention(isa, factors, output, logsumexp, &self.rule),
            None => reference::attention(factors, output, logsumexp, &self.rule),
        }
    }
}

//! The call of `attention_grad`.

use super::attention::check_attention;
use super::unfused::{self, Grads, Tensors};
use super::{Call, DevicePlace, HostPlace, Place, fused};
use crate::cpu::reference::{AttentionFactors, AttentionResults};
use crate::cpu::{fast, fast::Isa, reference};
use crate::plan::{Plan, Planner, Stem, check_tensors, read, write};
use crate::rules::AttentionRule;
use crate::shape::{Matrix, expect};
use crate::Result;

/// Backward pass of [`Attention`](super::Attention): the gradients of queries, keys and values.
///
/// ```text
/// P  = exp(S − L)          [T, S]   S, M, s and τ of the forward pass; M is drawn again
/// δ  = Σ_d dO·O            [T]
/// dP = M·s·(dO·Vᵀ)         [T, S]
/// dS = P·(dP − δ)          [T, S]   of a dropped weight −P·δ, not 0
/// dQ = τ·dS·K              [T, D]
/// dK = τ·dSᵀ·Q             [S, D]   summed over the query heads that share a key head
/// dV = (M·s·P)ᵀ·dO         [S, D]   likewise
/// ```
///
/// Every sum is added in a fixed order, without atomic operations, so equal calls give equal bits.
/// With dropped scores, `P` of a dropped score is 0 and `s` is 1. A query that meets no key adds
/// nothing.
///
/// Source: Dao et al., "FlashAttention", NeurIPS (2022), appendix B.
pub struct AttentionGrad<'a, P: Place> {
    /// `Q [B·T, H·D]`
    pub query: P::In<f32>,
    /// `K [B·S, G·D]`
    pub key: P::In<f32>,
    /// `V [B·S, G·D]`
    pub value: P::In<f32>,
    /// `A` of the forward pass.
    pub bias: Option<P::In<f32>>,
    /// `O [B·T, H·D]`, as the forward pass wrote it.
    pub output: P::In<f32>,
    /// `L [B·T, H]`, as the forward pass wrote it.
    pub logsumexp: P::In<f32>,
    /// `dO [B·T, H·D]`
    pub grad_output: P::In<f32>,
    /// `dQ [B·T, H·D]`, written.
    pub grad_query: P::Out<f32>,
    /// `dK [B·S, G·D]`, written.
    pub grad_key: P::Out<f32>,
    /// `dV [B·S, G·D]`, written.
    pub grad_value: P::Out<f32>,
    /// Rule of the forward pass.
    pub rule: AttentionRule<'a>,
}

impl<P: Place> Call<P> for AttentionGrad<'_, P> {
    fn check(&self) -> Result<()> {
        let kernel = "attention_grad";
        let tensors = [&self.query, &self.key, &self.value];
        check_attention(kernel, tensors, self.bias.as_ref(), &self.rule)?;
        let [queries, keys] = [(self.query.rows(), self.query.cols()), (self.key.rows(), self.key.cols())];
        expect(kernel, "output", &self.output, queries.0, queries.1)?;
        expect(kernel, "logsumexp", &self.logsumexp, queries.0, self.rule.heads)?;
        expect(kernel, "grad_output", &self.grad_output, queries.0, queries.1)?;
        expect(kernel, "grad_query", &self.grad_query, queries.0, queries.1)?;
        expect(kernel, "grad_key", &self.grad_key, keys.0, keys.1)?;
        expect(kernel, "grad_value", &self.grad_value, keys.0, keys.1)
    }

    fn plan<'p>(&'p self, planner: &Planner) -> Result<Plan<'p>>
    where
        P: DevicePlace,
    {
        self.check()?;
        let [query, key, value] = [&self.query, &self.key, &self.value].map(P::read);
        let [output, logsumexp] = [&self.output, &self.logsumexp].map(P::read);
        let bias = self.bias.as_ref().map(P::read);
        let grads = Grads {
            output,
            grad_output: P::read(&self.grad_output),
            query: P::written(&self.grad_query),
            key: P::written(&self.grad_key),
            value: P::written(&self.grad_value),
        };
        let mut operands = vec![
            read("query", query),
            read("key", key),
            read("value", value),
            read("output", output),
            read("logsumexp", logsumexp),
            read("grad_output", grads.grad_output),
            write("grad_query", grads.query),
            write("grad_key", grads.key),
            write("grad_value", grads.value),
        ];
        operands.extend(bias.map(|bias| read("bias", bias)));
        check_tensors(Stem::AttentionSlopes, &operands)?;
        let tensors = Tensors { query, key, value, bias, logsumexp };
        match fused::backward(planner, tensors, grads, &self.rule)? {
            Some(plan) => Ok(plan),
            None => unfused::backward(planner, tensors, grads, &self.rule),
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
        let results = AttentionResults {
            output: P::values(&self.output),
            logsumexp: P::values(&self.logsumexp),
            grad_output: P::values(&self.grad_output),
        };
        let (query, key) = (P::values_mut(&mut self.grad_query), P::values_mut(&mut self.grad_key));
        let value = P::values_mut(&mut self.grad_value);
        match isa {
            Some(isa) => {
                let grads = fast::AttentionGrads { query, key, value };
                fast::attention_grad(isa, factors, results, grads, &self.rule);
            }
            None => {
                reference::attention_grad(factors, results, [query, key, value], &self.rule);
            }
        }
    }
}

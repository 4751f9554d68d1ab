//! Attention against a plain matrix product: without dropout, with it, causal, and with its
//! backward pass.

use super::work::{Bound, Entry, Timed, Work, filled};
use std::time::Duration;
use wgpu_dropout::call::{Attention, AttentionGrad, AttentionRule, LinearForward, Reach};
use wgpu_dropout::{Backend, Dropout, Key, Mask, Mode, Rate, Result};

/// Rows, columns and terms of the plain product.
const PRODUCT: usize = 1024;

/// Returns the kernels for `[heads, queries, numbers of a head]`, with as many keys as queries. A
/// backward pass has five products where the forward pass has two.
pub fn entries([heads, queries, width]: [usize; 3]) -> Vec<Entry> {
    let product = 2 * (heads * width) as u64 * (queries * queries) as u64;
    let tensor = 4 * (heads * queries * width) as u64;
    let entry = |kernel, flops, tensors| Entry {
        kernel,
        shape: vec![heads, queries, width],
        dtype: "f32",
        bytes: tensors * tensor,
        flops,
        bound: Bound::Flops,
        per_call: 1,
    };
    let square = PRODUCT as u64;
    vec![
        Entry {
            shape: vec![PRODUCT; 3],
            bytes: 12 * square * square,
            ..entry("matmul", 2 * square.pow(3), 0)
        },
        entry("attention_plain", 2 * product, 4),
        entry("attention", 2 * product, 4),
        entry("attention_causal", product, 4),
        entry("attention_grad", 5 * product, 8),
    ]
}

/// Queries, keys and values, the results of both passes, and the factors of the product.
pub struct Heads<'a, B: Backend> {
    backend: &'a mut B,
    inputs: [B::Tensor<f32>; 4],
    output: B::Tensor<f32>,
    logsumexp: B::Tensor<f32>,
    grads: [B::Tensor<f32>; 3],
    factors: [B::Tensor<f32>; 2],
    product: B::Tensor<f32>,
    /// Heads and queries.
    sizes: [usize; 2],
    dropout: Dropout,
}

impl<'a, B: Backend> Heads<'a, B> {
    /// Creates the tensors, and dropout of a tenth of the weights.
    pub fn new(backend: &'a mut B, [heads, queries, width]: [usize; 3], key: Key) -> Result<Self> {
        let (rows, cols) = (queries, heads * width);
        let mut input = |tensor| filled(backend, tensor, rows, cols);
        let inputs = [input(0)?, input(1)?, input(2)?, input(3)?];
        let mut factor = |tensor| filled(backend, tensor, PRODUCT, PRODUCT);
        let factors = [factor(4)?, factor(5)?];
        let mut zeros = || backend.zeros(rows, cols);
        let grads = [zeros()?, zeros()?, zeros()?];
        let mut heads_of = Self {
            inputs,
            output: zeros()?,
            logsumexp: backend.zeros(rows, heads)?,
            grads,
            factors,
            product: backend.zeros(PRODUCT, PRODUCT)?,
            sizes: [heads, queries],
            dropout: Dropout::train(Mode::Inverted, Mask::new(Rate::drop(0.1)?, key)),
            backend,
        };
        // The backward pass reads what the forward pass wrote.
        heads_of.forward(Reach::All, heads_of.dropout)?;
        Ok(heads_of)
    }

    fn rule(&self, reach: Reach, dropout: Dropout) -> AttentionRule<'static> {
        let [heads, queries] = self.sizes;
        AttentionRule { reach, dropout, ..AttentionRule::whole(1, heads, queries) }
    }

    fn forward(&mut self, reach: Reach, dropout: Dropout) -> Result<()> {
        let rule = self.rule(reach, dropout);
        let Self { backend, inputs: [query, key, value, _], output, logsumexp, .. } = self;
        backend.run(Attention {
            query: &*query,
            key: &*key,
            value: &*value,
            bias: None,
            output,
            logsumexp,
            rule,
        })
    }

    fn backward(&mut self) -> Result<()> {
        let rule = self.rule(Reach::All, self.dropout);
        let Self { backend, inputs: [query, key, value, grad], output, logsumexp, grads, .. } =
            self;
        let [grad_query, grad_key, grad_value] = grads;
        backend.run(AttentionGrad {
            query: &*query,
            key: &*key,
            value: &*value,
            bias: None,
            output: &*output,
            logsumexp: &*logsumexp,
            grad_output: &*grad,
            grad_query,
            grad_key,
            grad_value,
            rule,
        })
    }
}

impl<B: Timed> Work for Heads<'_, B> {
    fn call(&mut self, entry: usize) -> Result<()> {
        let dropout = self.dropout;
        match entry {
            0 => {
                let Self { backend, factors: [x, weight], product: y, .. } = self;
                let (bias, relu, dropout) = (None, false, Dropout::NONE);
                backend.run(LinearForward { x: &*x, weight: &*weight, bias, y, relu, dropout })
            }
            1 => self.forward(Reach::All, Dropout::NONE),
            2 => self.forward(Reach::All, dropout),
            3 => self.forward(Reach::Causal, dropout),
            _ => self.backward(),
        }
    }

    fn finish(&mut self) -> Result<Option<Duration>> {
        self.backend.finish()
    }
}

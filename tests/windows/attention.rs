//! Attention: blocks of queries, windows of keys, and sums in parts.

use super::{equal, on_both_plans, site};
use crate::common::{noise, poisoned};
use wgpu_dropout::Backend;
use wgpu_dropout::call::{Attention, AttentionGrad, AttentionRule, Reach};
use wgpu_dropout::gpu::{Gpu, Tile};

#[test]
fn attention_in_blocks_and_windows() {
    // A head of all keys, with the others beside it, exceeds a binding of the weak device.
    let (heads, key_heads, queries, keys, width) = (6, 3, 200, 300, 48);
    for tile in [Tile::Register, Tile::Shuffle] {
        for (reach, with_bias) in [(Reach::All, true), (Reach::Causal, false)] {
            let run = |gpu: &mut Gpu| {
                let rule = AttentionRule {
                    key_heads,
                    reach,
                    dropout: site(0.7, 0, 0),
                    ..AttentionRule::whole(1, heads, queries)
                };
                let [q, grad] = [1, 2].map(|seed| {
                    let values = noise(seed, queries * heads * width);
                    gpu.tensor(queries, heads * width, &values).unwrap()
                });
                let [k, v] = [3, 4].map(|seed| {
                    let values = noise(seed, keys * key_heads * width);
                    gpu.tensor(keys, key_heads * width, &values).unwrap()
                });
                let bias = noise(5, heads * queries * keys);
                let bias = gpu.tensor(heads * queries, keys, &bias).unwrap();
                let bias = with_bias.then_some(&bias);
                let mut output = poisoned(gpu, queries, heads * width);
                let mut logsumexp = poisoned(gpu, queries, heads);
                gpu.run(Attention {
                    query: &q,
                    key: &k,
                    value: &v,
                    bias,
                    output: &mut output,
                    logsumexp: &mut logsumexp,
                    rule,
                })
                .unwrap();
                let mut dq = poisoned(gpu, queries, heads * width);
                let [mut dk, mut dv] = [(); 2].map(|()| poisoned(gpu, keys, key_heads * width));
                gpu.run(AttentionGrad {
                    query: &q,
                    key: &k,
                    value: &v,
                    bias,
                    output: &output,
                    logsumexp: &logsumexp,
                    grad_output: &grad,
                    grad_query: &mut dq,
                    grad_key: &mut dk,
                    grad_value: &mut dv,
                    rule,
                })
                .unwrap();
                [&output, &logsumexp, &dq, &dk, &dv]
                    .map(|tensor| gpu.read(tensor).unwrap())
                    .concat()
            };
            equal("attention", on_both_plans(tile, run));
        }
    }
}

//! Checks attention against the f64 oracle.

use super::check::{Tally, poisoned};
use super::form::Form;
use super::random::Cases;
use super::shapes::sites;
use crate::call::{Attention, AttentionGrad, AttentionRule, Dropped, Reach};
use crate::cpu::reference::{AttentionFactors, AttentionResults};
use crate::{AttentionPlace, Backend, Result, oracle};

/// Sequences, query heads, key heads, queries, keys and numbers of a head: one, ragged, whole
/// vectors, and several tiles.
const SHAPES: [[usize; 6]; 4] =
    [[1, 1, 1, 1, 1, 1], [2, 3, 1, 7, 13, 5], [1, 4, 2, 40, 72, 16], [1, 1, 1, 70, 130, 64]];

/// Checks both passes with every kind of mask, reach and bias.
pub(super) fn attentions<B: Backend>(
    form: &mut Form<B>,
    cases: &mut Cases,
    tally: &mut Tally,
) -> Result<()> {
    for [sequences, heads, key_heads, queries, keys, width] in SHAPES {
        for (i, dropout) in sites(cases).into_iter().enumerate() {
            let place = AttentionPlace {
                sequence: 3,
                head: 1,
                heads: heads as u64 + 2,
                query: 20,
                key: [0, 8, 13][i % 3],
                pitch: 20 + queries as u64,
            };
            let rule = AttentionRule {
                key_heads,
                reach: [Reach::All, Reach::Causal, Reach::Window(9)][i % 3],
                place,
                dropout,
                dropped: [Dropped::Weights, Dropped::Scores][i % 2],
                ..AttentionRule::whole(sequences, heads, queries)
            };
            let q = [sequences * queries, heads * width];
            let k = [sequences * keys, key_heads * width];
            let [query, grad_output] = [0; 2].map(|_| cases.noise(q[0] * q[1]));
            let [key, value] = [0; 2].map(|_| cases.noise(k[0] * k[1]));
            let bias = (i % 2 == 1).then(|| cases.noise(heads * queries * keys));
            let factors = AttentionFactors {
                query: &query,
                key: &key,
                value: &value,
                bias: bias.as_deref().map(|bias| (bias, keys)),
                width,
            };
            let on = &mut form.backend;
            let bias = match &bias {
                Some(bias) => Some(on.tensor(heads * queries, keys, bias)?),
                None => None,
            };
            let [q_of, grad_of] = [&query, &grad_output].map(|x| on.tensor(q[0], q[1], x));
            let [k_of, v_of] = [&key, &value].map(|x| on.tensor(k[0], k[1], x));
            let (q_of, k_of, v_of, grad_of) = (q_of?, k_of?, v_of?, grad_of?);
            let (mut o, mut l) = (poisoned(on, q[0], q[1])?, poisoned(on, q[0], heads)?);
            on.run(Attention {
                query: &q_of,
                key: &k_of,
                value: &v_of,
                bias: bias.as_ref(),
                output: &mut o,
                logsumexp: &mut l,
                rule,
            })?;
            let mut dq = poisoned(on, q[0], q[1])?;
            let (mut dk, mut dv) = (poisoned(on, k[0], k[1])?, poisoned(on, k[0], k[1])?);
            on.run(AttentionGrad {
                query: &q_of,
                key: &k_of,
                value: &v_of,
                bias: bias.as_ref(),
                output: &o,
                logsumexp: &l,
                grad_output: &grad_of,
                grad_query: &mut dq,
                grad_key: &mut dk,
                grad_value: &mut dv,
                rule,
            })?;
            let (output, logsumexp) = (on.read(&o)?, on.read(&l)?);
            let results = AttentionResults {
                output: &output,
                logsumexp: &logsumexp,
                grad_output: &grad_output,
            };
            let what = format!("{} {heads}x{queries}x{keys}x{width} {dropout:?}", form.name);
            let [exact_o, exact_l] = oracle::attention(&factors, &rule);
            tally.compare(exact_o.check(&format!("attention {what}"), &output));
            tally.compare(exact_l.check(&format!("logsumexp {what}"), &logsumexp));
            let exact = oracle::attention_grad(&factors, &results, &rule);
            for (exact, got) in exact.iter().zip([&dq, &dk, &dv]) {
                tally.compare(exact.check(&format!("attention_grad {what}"), &on.read(got)?));
            }
        }
    }
    Ok(())
}

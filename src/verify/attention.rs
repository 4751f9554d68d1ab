//! Checks attention against the f64 oracle.

use super::check::{Tally, poisoned};
use super::form::Form;
use super::random::Cases;
use crate::call::{Attention, AttentionGrad, AttentionRule, Dropped, Reach};
use crate::cpu::reference::{AttentionFactors, AttentionResults};
use crate::{AttentionPlace, Backend, Dropout, Mask, Mode, Rate, Result, oracle};

/// Keys and numbers of a head: loads of one, four and eight scores, and heads in whole vectors and
/// not, of more numbers than one pass of the fused kernel takes.
const SIZES: [[usize; 2]; 3] = [[13, 70], [12, 72], [16, 72]];

/// Checks both passes, with what is dropped, a bias and parts of the whole in turn.
pub(super) fn attentions<B: Backend>(
    form: &mut Form<B>,
    cases: &mut Cases,
    tally: &mut Tally,
) -> Result<()> {
    if !form.attention {
        return Ok(());
    }
    let (heads, key_heads, queries) = (2, 1, 5);
    for (i, [keys, width]) in SIZES.into_iter().enumerate() {
        for (j, dropped) in [Dropped::Weights, Dropped::Scores].into_iter().enumerate() {
            for with_bias in [false, true] {
                let (sequences, key) = (1 + j, [0, 8, 13][(i + j) % 3]);
                let place = AttentionPlace {
                    sequence: 3,
                    head: 1,
                    heads: heads as u64 + 2,
                    // The last queries meet all keys.
                    query: key + keys as u64 - 3,
                    key,
                    pitch: 100,
                };
                let mask = Mask::new(Rate::keep(0.7)?, cases.key()).at(0, 0);
                let rule = AttentionRule {
                    key_heads,
                    reach: if with_bias { Reach::Causal } else { Reach::All },
                    place,
                    dropout: Dropout::train(Mode::Inverted, mask),
                    dropped,
                    ..AttentionRule::whole(sequences, heads, queries)
                };
                let q = [sequences * queries, heads * width];
                let k = [sequences * keys, key_heads * width];
                let [query, grad_output] = [0; 2].map(|_| cases.noise(q[0] * q[1]));
                let [key, value] = [0; 2].map(|_| cases.noise(k[0] * k[1]));
                let bias = with_bias.then(|| cases.noise(heads * queries * keys));
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
                let what = format!("{} {keys}×{width} {dropped:?} {with_bias}", form.name);
                let [exact_o, exact_l] = oracle::attention(&factors, &rule);
                tally.compare(exact_o.check(&format!("attention {what}"), &output));
                tally.compare(exact_l.check(&format!("logsumexp {what}"), &logsumexp));
                let exact = oracle::attention_grad(&factors, &results, &rule);
                for (exact, got) in exact.iter().zip([&dq, &dk, &dv]) {
                    tally.compare(exact.check(&format!("attention_grad {what}"), &on.read(got)?));
                }
            }
        }
    }
    Ok(())
}

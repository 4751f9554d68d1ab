//! Plans of attention over blocks of scores in the scratch buffer: products of the other kernels,
//! and between them a kernel that takes rows of scores.
//!
//! A block has some queries of one head, and the keys that any of them meets. Its size is bounded,
//! so the memory needed does not grow with the number of sequences and heads. The order of a sum is
//! one ascending chain, whatever the blocks.

use super::grad_input::GradInputOwn;
use super::grad_weight::GradWeightOwn;
use crate::plan::{
    Binding, FIRST, ForwardOwn, LAST, Params, Plan, Planner, Stem, Variant, View, Window, Work,
    own, sum_part, windows, windows_or_one,
};
use crate::rules::{AttentionRule, Dropped, Sequence, score_factor};
use crate::{Dropout, Result};
use std::ops::Range;

own! {
    /// Own words of `attention_weights` and `attention_slopes`.
    ScoresOwn {
        query: u32,
        lower: u32,
        upper: u32,
        factor: f32,
    }
}

/// Bytes of a block of scores: on an adapter that runs on a CPU, as many as its caches hold.
const BLOCK: [usize; 2] = [64 << 20, 2 << 20];

/// The tensors of an attention, as the planner takes them.
#[derive(Clone, Copy)]
pub(super) struct Tensors<'a> {
    pub query: View<'a>,
    pub key: View<'a>,
    pub value: View<'a>,
    pub bias: Option<View<'a>>,
    pub logsumexp: View<'a>,
}

/// The gradients of an attention, and that of its output.
#[derive(Clone, Copy)]
pub(super) struct Grads<'a> {
    /// `O`, which only the fused kernel reads.
    pub output: View<'a>,
    pub grad_output: View<'a>,
    pub query: View<'a>,
    pub key: View<'a>,
    pub value: View<'a>,
}

/// A block of scores: queries of a head in a sequence, and the keys that some of them meet.
struct Block<'a, 'r> {
    tensors: Tensors<'a>,
    rule: &'r AttentionRule<'r>,
    width: usize,
    index: usize,
    number: u64,
    head: usize,
    /// Rows of the queries and keys in their tensors, and of the first ones in their sequence.
    queries: Range<usize>,
    keys: Range<usize>,
    first: [usize; 2],
}

/// Returns the columns of a head.
fn head_of(view: View<'_>, head: usize, width: usize) -> View<'_> {
    View { offset: view.offset + 4 * (head * width) as u64, cols: width, ..view }
}

/// Plans the forward pass.
pub(super) fn forward<'a>(
    planner: &Planner,
    tensors: Tensors<'a>,
    output: View<'a>,
    rule: &AttentionRule<'_>,
) -> Result<Plan<'a>> {
    let mut plan = Vec::new();
    each_head(tensors, rule, |part| {
        for block in blocks(planner, &part, &[output], 1)? {
            let [scores, _] = block.scratch(planner);
            block.products(planner, &mut plan, [(tensors.query, tensors.key, scores)])?;
            block.rows(planner, &mut plan, Stem::AttentionWeights, [Some(scores), None])?;
            block.sum(planner, &mut plan, scores, tensors.value, output)?;
        }
        Ok(())
    })?;
    Ok(plan)
}

/// Plans the backward pass.
pub(super) fn backward<'a>(
    planner: &Planner,
    tensors: Tensors<'a>,
    grads: Grads<'a>,
    rule: &AttentionRule<'_>,
) -> Result<Plan<'a>> {
    let mut plan = Vec::new();
    each_head(tensors, rule, |part| {
        // The first head of a group begins the sums over keys, with no terms.
        if part.head.is_multiple_of(rule.heads / rule.key_heads) {
            let none = Block { queries: 0..0, keys: part.keys.clone(), ..part };
            let [scores, _] = none.scratch(planner);
            for to in [grads.key, grads.value] {
                none.add(planner, &mut plan, scores, (grads.grad_output, 0..0), (to, FIRST))?;
            }
        }
        for block in blocks(planner, &part, &[grads.grad_output, grads.query], 2)? {
            let [scores, slopes] = block.scratch(planner);
            block.products(
                planner,
                &mut plan,
                [(tensors.query, tensors.key, scores), (grads.grad_output, tensors.value, slopes)],
            )?;
            let both = [Some(scores), Some(slopes)];
            block.rows(planner, &mut plan, Stem::AttentionSlopes, both)?;
            let rows = block.queries.clone();
            for (from, of, to) in
                [(slopes, grads.grad_output, grads.value), (scores, tensors.query, grads.key)]
            {
                block.add(planner, &mut plan, from, (of, rows.clone()), (to, 0))?;
            }
            block.sum(planner, &mut plan, scores, tensors.key, grads.query)?;
        }
        Ok(())
    })?;
    Ok(plan)
}

/// Calls `plan` with all queries and keys of each head of each sequence.
fn each_head<'a>(
    tensors: Tensors<'a>,
    rule: &AttentionRule<'_>,
    mut plan: impl FnMut(Block<'a, '_>) -> Result<()>,
) -> Result<()> {
    let width = tensors.query.cols / rule.heads;
    for index in 0..rule.count() {
        let Sequence { queries, keys, number } =
            rule.sequence(index, tensors.query.rows, tensors.key.rows);
        for head in 0..rule.heads {
            let first = [queries.start, keys.start];
            let (queries, keys) = (queries.clone(), keys.clone());
            plan(Block { tensors, rule, width, index, number, head, queries, keys, first })?;
        }
    }
    Ok(())
}

/// Cuts the queries of a head into blocks, of which each has `matrices` matrices of scores. A
/// binding holds those, and a block's rows of each tensor of queries; `more` are those that not
/// both passes have.
fn blocks<'a, 'r, 's>(
    planner: &Planner,
    part: &'s Block<'a, 'r>,
    more: &[View<'a>],
    matrices: usize,
) -> Result<impl Iterator<Item = Block<'a, 'r>> + use<'a, 'r, 's>> {
    let (all, tensors) = (part.keys.len(), part.tensors);
    let mut strides = vec![
        ("scores", all.next_multiple_of(8)),
        ("query", tensors.query.stride),
        ("logsumexp", tensors.logsumexp.stride),
    ];
    strides.extend(tensors.bias.map(|bias| ("bias", bias.stride)));
    strides.extend(more.iter().map(|view| ("output", view.stride)));
    let bytes = BLOCK[usize::from(planner.wide)] / matrices;
    let rows = (bytes / (4 * all.next_multiple_of(8)).max(1)).max(64) / 64 * 64;
    let rows = rows.min(planner.rows_per_budget(all.max(1), part.width));
    let rows = planner.common_rows(rows, &strides, 4)?;
    Ok(part.queries.clone().step_by(rows).map(move |from| {
        let queries = from..part.queries.end.min(from + rows);
        let [first, last] = [queries.start, queries.end - 1]
            .map(|query| part.rule.keys_of(query - part.first[0], all));
        // From a whole vector on.
        let start = first.start / 8 * 8;
        let end = last.end.max(start);
        let keys = part.first[1] + start..part.first[1] + end;
        Block { queries, keys, ..*part }
    }))
}

impl<'a> Block<'a, '_> {
    /// The two matrices of scores in the scratch buffer.
    fn scratch(&self, planner: &Planner) -> [Window<'a>; 2] {
        let (rows, cols) = (self.queries.len(), self.keys.len());
        let stride = cols.next_multiple_of(8);
        let size = (4 * rows * stride).max(32) as u64;
        let place = |index: u64| Window {
            binding: Binding {
                buffer: None,
                offset: index * size.next_multiple_of(planner.align),
                size,
            },
            start: 0,
            stride: stride as u32,
            cols: cols as u32,
            element: 4,
        };
        [place(0), place(1)]
    }

    /// The rows of a head of a tensor of queries or keys, as many as a binding holds.
    fn rows_of(
        &self,
        planner: &Planner,
        (view, rows): (View<'a>, Range<usize>),
        head: usize,
    ) -> Window<'a> {
        planner.window(head_of(view, head, self.width), 4, rows.start, rows.len())
    }

    /// Most keys that a binding holds of a tensor.
    fn most_keys(&self, planner: &Planner, view: View<'a>) -> Result<usize> {
        let most = planner.common_rows(self.keys.len(), &[("key", view.stride)], 4)?;
        Ok(sum_part(self.keys.len(), most.min(planner.terms_per_dispatch())))
    }

    fn key_head(&self) -> usize {
        self.rule.key_head(self.head)
    }

    /// Products of rows of queries and of keys: scores before their factor, or `dO·Vᵀ`.
    fn products<const N: usize>(
        &self,
        planner: &Planner,
        plan: &mut Plan<'a>,
        products: [(View<'a>, View<'a>, Window<'a>); N],
    ) -> Result<()> {
        for (left, right, to) in products {
            let left = self.rows_of(planner, (left, self.queries.clone()), self.head);
            for (from, count) in windows(self.keys.len(), self.most_keys(planner, right)?) {
                let keys = self.keys.start + from..self.keys.start + from + count;
                let right = self.rows_of(planner, (right, keys), self.key_head());
                let tensors = &[right, left, left, to.after_col(from), left];
                let work = Work {
                    variant: Variant::new(Stem::GradInput).with("GATE", "none"),
                    tensors,
                    params: Params::of(self.queries.len(), count),
                    own: GradInputOwn { inner: self.width as u32, ..GradInputOwn::default() },
                    loops: 0,
                };
                plan.extend(planner.product(work, tensors)?);
            }
        }
        Ok(())
    }

    /// The kernel that takes rows of scores.
    fn rows(
        &self,
        planner: &Planner,
        plan: &mut Plan<'a>,
        stem: Stem,
        [scores, grads]: [Option<Window<'a>>; 2],
    ) -> Result<()> {
        let Self { rule, .. } = self;
        let (rows, cols) = (self.queries.len(), self.keys.len());
        let [query, key] = [self.queries.start - self.first[0], self.keys.start - self.first[1]];
        let mask = rule.mask(self.number, self.head);
        let dropout = Dropout { mask, ..rule.dropout };
        let [lower, upper] = rule.distances(0, key);
        let view = self.tensors.logsumexp;
        let logsumexp = View { offset: view.offset + 4 * self.head as u64, cols: 1, ..view };
        let logsumexp = planner.window(logsumexp, 4, self.queries.start, rows);
        let bias = match self.tensors.bias {
            None => None,
            Some(bias) => {
                let all = self.tensors.query.rows;
                let row = rule.bias_row(self.index, self.head, bias.rows, all) + query;
                Some(planner.window(bias, 4, row, rows).after_col(key))
            }
        };
        let wide: Vec<Window<'a>> = scores.into_iter().chain(grads).collect();
        let scores_dropped = rule.dropped == Dropped::Scores;
        let variant = Variant::new(stem)
            .with_if("BIAS", bias.is_some())
            .with("DROPPED", if scores_dropped { "scores" } else { "weights" });
        let tensors: Vec<Window<'a>> =
            wide.iter().copied().chain([logsumexp]).chain([bias.unwrap_or(logsumexp)]).collect();
        let strips = cols.div_ceil(8) as u64;
        let work = Work {
            variant: Variant { width: planner.width(&wide, true), ..variant },
            tensors: &tensors,
            params: Params::of(rows, cols).with_dropout(&dropout, query, key),
            own: ScoresOwn { query: query as u32, lower, upper, factor: score_factor(self.width) },
            loops: 3 * (1 + 4 * strips),
        };
        plan.extend(planner.dispatch(work, (rows as u64).div_ceil(64))?);
        Ok(())
    }

    /// `to = scores·of`, a sum over keys: `O`, or `dQ`.
    fn sum(
        &self,
        planner: &Planner,
        plan: &mut Plan<'a>,
        scores: Window<'a>,
        of: View<'a>,
        to: View<'a>,
    ) -> Result<()> {
        let to = self.rows_of(planner, (to, self.queries.clone()), self.head);
        let all = self.keys.len();
        let most = self.most_keys(planner, of)?;
        for (from, count) in windows_or_one(all, most) {
            let keys = self.keys.start + from..self.keys.start + from + count;
            let of = self.rows_of(planner, (of, keys), self.key_head());
            let mut flags = if from == 0 { FIRST } else { 0 };
            flags |= if from + count == all { LAST } else { 0 };
            let params = Params::of(self.queries.len(), self.width);
            let scores = scores.after_col(from);
            let work = Work {
                variant: Variant::new(Stem::LinearForward).with_if("PART", count < all),
                tensors: &[scores, of, of, to],
                params: params.with_dropout(&Dropout::NONE, 0, 0),
                own: ForwardOwn { inner: count as u32, terms: 0, flags },
                loops: 0,
            };
            plan.extend(planner.product(work, &[scores, of, to])?);
        }
        Ok(())
    }

    /// `to += scoresᵀ·of`, a sum over queries: `dK` or `dV`.
    fn add(
        &self,
        planner: &Planner,
        plan: &mut Plan<'a>,
        scores: Window<'a>,
        (of, rows): (View<'a>, Range<usize>),
        (to, flags): (View<'a>, u32),
    ) -> Result<()> {
        let terms = rows.len();
        let of = self.rows_of(planner, (of, rows), self.head);
        // There is no gradient of a bias: its place, behind the scores, is never touched.
        let [_, behind] = self.scratch(planner);
        let end = 2 * behind.binding.offset;
        let nothing = Window { binding: Binding { buffer: None, offset: end, size: 32 }, ..behind };
        for (from, count) in windows(self.keys.len(), self.most_keys(planner, to)?) {
            let keys = self.keys.start + from..self.keys.start + from + count;
            let to = self.rows_of(planner, (to, keys), self.key_head());
            let scores = scores.after_col(from);
            let variant = Variant::new(Stem::GradWeight).with("GATE", "none").with("PART", "yes");
            let work = Work {
                variant,
                tensors: &[scores, of, of, to, nothing],
                params: Params::of(count, self.width),
                own: GradWeightOwn { inner: terms as u32, terms: 0, flags, bias_row: u32::MAX },
                loops: 0,
            };
            plan.extend(planner.product(work, &[scores, of, to])?);
        }
        Ok(())
    }
}

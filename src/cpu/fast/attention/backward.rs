//! `attention_grad`: jobs of a key head, or of a block of keys or queries if there are few heads.
//!
//! A job that owns a key head computes each block of scores once, for all three gradients, with
//! five products. With fewer heads than threads, jobs of a block of keys compute `dK` and `dV`, and
//! jobs of a block of queries `dQ`, with seven products together. Both add in the same order, so
//! their bits are the same.
#![allow(unsafe_code)]

use super::super::product::{Lanes, Shared, with_local, with_packed};
use super::super::row::{RowKey, Site};
use super::weights::{Slopes, Steps};
use super::{Job, KEYS, Left, Output, Part, Right, shared, take};
use crate::cpu::fast::Isa;
use crate::cpu::reference::{AttentionFactors, AttentionResults};
use crate::rules::{AttentionRule, Dropped, score_factor};
use rayon::prelude::*;
use std::ops::Range;

/// Queries of a block, a multiple of the lanes of every vector.
const QUERIES: usize = 96;

/// The gradients of queries, keys and values.
pub struct AttentionGrads<'a> {
    /// `dQ`, with the shape of the queries.
    pub query: &'a mut [f32],
    /// `dK`, with the shape of the keys.
    pub key: &'a mut [f32],
    /// `dV`, with the shape of the values.
    pub value: &'a mut [f32],
}

/// Computes `dQ`, `dK` and `dV`.
pub fn attention_grad(
    isa: Isa,
    factors: AttentionFactors<'_>,
    results: AttentionResults<'_>,
    grads: AttentionGrads<'_>,
    rule: &AttentionRule<'_>,
) {
    let job = Job::new(isa, factors, rule);
    let (width, cols) = (factors.width, job.kernel.cols);
    let transposed = Job::panels(KEYS, cols, width);
    let [of_keys, of_queries] = [KEYS, QUERIES].map(|rows| Job::panels(width, cols, rows));
    let left = Job::panels(QUERIES, job.height(QUERIES), width);
    let mut first_query_block = 0;
    let query_blocks = (job.parts.iter())
        .map(|part| {
            let first = first_query_block;
            first_query_block += part.sequence.queries.len().div_ceil(QUERIES) * rule.heads;
            first
        })
        .collect();
    let backward = Backward {
        results,
        key_block: 2 * transposed + of_keys,
        transposed,
        query_block: 2 * (left + of_queries) + 2 * QUERIES,
        left,
        of_queries,
        query_blocks,
        grads: [shared(grads.query), shared(grads.key), shared(grads.value)],
        job,
    };
    let job = &backward.job;
    let keys = backward.key_block * job.blocks();
    with_packed(keys + backward.query_block * first_query_block, |packed| {
        let (keys, queries) = packed.split_at_mut(keys);
        keys.par_chunks_mut(backward.key_block.max(1)).enumerate().for_each(|(index, to)| {
            let part = job.parts.partition_point(|part| part.first_block <= index) - 1;
            backward.pack_keys(&job.parts[part], index - job.parts[part].first_block, to);
        });
        queries.par_chunks_mut(backward.query_block.max(1)).enumerate().for_each(|(index, to)| {
            let part = backward.query_blocks.partition_point(|first| *first <= index) - 1;
            backward.pack_queries(part, index - backward.query_blocks[part], to);
        });
        let packed = (&*keys, &*queries);
        let heads: Vec<(usize, usize)> = (0..job.parts.len())
            .flat_map(|part| (0..rule.key_heads).map(move |head| (part, head)))
            .collect();
        if heads.len() >= rayon::current_num_threads() {
            heads.into_par_iter().with_max_len(1).for_each(|(part, head)| {
                let blocks = 0..job.parts[part].blocks;
                backward.run(part, head, blocks, None, packed);
                backward.without_keys(part, head);
            });
        } else {
            for (part, head) in heads {
                let blocks = job.parts[part].blocks;
                (0..blocks).into_par_iter().with_max_len(1).for_each(|block| {
                    backward.run(part, head, block..block + 1, Some(Only::Keys), packed);
                });
                let group = backward.group(head);
                let queries = job.parts[part].sequence.queries.len().div_ceil(QUERIES);
                (0..queries * group.len()).into_par_iter().with_max_len(1).for_each(|at| {
                    let only = Only::Queries(group.start + at / queries, at % queries);
                    backward.run(part, head, 0..blocks, Some(only), packed);
                });
                backward.without_keys(part, head);
            }
        }
    });
}

/// The gradients of a job that does not compute all three.
#[derive(Clone, Copy)]
enum Only {
    /// `dK` and `dV`.
    Keys,
    /// `dQ` of a query head and a block of queries.
    Queries(usize, usize),
}

/// Arguments of [`attention_grad`], shared by its jobs.
struct Backward<'a> {
    job: Job<'a>,
    results: AttentionResults<'a>,
    /// Elements of a packed block of keys: Kᵀ and Vᵀ, then K, as right factors.
    key_block: usize,
    /// Elements of Kᵀ or Vᵀ.
    transposed: usize,
    /// Elements of a packed block of queries: Q and dO as left factors, then as right ones, then
    /// logsumexp and δ.
    query_block: usize,
    left: usize,
    of_queries: usize,
    /// Where the blocks of queries of each sequence begin.
    query_blocks: Vec<usize>,
    grads: [Shared<'a>; 3],
}

impl Backward<'_> {
    /// The query heads that meet a key head.
    fn group(&self, key_head: usize) -> Range<usize> {
        let size = self.job.rule.heads / self.job.rule.key_heads;
        key_head * size..(key_head + 1) * size
    }

    /// Packs a block of keys and values, numbered among those of a sequence.
    fn pack_keys(&self, part: &Part, index: usize, to: &mut [f32]) {
        let job = &self.job;
        let (head, block) = (index / part.blocks, index % part.blocks);
        let keys = job.keys_of_block(part, block);
        let rows = part.sequence.keys.start + keys.start..part.sequence.keys.start + keys.end;
        let (heads, cols) = (job.rule.key_heads, job.kernel.cols);
        let (keys, rest) = to.split_at_mut(self.transposed);
        let (values, lines) = rest.split_at_mut(self.transposed);
        job.pack((job.factors.key, heads), head, rows.clone(), Lanes::Rows, cols, keys);
        job.pack((job.factors.value, heads), head, rows.clone(), Lanes::Rows, cols, values);
        job.pack((job.factors.key, heads), head, rows, Lanes::Cols, cols, lines);
    }

    /// Packs a block of queries and of their results, numbered among those of a sequence, and
    /// computes δ = Σ dO·O.
    fn pack_queries(&self, part: usize, index: usize, to: &mut [f32]) {
        let (job, part) = (&self.job, &self.job.parts[part]);
        let (heads, width, cols) = (job.rule.heads, job.factors.width, job.kernel.cols);
        let all = part.sequence.queries.len();
        let blocks = all.div_ceil(QUERIES);
        let (head, block) = (index / blocks, index % blocks);
        let first = part.sequence.queries.start;
        let rows = first + block * QUERIES..first + all.min((block + 1) * QUERIES);
        let height = job.height(rows.len());
        let mut rest = to;
        let left = [0; 2].map(|_| take(&mut rest, self.left));
        let right = [0; 2].map(|_| take(&mut rest, self.of_queries));
        let [logsumexp, delta] = [0; 2].map(|_| take(&mut rest, QUERIES));
        let tensors = [job.factors.query, self.results.grad_output];
        for (tensor, (left, right)) in tensors.into_iter().zip(left.into_iter().zip(right)) {
            job.pack((tensor, heads), head, rows.clone(), Lanes::Rows, height, left);
            job.pack((tensor, heads), head, rows.clone(), Lanes::Cols, cols, right);
        }
        for (i, row) in rows.enumerate() {
            let at = (row * heads + head) * width;
            let [grad, output] = [self.results.grad_output, self.results.output]
                .map(|values| &values[at..at + width]);
            logsumexp[i] = self.results.logsumexp[row * heads + head];
            delta[i] = grad.iter().zip(output).map(|(grad, output)| grad * output).sum();
        }
    }

    /// Sets `dQ` of the queries of a key head's group that meet no keys at all.
    fn without_keys(&self, part: usize, key_head: usize) {
        let (job, part) = (&self.job, &self.job.parts[part]);
        let (width, heads) = (job.factors.width, job.rule.heads);
        let queries = part.sequence.queries.len();
        for from in (0..queries).step_by(QUERIES) {
            let queries = from..queries.min(from + QUERIES);
            if job.blocks_of(part, &queries).is_empty() {
                for (row, head) in
                    queries.flat_map(|query| self.group(key_head).map(move |head| (query, head)))
                {
                    let at = ((part.sequence.queries.start + row) * heads + head) * width;
                    // SAFETY: only this job has the queries of this group.
                    unsafe { self.grads[0].part(at..at + width) }.fill(0.0);
                }
            }
        }
    }

    /// Adds up the gradients for some blocks of keys of a key head.
    fn run(
        &self,
        part: usize,
        key_head: usize,
        blocks: Range<usize>,
        only: Option<Only>,
        (packed_keys, packed_queries): (&[f32], &[f32]),
    ) {
        let (job, number, part) = (&self.job, part, &self.job.parts[part]);
        let (kernel, rule, width) = (job.kernel, job.rule, job.factors.width);
        let depth = width.next_multiple_of(kernel.cols);
        let all = part.sequence.queries.len();
        let query_blocks = all.div_ceil(QUERIES);
        let (heads, own_blocks) = match only {
            Some(Only::Queries(head, block)) => (head..head + 1, block..block + 1),
            _ => (self.group(key_head), 0..query_blocks),
        };
        let (to_keys, to_queries) =
            (!matches!(only, Some(Only::Queries(..))), !matches!(only, Some(Only::Keys)));
        with_local(|local| {
            let mut rest = local.block.floats(3 * QUERIES * KEYS + 2 * KEYS * depth);
            let [scores, grads, turned] = [0; 3].map(|_| take(&mut rest, QUERIES * KEYS));
            let [dk, dv] = [0; 2].map(|_| take(&mut rest, KEYS * depth));
            for block in blocks {
                let keys = job.keys_of_block(part, block);
                let at = part.first_block + key_head * part.blocks + block;
                let key = &packed_keys[at * self.key_block..][..self.key_block];
                let mut first = true;
                for (head, queries) in heads
                    .clone()
                    .flat_map(|head| own_blocks.clone().map(move |queries| (head, queries)))
                {
                    let at = self.query_blocks[number] + head * query_blocks + queries;
                    let query = &packed_queries[at * self.query_block..][..self.query_block];
                    let queries = queries * QUERIES..all.min((queries + 1) * QUERIES);
                    let met = job.blocks_of(part, &queries);
                    if !met.contains(&block) {
                        continue;
                    }
                    let right = |index: usize| {
                        let at = 2 * self.left + index * self.of_queries;
                        Right::new(&query[at..], queries.len())
                    };
                    self.slopes(
                        part,
                        head,
                        [queries.clone(), keys.clone()],
                        [key, query],
                        [scores, grads],
                    );
                    let tall = job.height(keys.len());
                    if to_keys {
                        for (weights, index, sums) in
                            [(&*grads, 1, &mut *dv), (&*scores, 0, &mut *dk)]
                        {
                            // SAFETY: the left factor has a row for each query and a column for
                            // each key, the right one is packed for these queries, and the sums
                            // have as many rows and columns.
                            unsafe {
                                job.multiply(
                                    Left::beside(weights, tall, KEYS),
                                    right(index),
                                    Output::new(sums, depth, keys.len(), depth),
                                    first,
                                );
                            }
                        }
                    }
                    if to_queries {
                        let row = part.sequence.queries.start + queries.start;
                        let stride = width * rule.heads;
                        let at = row * stride + head * width;
                        let terms = job.met(part, &queries, block).len();
                        // SAFETY: the blocks have room for whole vectors; the processor has the
                        // steps' instruction set.
                        unsafe {
                            let size = [queries.len(), terms];
                            (Steps::of(job.isa).transpose)(
                                scores.as_ptr(),
                                KEYS,
                                size,
                                turned.as_mut_ptr(),
                                QUERIES,
                            );
                        }
                        // SAFETY: the left factor has a row for each key and a column for each
                        // query, the right one is packed for these keys. Only this job has this
                        // head of these queries, which are rows of dQ.
                        unsafe {
                            job.multiply(
                                Left::beside(turned, job.height(queries.len()), QUERIES),
                                Right::new(&key[2 * self.transposed..], keys.len()).first(terms),
                                Output {
                                    at: self.grads[0].at(at),
                                    step: stride,
                                    rows: queries.len(),
                                    cols: width,
                                },
                                block == met.start,
                            );
                        }
                    }
                    first = false;
                }
                if to_keys {
                    self.store(part, key_head, keys, [dk, dv], first);
                }
            }
        });
    }

    /// Computes τ·dS and the dropped weights of a block `[queries, keys]` into `[scores, grads]`.
    fn slopes(
        &self,
        part: &Part,
        head: usize,
        [queries, keys]: [Range<usize>; 2],
        [key, query]: [&[f32]; 2],
        [scores, grads]: [&mut [f32]; 2],
    ) {
        let (job, rule, width) = (&self.job, self.job.rule, self.job.factors.width);
        let height = job.height(queries.len());
        let padded = keys.len().next_multiple_of(job.kernel.cols).min(KEYS);
        for (index, to) in [&mut *scores, &mut *grads].into_iter().enumerate() {
            // SAFETY: both factors are packed for these rows, and the block has room for them.
            unsafe {
                job.multiply(
                    Left::packed(&query[index * self.left..], height, width),
                    Right::new(&key[index * self.transposed..], width),
                    Output::new(to, KEYS, queries.len(), padded),
                    true,
                );
            }
        }
        let tau = score_factor(width);
        let mut words = [0u64; QUERIES];
        let mut factor = tau;
        for (scores, query) in scores.chunks_exact_mut(KEYS).zip(queries.clone()) {
            let Some(bias) = job.factors.bias_row(rule, part.index, head, query) else { break };
            factor = 1.0;
            for (score, bias) in scores.iter_mut().zip(&bias[keys.clone()]) {
                *score = *score * tau + bias;
            }
        }
        if !job.is_inside(part, &queries, &keys) {
            for (scores, query) in scores.chunks_exact_mut(KEYS).zip(queries.clone()) {
                let met = rule.keys_of(query, part.sequence.keys.len());
                for (score, key) in scores.iter_mut().zip(keys.clone()) {
                    *score = if met.contains(&key) { *score } else { f32::NEG_INFINITY };
                }
            }
        }
        if job.draws {
            let dropout = job.dropout(part, head);
            let site = Site::new(&dropout);
            let rows: Vec<RowKey<'_>> = queries.clone().map(|query| site.row(query)).collect();
            job.draw(&dropout.mask, &rows, keys.start, &mut words);
        }
        let sums = &query[2 * (self.left + self.of_queries)..];
        let slopes = Slopes {
            scores: scores.as_mut_ptr(),
            grads: grads.as_mut_ptr(),
            step: KEYS,
            keys: keys.len(),
            queries: queries.len(),
            factor,
            tau,
            scale: rule.scale(),
            logsumexp: sums.as_ptr(),
            delta: sums[QUERIES..].as_ptr(),
            kept: job.draws.then_some(words.as_ptr()),
            scores_dropped: rule.dropped == Dropped::Scores,
        };
        // SAFETY: the processor has the steps' instruction set, and all blocks have these sizes.
        unsafe { (Steps::of(job.isa).slopes)(&slopes) };
    }

    /// Stores the gradients of a block of keys and values; zeros if `unmet`, where no query meets
    /// them.
    fn store(
        &self,
        part: &Part,
        key_head: usize,
        keys: Range<usize>,
        [dk, dv]: [&mut [f32]; 2],
        unmet: bool,
    ) {
        let (width, heads) = (self.job.factors.width, self.job.rule.key_heads);
        let depth = width.next_multiple_of(self.job.kernel.cols);
        for (grad, sums) in [(&self.grads[1], dk), (&self.grads[2], dv)] {
            for (sums, key) in sums.chunks_exact(depth.max(1)).zip(keys.clone()) {
                let at = ((part.sequence.keys.start + key) * heads + key_head) * width;
                // SAFETY: only this job has this head of these keys.
                let to = unsafe { grad.part(at..at + width) };
                if unmet { to.fill(0.0) } else { to.copy_from_slice(&sums[..width]) }
            }
        }
    }
}

//! `attention`: each job computes a block of queries of one head.
#![allow(unsafe_code)]

use super::super::product::{Lanes, Shared, with_local, with_packed};
use super::super::row::{RowKey, Site};
use super::weights::{Softmax, Steps};
use super::{Job, KEYS, Left, Output, Part, Right, shared, take};
use crate::cpu::fast::Isa;
use crate::cpu::reference::AttentionFactors;
use crate::rules::{AttentionRule, Dropped, score_factor};
use rayon::prelude::*;
use std::ops::Range;

/// Queries of a job, a multiple of the columns of every tile. Their scores with a block of keys take
/// 48 KiB. On a Zen 3, 96 are as fast within 5 %.
const QUERIES: usize = 192;

/// Computes `O = (M·s·softmax(τ·Q·Kᵀ + A))·V` and the logsumexp of the scores.
pub fn attention(
    isa: Isa,
    factors: AttentionFactors<'_>,
    output: &mut [f32],
    logsumexp: &mut [f32],
    rule: &AttentionRule<'_>,
) {
    let job = Job::new(isa, factors, rule);
    let forward = Forward {
        keys: Job::panels(KEYS, job.height(KEYS), factors.width),
        values: Job::panels(factors.width, job.kernel.cols, KEYS),
        output: shared(output),
        logsumexp: shared(logsumexp),
        job,
    };
    let job = &forward.job;
    let size = (forward.keys + forward.values) * job.blocks();
    with_packed(size, |packed| {
        packed.par_chunks_mut((forward.keys + forward.values).max(1)).enumerate().for_each(
            |(index, packed)| {
                let part = job.parts.partition_point(|part| part.first_block <= index) - 1;
                forward.pack(&job.parts[part], index - job.parts[part].first_block, packed);
            },
        );
        // The last queries meet the most keys under a causal rule, so they come first.
        let jobs: Vec<(usize, usize, usize)> = (job.parts.iter().enumerate())
            .flat_map(|(index, part)| {
                let blocks = part.sequence.queries.len().div_ceil(QUERIES);
                (0..blocks * rule.heads)
                    .map(move |at| (index, at % rule.heads, blocks - 1 - at / rule.heads))
            })
            .collect();
        let packed = &*packed;
        jobs.into_par_iter().with_max_len(1).for_each(|(index, head, block)| {
            let part = &job.parts[index];
            let queries = block * QUERIES..part.sequence.queries.len().min((block + 1) * QUERIES);
            forward.block(part, head, queries, packed);
        });
    });
}

/// Arguments of [`attention`], shared by its jobs.
struct Forward<'a> {
    job: Job<'a>,
    /// Elements of a packed block of keys.
    keys: usize,
    /// Elements of a packed block of values.
    values: usize,
    output: Shared<'a>,
    logsumexp: Shared<'a>,
}

impl Forward<'_> {
    /// Packs a block of keys and values, numbered among those of a sequence.
    fn pack(&self, part: &Part, index: usize, to: &mut [f32]) {
        let job = &self.job;
        let (head, block) = (index / part.blocks, index % part.blocks);
        let keys = job.keys_of_block(part, block);
        let height = job.height(keys.len());
        let rows = part.sequence.keys.start + keys.start..part.sequence.keys.start + keys.end;
        let heads = job.rule.key_heads;
        let (to_keys, to_values) = to.split_at_mut(self.keys);
        job.pack((job.factors.key, heads), head, rows.clone(), Lanes::Rows, height, to_keys);
        let cols = job.kernel.cols;
        job.pack((job.factors.value, heads), head, rows, Lanes::Cols, cols, to_values);
    }

    /// Computes the queries `queries` of a head.
    fn block(&self, part: &Part, head: usize, queries: Range<usize>, packed: &[f32]) {
        let Self { job, .. } = self;
        let (kernel, rule, width) = (job.kernel, job.rule, job.factors.width);
        let steps = Steps::of(job.isa);
        let count = queries.len();
        let rows =
            part.sequence.queries.start + queries.start..part.sequence.queries.start + queries.end;
        let depth = width.next_multiple_of(kernel.cols);
        let height = job.height(count);
        let factor = score_factor(width);
        let mut words = [0u64; QUERIES];
        let mut halves = [0u32; 2 * QUERIES];
        let dropout = job.dropout(part, head);
        let site = Site::new(&dropout);
        let row_keys: Vec<RowKey<'_>> = match job.draws {
            true => queries.clone().map(|query| site.row(query)).collect(),
            false => Vec::new(),
        };
        with_local(|local| {
            let query = Job::panels(QUERIES, kernel.cols, width);
            let mut rest = local.block.floats(query + QUERIES * (KEYS + depth + 3));
            let (query, scores) = (take(&mut rest, query), take(&mut rest, KEYS * QUERIES));
            let sums = take(&mut rest, QUERIES * depth);
            let [largest, total, shrink] = [0; 3].map(|_| take(&mut rest, QUERIES));
            job.pack(
                (job.factors.query, rule.heads),
                head,
                rows.clone(),
                Lanes::Rows,
                kernel.cols,
                query,
            );
            largest.fill(-f32::MAX);
            total.fill(0.0);
            let blocks = job.blocks_of(part, &queries);
            let first_block = part.first_block + rule.key_head(head) * part.blocks;
            for block in blocks.clone() {
                let whole = job.keys_of_block(part, block).len();
                let keys = job.met(part, &queries, block);
                let packed = &packed[(first_block + block) * (self.keys + self.values)..];
                let (key, value) = packed[..self.keys + self.values].split_at(self.keys);
                let tall = job.height(whole);
                let padded = count.next_multiple_of(kernel.cols);
                // SAFETY: keys and queries are packed for these numbers of lanes and terms, and the
                // scores have as many rows and columns.
                unsafe {
                    job.multiply(
                        Left::packed(key, tall, width),
                        Right::new(query, width),
                        Output::new(scores, QUERIES, keys.len(), padded),
                        true,
                    );
                }
                let drawn = job.draws.then(|| {
                    job.draw(&dropout.mask, &row_keys, keys.start, &mut words);
                    for (i, word) in words.iter().enumerate().take(count) {
                        (halves[i], halves[QUERIES + i]) = (*word as u32, (word >> 32) as u32);
                    }
                    halves.as_ptr()
                });
                let biased = self.add_bias(part, head, queries.clone(), keys.clone(), scores);
                if !job.is_inside(part, &queries, &keys) {
                    for (i, query) in queries.clone().enumerate() {
                        let met = rule.keys_of(query, part.sequence.keys.len());
                        (keys.clone().enumerate())
                            .filter(|(_, key)| !met.contains(key))
                            .for_each(|(j, _)| scores[j * QUERIES + i] = f32::NEG_INFINITY);
                    }
                }
                let dropped = job.draws && rule.dropped == Dropped::Scores;
                if dropped {
                    for j in 0..keys.len() {
                        let scores = &mut scores[j * QUERIES..][..count];
                        scores.iter_mut().zip(&words).for_each(|(score, word)| {
                            *score = if word >> j & 1 == 1 { *score } else { f32::NEG_INFINITY };
                        });
                    }
                }
                let softmax = Softmax {
                    scores: scores.as_mut_ptr(),
                    step: QUERIES,
                    keys: keys.len(),
                    queries: count,
                    factor: if biased { 1.0 } else { factor },
                    largest: largest.as_mut_ptr(),
                    sums: total.as_mut_ptr(),
                    shrink: shrink.as_mut_ptr(),
                    kept: drawn.filter(|_| !dropped),
                };
                // SAFETY: the processor has the steps' instruction set. The rows have room for
                // whole vectors, and the slices for all queries.
                unsafe { (steps.softmax)(&softmax) };
                let first = block == blocks.start;
                if !first {
                    (sums.chunks_exact_mut(depth).zip(&*shrink).take(count))
                        .filter(|(_, shrink)| **shrink != 1.0)
                        .for_each(|(sums, shrink)| sums.iter_mut().for_each(|sum| *sum *= shrink));
                }
                // SAFETY: the weights have a column for each query, values are packed for these
                // keys, and the sums have as many rows and columns.
                unsafe {
                    job.multiply(
                        Left::beside(scores, height, QUERIES),
                        Right::new(value, whole).first(keys.len()),
                        Output::new(sums, depth, count, depth),
                        first,
                    );
                }
            }
            let scale = rule.scale();
            for (i, row) in rows.enumerate() {
                let at = (row * rule.heads + head) * width;
                // SAFETY: no other job has this head of these rows.
                let (output, logsumexp) = unsafe {
                    let at_sum = row * rule.heads + head;
                    (self.output.part(at..at + width), self.logsumexp.part(at_sum..at_sum + 1))
                };
                if total[i] == 0.0 {
                    output.fill(0.0);
                    logsumexp[0] = f32::NEG_INFINITY;
                } else {
                    let factor = scale / total[i];
                    let sums = &sums[i * depth..][..width];
                    output.iter_mut().zip(sums).for_each(|(o, sum)| *o = sum * factor);
                    logsumexp[0] = largest[i] + total[i].ln();
                }
            }
        });
    }

    /// Applies factor and bias to a block of scores `[keys, queries]`; returns false if there is no
    /// bias.
    fn add_bias(
        &self,
        part: &Part,
        head: usize,
        queries: Range<usize>,
        keys: Range<usize>,
        scores: &mut [f32],
    ) -> bool {
        let job = &self.job;
        let factor = score_factor(job.factors.width);
        for (i, query) in queries.enumerate() {
            let Some(bias) = job.factors.bias_row(job.rule, part.index, head, query) else {
                return false;
            };
            for (j, bias) in bias[keys.clone()].iter().enumerate() {
                let score = &mut scores[j * QUERIES + i];
                *score = *score * factor + bias;
            }
        }
        true
    }
}

//! Plans of the fused kernels `attention` and `attention_grad`, for devices with workgroup memory
//! and enough storage buffers.

use super::unfused::{Grads, Tensors};
use crate::plan::{Params, Plan, Planner, Stem, Variant, View, Width, Window, Work, own};
use crate::rules::{AttentionRule, Dropped, Sequence, Sequences, score_factor};
use crate::{Dropout, Result};
use std::ops::Range;

own! {
    /// Own words of both kernels.
    FusedOwn {
        heads: u32,
        group: u32,
        sequences: u32,
        width: u32,
        first: u32,
        lower: u32,
        upper: u32,
        factor: f32,
        mask_heads: u32,
        pitch: u32,
        bias_rows: u32,
        bias_step: u32,
    }
}

/// Rows and columns of a tile.
const TILE: usize = 64;

/// Most numbers of a head. Scores are computed anew for every 64 of them, so wider heads are better
/// off with stored scores.
const WIDEST: usize = 128;

/// A part of an attention that one dispatch computes: sequences that follow one another, and the
/// same queries and keys of each.
struct Piece {
    /// First of the sequences, and their number.
    index: usize,
    sequences: usize,
    sequence: Sequence,
    /// Queries and keys, counted in a sequence.
    queries: Range<usize>,
    keys: Range<usize>,
}

/// Rows of a tensor.
#[derive(Clone, Copy)]
enum Rows {
    Queries,
    Keys,
    Bias,
}

/// The tensor that a dispatch writes.
#[derive(Clone, Copy)]
enum Target<'t, 'a> {
    /// The output of the forward pass.
    Output(View<'a>),
    /// A gradient, by its name in the shader.
    Grad(&'static str, &'t Grads<'a>),
}

/// Plans the forward pass, if the fused kernel can run it.
pub(super) fn forward<'a>(
    planner: &Planner,
    tensors: Tensors<'a>,
    output: View<'a>,
    rule: &AttentionRule<'_>,
) -> Result<Option<Plan<'a>>> {
    let fused = Fused { planner, tensors, rule };
    let mut plan = Vec::new();
    let done = fused.add(&mut plan, Target::Output(output))?;
    Ok(done.then_some(plan))
}

/// Plans the backward pass, if the fused kernel can run it.
pub(super) fn backward<'a>(
    planner: &Planner,
    tensors: Tensors<'a>,
    grads: Grads<'a>,
    rule: &AttentionRule<'_>,
) -> Result<Option<Plan<'a>>> {
    let fused = Fused { planner, tensors, rule };
    let mut plan = Vec::new();
    for target in ["query", "key", "value"] {
        if !fused.add(&mut plan, Target::Grad(target, &grads))? {
            return Ok(None);
        }
    }
    Ok(Some(plan))
}

struct Fused<'p, 'a, 'r> {
    planner: &'p Planner,
    tensors: Tensors<'a>,
    rule: &'r AttentionRule<'r>,
}

impl<'a> Fused<'_, 'a, '_> {
    fn width(&self) -> usize {
        self.tensors.query.cols / self.rule.heads
    }

    /// Adds the dispatches that compute a target; false if the device cannot run them.
    fn add(&self, plan: &mut Plan<'a>, target: Target<'_, 'a>) -> Result<bool> {
        let Self { planner, tensors, rule } = self;
        let width = self.width();
        let variant = match target {
            Target::Output(_) => Variant::new(Stem::Attention).with("LOGSUMEXP", "yes"),
            Target::Grad(name, _) => Variant::new(Stem::AttentionGrad).with("TARGET", name),
        };
        let variant = variant.with_if("BIAS", tensors.bias.is_some()).with(
            "DROPPED",
            match rule.dropped {
                Dropped::Weights => "weights",
                Dropped::Scores => "scores",
            },
        );
        let views = self.views(target);
        let fits = |view: &View<'_>| view.extent(4) + planner.align + 4 <= planner.binding;
        let can = planner.fused
            && width <= WIDEST
            && variant.tensors() <= planner.buffers as usize
            && views.iter().all(|(view, _)| fits(view));
        if !can {
            return Ok(false);
        }
        let of_keys = matches!(target, Target::Grad("key" | "value", _));
        let mut pieces = Vec::new();
        self.pieces(of_keys, &mut pieces);
        if pieces.iter().any(|piece| self.loops(piece, of_keys) > planner.loops) {
            return Ok(false);
        }
        for piece in pieces {
            for first in (0..width).step_by(TILE) {
                self.dispatch(plan, &piece, (variant, target), first)?;
            }
        }
        Ok(true)
    }

    /// The tensors of a kernel, in the order of its bindings, and the rows of each.
    fn views(&self, target: Target<'_, 'a>) -> Vec<(View<'a>, Rows)> {
        use Rows::{Bias, Keys, Queries};
        let Tensors { query, key, value, bias, logsumexp } = self.tensors;
        let (query, key, value) = ((query, Queries), (key, Keys), (value, Keys));
        let (logsumexp, bias) = ((logsumexp, Queries), (bias.unwrap_or(query.0), Bias));
        match target {
            Target::Output(output) => {
                vec![query, key, value, (output, Queries), logsumexp, bias]
            }
            Target::Grad(name, grads) => {
                let result = match name {
                    "query" => (grads.query, Queries),
                    "key" => (grads.key, Keys),
                    _ => (grads.value, Keys),
                };
                let grad_output = (grads.grad_output, Queries);
                let output = (grads.output, Queries);
                vec![query, key, grad_output, logsumexp, result, value, output, bias]
            }
        }
    }

    /// The pieces whose dispatches stay within the device's budget of operations.
    fn pieces(&self, of_keys: bool, pieces: &mut Vec<Piece>) {
        let (rule, tensors) = (self.rule, self.tensors);
        let operations = |queries: usize, keys: usize| {
            let pairs = (queries * keys) as u64;
            pairs.saturating_mul((8 * self.width() * rule.heads) as u64)
        };
        let all = rule.count();
        let whole = |index| rule.sequence(index, tensors.query.rows, tensors.key.rows);
        if let Sequences::Equal(count @ 1..) = rule.sequences {
            let sequence = whole(0);
            let (queries, keys) = (0..sequence.queries.len(), 0..sequence.keys.len());
            let each = operations(queries.len(), keys.len()).max(1);
            if each <= self.planner.flops {
                let most = usize::try_from(self.planner.flops / each).unwrap_or(count);
                for index in (0..count).step_by(most) {
                    pieces.push(Piece {
                        index,
                        sequences: most.min(count - index),
                        sequence: whole(index),
                        queries: queries.clone(),
                        keys: keys.clone(),
                    });
                }
                return;
            }
        }
        for index in 0..all {
            let sequence = whole(index);
            let (queries, keys) = (0..sequence.queries.len(), 0..sequence.keys.len());
            let (cut, other) = if of_keys { (keys, queries) } else { (queries, keys) };
            let tile = operations(TILE, other.len()).max(1);
            let most = usize::try_from(self.planner.flops / tile).unwrap_or(1).clamp(1, 1 << 20);
            for from in cut.clone().step_by(most * TILE) {
                let part = from..cut.end.min(from + most * TILE);
                let other = other.clone();
                let (queries, keys) = if of_keys { (other, part) } else { (part, other) };
                let sequence = sequence.clone();
                pieces.push(Piece { index, sequences: 1, sequence, queries, keys });
            }
        }
    }

    /// Iterations of a thread's loops.
    fn loops(&self, piece: &Piece, of_keys: bool) -> u64 {
        let other = if of_keys { piece.queries.len() } else { piece.keys.len() + TILE };
        let tiles = other.div_ceil(TILE) as u64;
        let group = if of_keys { self.rule.heads / self.rule.key_heads } else { 1 } as u64;
        let terms = self.width().div_ceil(32) as u64;
        group * (1 + tiles * (2 * (1 + 34 * terms) + 2 * 35 + 16))
    }

    fn dispatch(
        &self,
        plan: &mut Plan<'a>,
        piece: &Piece,
        (variant, target): (Variant, Target<'_, 'a>),
        first: usize,
    ) -> Result<()> {
        let Self { planner, rule, .. } = self;
        let width = self.width();
        let Piece { index, sequence, queries, keys, .. } = piece;
        let (rows, cols) = (queries.len(), keys.len());
        let has_bias = self.tensors.bias.is_some();
        let mut tensors = Vec::new();
        let (mut bias_rows, mut bias_step) = (0, 0);
        for (view, of) in self.views(target) {
            let from = match of {
                Rows::Queries => sequence.queries.start + queries.start,
                Rows::Keys => sequence.keys.start + keys.start,
                Rows::Bias if !has_bias => 0,
                Rows::Bias => {
                    // The rows of the first head, of the next one, and of the next sequence.
                    let row = |index, head| {
                        rule.bias_row(index, head, view.rows, self.tensors.query.rows)
                    };
                    let begin = row(*index, 0);
                    bias_rows = row(*index, 1) - begin;
                    bias_step = row(index + 1, 0) - begin;
                    begin + queries.start
                }
            };
            let window = planner.window(view, 4, from, view.rows - from);
            tensors.push(match of {
                Rows::Bias if has_bias => window.after_col(keys.start),
                _ => window,
            });
        }
        let mask = rule.mask(sequence.number, 0);
        let dropout = Dropout { mask, ..rule.dropout };
        let [lower, upper] = rule.distances(queries.start, keys.start);
        let of_keys = matches!(target, Target::Grad("key" | "value", _));
        let (tiles, heads) = match of_keys {
            true => ((cols + mask_lane(&dropout, keys.start)).div_ceil(TILE), rule.key_heads),
            false => (rows.div_ceil(TILE), rule.heads),
        };
        // A gradient of keys without queries is 0, but queries without keys have results as well.
        let none = if of_keys { cols == 0 } else { rows == 0 };
        if none {
            return Ok(());
        }
        let wide = |window: &Window<'_>| window.is_wide(4);
        let is_wide = width.is_multiple_of(4)
            && variant
                .bindings()
                .all(|(at, _)| self.is_number_by_number(target, at) || wide(&tensors[at]));
        let variant = match target {
            Target::Output(_) => variant.with_if("LOGSUMEXP", first == 0),
            Target::Grad(..) => variant,
        };
        let work = Work {
            variant: Variant {
                width: if is_wide { Width::Vec4 } else { Width::Scalar },
                ..variant
            },
            tensors: &tensors,
            params: Params::of(rows, cols).with_dropout(&dropout, queries.start, keys.start),
            own: FusedOwn {
                heads: rule.heads as u32,
                group: (rule.heads / rule.key_heads) as u32,
                sequences: piece.sequences as u32,
                width: width as u32,
                first: first as u32,
                lower,
                upper,
                factor: score_factor(width),
                mask_heads: rule.place.heads as u32,
                pitch: rule.place.pitch as u32,
                bias_rows: bias_rows as u32,
                bias_step: bias_step as u32,
            },
            loops: self.loops(piece, of_keys),
        };
        let workgroups = (tiles * heads * piece.sequences) as u64;
        plan.extend(planner.dispatch(work, workgroups)?);
        Ok(())
    }

    /// Returns true if a kernel loads the tensor of a binding number by number.
    fn is_number_by_number(&self, target: Target<'_, 'a>, at: usize) -> bool {
        match target {
            Target::Output(_) => at >= 4,
            Target::Grad(..) => at == 3 || at == 7,
        }
    }
}

/// Columns between the group of draws in which a key lies and the key.
fn mask_lane(dropout: &Dropout, key: usize) -> usize {
    ((dropout.mask.col_offset + key as u64) % 8) as usize
}

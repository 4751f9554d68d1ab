//! `attention` and `attention_grad` on all threads, in blocks that stay in the caches.
//!
//! All products are those of `product/kernel.rs`: a tile in registers over packed factors. Keys come
//! in blocks of [`KEYS`]; a block of scores is turned into weights, and dropped, while it is in the
//! first-level cache, and no score is ever in memory. Each element of a result is summed by one
//! thread in ascending order, so results depend neither on the number of threads nor on the way in
//! which jobs are divided.
//!
//! Sources: Milakov & Gimelshein, "Online normalizer calculation for softmax" (2018); Dao et al.,
//! "FlashAttention", NeurIPS (2022), for the blocks and the backward pass from the logsumexp.
//!
//! `unsafe` lets jobs write their own parts of one matrix, and passes pointers to the kernels; see
//! `product/kernel.rs` for what it gains.
#![allow(unsafe_code)]

mod backward;
mod elementwise;
mod forward;
mod weights;

pub use backward::{AttentionGrads, attention_grad};
pub use forward::attention;

use super::product::{Kernel, Lanes, Panels, Shared, Tile};
use super::row::{Place, RowKey};
use super::{Isa, keep_bits, keep_column};
use crate::cpu::reference::AttentionFactors;
use crate::mask::DRAWS;
use crate::rules::{AttentionRule, Sequence};
use crate::{Dropout, Mask};
use std::ops::Range;

/// Keys of a block: the bits of a word.
const KEYS: usize = 64;

/// A sequence, the numbers of its blocks of keys, and where those of its first key head stand among
/// the blocks of all sequences.
struct Part {
    index: usize,
    sequence: Sequence,
    blocks: usize,
    first_block: usize,
}

/// What all jobs of an attention share.
struct Job<'a> {
    isa: Isa,
    kernel: &'static Kernel,
    factors: AttentionFactors<'a>,
    rule: &'a AttentionRule<'a>,
    parts: Vec<Part>,
    /// True if there is a mask to draw.
    draws: bool,
}

impl<'a> Job<'a> {
    fn new(isa: Isa, factors: AttentionFactors<'a>, rule: &'a AttentionRule<'a>) -> Self {
        let [queries, keys] = factors.rows(rule);
        let mut first_block = 0;
        let part = |index: usize| {
            let sequence = rule.sequence(index, queries, keys);
            let blocks = sequence.keys.len().div_ceil(KEYS);
            let part = Part { index, sequence, blocks, first_block };
            first_block += blocks * rule.key_heads;
            part
        };
        let parts = (0..rule.count()).map(part).collect();
        let draws = rule.dropout.mask.rate.threshold() != DRAWS;
        Self { isa, kernel: Kernel::of(isa), factors, rule, parts, draws }
    }

    /// Number of the blocks of keys of all key heads and sequences.
    fn blocks(&self) -> usize {
        self.parts.last().map_or(0, |last| last.first_block + last.blocks * self.rule.key_heads)
    }

    /// Elements of `lanes` lanes of `terms` terms, in panels of `width` lanes.
    fn panels(lanes: usize, width: usize, terms: usize) -> usize {
        lanes.next_multiple_of(width) * terms
    }

    /// Height of the panels that divide `rows` rows equally.
    fn height(&self, rows: usize) -> usize {
        rows.div_ceil(rows.div_ceil(self.kernel.rows).max(1)).max(1)
    }

    /// The keys of a block, counted in its sequence.
    fn keys_of_block(&self, part: &Part, block: usize) -> Range<usize> {
        block * KEYS..part.sequence.keys.len().min((block + 1) * KEYS)
    }

    /// The keys of a block up to the last that some of these queries meet. What lies behind it, be
    /// it infinite or NaN, then reaches nothing.
    fn met(&self, part: &Part, queries: &Range<usize>, block: usize) -> Range<usize> {
        let keys = self.keys_of_block(part, block);
        let last = self.rule.keys_of(queries.end - 1, part.sequence.keys.len()).end;
        keys.start..keys.end.min(last)
    }

    /// The blocks of keys that some of these queries of a sequence meet.
    fn blocks_of(&self, part: &Part, queries: &Range<usize>) -> Range<usize> {
        let keys = part.sequence.keys.len();
        if queries.is_empty() {
            return 0..0;
        }
        let (first, last) = (
            self.rule.keys_of(queries.start, keys).start,
            self.rule.keys_of(queries.end - 1, keys).end,
        );
        if first >= last { 0..0 } else { first / KEYS..last.div_ceil(KEYS) }
    }

    /// Packs a block of a head: rows `rows` of a tensor with `heads` heads, as lanes or as terms.
    ///
    /// # Panics
    /// If the rows are not in `values`, or `to` is too short.
    fn pack(
        &self,
        (values, heads): (&[f32], usize),
        head: usize,
        rows: Range<usize>,
        along: Lanes,
        width: usize,
        to: &mut [f32],
    ) {
        if rows.is_empty() {
            return;
        }
        let (depth, stride) = (self.factors.width, self.factors.width * heads);
        let from = &values[rows.start * stride + head * depth..];
        assert!(from.len() >= (rows.len() - 1) * stride + depth);
        let (lanes, terms) = match along {
            Lanes::Rows => (rows.len(), depth),
            Lanes::Cols => (depth, rows.len()),
        };
        assert!(to.len() >= Self::panels(lanes, width, terms));
        let panels =
            Panels { along, from: from.as_ptr(), stride, lanes, width, terms, to: to.as_mut_ptr() };
        // SAFETY: the processor has the kernel's instruction set, and the assertions check the
        // sizes.
        unsafe { (self.kernel.pack)(&panels) };
    }

    /// Computes `C = A·B`, or `C += A·B` unless `first`, in tiles.
    ///
    /// # Safety
    /// All elements that the factors and C describe must exist, and C's belong to this thread.
    unsafe fn multiply(&self, a: Left, b: Right, c: Output, first: bool) {
        for col in (0..c.cols).step_by(self.kernel.cols) {
            for row in (0..c.rows).step_by(a.height) {
                let tile = Tile {
                    terms: b.terms,
                    a: a.at.wrapping_add(row * a.panel),
                    a_step: a.step,
                    b: b.at.wrapping_add(col * b.packed),
                    b_step: self.kernel.cols,
                    c: c.at.wrapping_add(row * c.step + col),
                    c_step: c.step,
                    cols: self.kernel.cols.min(c.cols - col),
                    first,
                };
                let rows = a.height.min(c.rows - row);
                // SAFETY: the processor has the kernel's instruction set; the caller guarantees
                // the rest.
                unsafe { (self.kernel.tiles[rows - 1])(&tile) };
            }
        }
    }

    /// Returns true if every query of `queries` meets every key of `keys`.
    fn is_inside(&self, part: &Part, queries: &Range<usize>, keys: &Range<usize>) -> bool {
        let all = part.sequence.keys.len();
        // The ranges of keys move with the query.
        let (first, last) =
            (self.rule.keys_of(queries.start, all), self.rule.keys_of(queries.end - 1, all));
        last.start <= keys.start && keys.end <= first.end
    }

    /// Returns the dropout of the scores of a head, if it draws a mask.
    fn dropout(&self, part: &Part, head: usize) -> Dropout {
        Dropout { mask: self.rule.mask(part.sequence.number, head), scale: 1.0 }
    }

    /// Draws the bits of 64 keys from `key` on for each of some queries of a head.
    fn draw(&self, mask: &Mask, rows: &[RowKey<'_>], key: usize, to: &mut [u64]) {
        if mask.rate.threshold() == 0 {
            return to.fill(0);
        }
        let Place { group, lane } = Place::new(mask, key);
        if lane == 0 {
            return keep_column(self.isa, rows, group, to);
        }
        for (row, bits) in rows.iter().zip(to) {
            let mut words = [0; 2];
            keep_bits(self.isa, row, group, &mut words);
            *bits = words[0] >> lane | words[1] << (64 - lane);
        }
    }
}

/// A packed left factor: term k of row r is `at[r / height · height · panel + k · step + r % height]`.
#[derive(Clone, Copy)]
struct Left {
    at: *const f32,
    /// Elements from a panel to the next, divided by its rows.
    panel: usize,
    step: usize,
    height: usize,
}

/// A packed right factor, in panels of a tile's columns.
#[derive(Clone, Copy)]
struct Right {
    at: *const f32,
    /// Terms that are packed, and those of them that are summed.
    packed: usize,
    terms: usize,
}

/// The result of a product.
#[derive(Clone, Copy)]
struct Output {
    at: *mut f32,
    step: usize,
    rows: usize,
    cols: usize,
}

impl Left {
    /// Panels that [`Job::pack`] made, of `terms` terms.
    fn packed(values: &[f32], height: usize, terms: usize) -> Self {
        Self { at: values.as_ptr(), panel: terms, step: height, height }
    }

    /// Rows that lie side by side, with `step` elements from a term to the next.
    fn beside(values: &[f32], height: usize, step: usize) -> Self {
        Self { at: values.as_ptr(), panel: 1, step, height }
    }
}

impl Right {
    fn new(values: &[f32], packed: usize) -> Self {
        Self { at: values.as_ptr(), packed, terms: packed }
    }

    /// The same factor with only the first of its terms.
    fn first(self, terms: usize) -> Self {
        Self { terms, ..self }
    }
}

impl Output {
    fn new(values: &mut [f32], step: usize, rows: usize, cols: usize) -> Self {
        assert!(rows == 0 || values.len() >= (rows - 1) * step + cols);
        Self { at: values.as_mut_ptr(), step, rows, cols }
    }
}

/// Returns a slice whose parts several jobs write.
fn shared(values: &mut [f32]) -> Shared<'_> {
    let len = values.len();
    Shared::new(values, len)
}

/// Cuts the next `len` elements off a slice.
fn take<'s, T>(rest: &mut &'s mut [T], len: usize) -> &'s mut [T] {
    let (first, others) = std::mem::take(rest).split_at_mut(len);
    *rest = others;
    first
}

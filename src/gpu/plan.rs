//! From a call to dispatches: which variant, which ranges of which buffers, which parameters, how many workgroups.
//!
//! Nothing here touches a device. A tensor larger than a binding runs in windows of whole rows, a sum in parts that take up one
//! another's partial results in order, and a large product in dispatches short enough for a desktop's watchdog; none of it changes
//! a bit of a mask or the order of a sum.

use super::params::{BIAS, FIRST, LABELS, LAST, MAX_NORM, Params, RELU};
use super::source::Width;
use super::variant::{Gate, Stem, Tile, Variant};
use super::view::View;
use crate::call::{
    BatchLoss, DropoutCall, Features, Gather, GradInput, GradWeight, LinearForward, MaskBits, Sgd, SoftmaxCrossEntropy,
};
use crate::rate::DRAWS;
use crate::{Dropout, Error, Result};

/// f32 bindings of 2^29 elements and more break on Vulkan.
const MAX_BINDING: u64 = (1 << 31) - (1 << 16);

/// What a plan depends on besides the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planner {
    /// Bytes that a storage binding can span.
    pub binding: u64,
    /// Alignment of a storage binding's offset in bytes.
    pub align: u64,
    /// Workgroups in a dimension.
    pub grid: u32,
    /// Floating-point operations that a dispatch should not exceed.
    pub flops: u64,
    /// Division of matrix products.
    pub tile: Tile,
}

/// A range of a buffer bound to a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Binding<'a> {
    pub buffer: &'a wgpu::Buffer,
    pub offset: u64,
    pub size: u64,
}

/// One dispatch.
#[derive(Debug, Clone)]
pub(super) struct Dispatch<'a> {
    pub variant: Variant,
    pub bindings: Vec<Binding<'a>>,
    pub params: Params,
    pub grid: [u32; 2],
}

/// Rows of a tensor bound for one dispatch: the range, and the element of it at which they start.
#[derive(Clone, Copy)]
struct Window<'a> {
    binding: Binding<'a>,
    start: u32,
    stride: u32,
}

impl Window<'_> {
    fn is_wide(&self) -> bool {
        self.start % 4 == 0 && self.stride % 4 == 0 && self.binding.size % 16 == 0
    }
}

impl Planner {
    /// A plan for a device of limits `limits` and kind `kind`.
    pub fn new(limits: &wgpu::Limits, kind: wgpu::DeviceType) -> Self {
        Self {
            binding: limits.max_storage_buffer_binding_size.min(limits.max_buffer_size).min(MAX_BINDING),
            align: u64::from(limits.min_storage_buffer_offset_alignment).max(4),
            grid: limits.max_compute_workgroups_per_dimension,
            // About a tenth of a second on a slow device of each kind.
            flops: if kind == wgpu::DeviceType::Cpu { 1 << 31 } else { 1 << 35 },
            tile: Tile::for_device(kind),
        }
    }

    /// Rows of `cols` elements of `element` bytes that one binding holds, wherever they start.
    fn rows_per_binding(&self, what: &'static str, cols: usize, element: u64) -> Result<usize> {
        let row = (cols as u64 * element).max(1);
        match self.binding.saturating_sub(self.align + 4) / row {
            0 => Err(Error::TooLarge { what: format!("a row of {what} in bytes"), value: row, bound: self.binding - self.align - 4 }),
            rows => Ok(usize::try_from(rows).unwrap_or(usize::MAX)),
        }
    }

    fn window<'a>(&self, view: View<'a>, element: u64, from: usize, rows: usize) -> Window<'a> {
        let row = view.cols as u64 * element;
        let (whole_from, whole_rows) = match row * view.rows as u64 + self.align + 4 <= self.binding {
            true => (0, view.rows),
            false => (from, rows),
        };
        let begin = view.offset + whole_from as u64 * row;
        let offset = begin - begin % self.align;
        let end = begin + (whole_rows as u64 * row).max(4);
        Window {
            binding: Binding { buffer: view.buffer, offset, size: end.next_multiple_of(4) - offset },
            start: ((view.offset + from as u64 * row - offset) / element) as u32,
            stride: view.cols as u32,
        }
    }

    /// Words of a whole tensor that must fit one binding.
    fn whole<'a>(&self, what: &'static str, view: View<'a>) -> Result<Window<'a>> {
        let bytes = 4 * (view.rows * view.cols) as u64;
        if bytes + self.align + 4 > self.binding {
            return Err(Error::TooLarge { what: format!("{what} in bytes"), value: bytes, bound: self.binding - self.align - 4 });
        }
        Ok(self.window(view, 4, 0, view.rows))
    }

    /// A dispatch of `workgroups` workgroups, folded into two dimensions.
    fn dispatch<'a>(&self, variant: Variant, windows: &[Window<'a>], params: Params, workgroups: u64) -> Result<Option<Dispatch<'a>>> {
        if workgroups == 0 {
            return Ok(None);
        }
        let width = workgroups.min(u64::from(self.grid));
        let height = workgroups.div_ceil(width);
        if height > u64::from(self.grid) {
            let bound = u64::from(self.grid).pow(2);
            return Err(Error::TooLarge { what: "workgroups of a dispatch".to_owned(), value: workgroups, bound });
        }
        let bindings: Vec<Binding<'a>> = windows.iter().map(|window| window.binding).collect();
        let written = |i: usize| variant.writes()[i];
        for (i, a) in bindings.iter().enumerate().filter(|&(i, _)| written(i)) {
            if bindings.iter().enumerate().any(|(j, b)| i != j && a.buffer == b.buffer) {
                return Err(Error::Buffer {
                    kernel: variant.stem.name(),
                    tensor: "output",
                    what: "it is also another tensor of the call; wgpu binds no buffer for writing twice".to_owned(),
                });
            }
        }
        let params = Params { grid: width as u32, ..params };
        Ok(Some(Dispatch { variant, bindings, params, grid: [width as u32, height as u32] }))
    }

    pub(super) fn dropout<'a>(&self, call: &DropoutCall<'_, View<'a>>) -> Result<Vec<Dispatch<'a>>> {
        call.check()?;
        self.elementwise(Stem::Dropout, *call.x, *call.y, &call.dropout)
    }

    /// `y = x`: the ceiling that `dropout` is measured against.
    pub(super) fn copy<'a>(&self, x: View<'a>, y: View<'a>) -> Result<Vec<Dispatch<'a>>> {
        crate::shape::expect("copy", "y", &y, x.rows, x.cols)?;
        self.elementwise(Stem::Copy, x, y, &Dropout::NONE)
    }

    fn elementwise<'a>(&self, stem: Stem, x: View<'a>, y: View<'a>, dropout: &Dropout) -> Result<Vec<Dispatch<'a>>> {
        x.check(stem.name(), "x", 4)?;
        y.check(stem.name(), "y", 4)?;
        let mut plan = Vec::new();
        // A row larger than a binding is itself cut into windows, each a matrix of one row.
        let longest = (self.rows_per_binding("x", 1, 4)? / 64 * 64).max(1);
        let pieces: Vec<(usize, usize)> = windows(x.cols, longest).collect();
        if pieces.len() > 1 {
            for row in 0..x.rows {
                for &(col, cols) in &pieces {
                    let piece = |view: View<'a>| View { offset: view.offset + 4 * (row * view.cols + col) as u64, rows: 1, cols, ..view };
                    self.elementwise_rows(&mut plan, stem, piece(x), piece(y), dropout, row, col)?;
                }
            }
        } else {
            self.elementwise_rows(&mut plan, stem, x, y, dropout, 0, 0)?;
        }
        Ok(plan)
    }

    #[allow(clippy::too_many_arguments)]
    fn elementwise_rows<'a>(
        &self,
        plan: &mut Vec<Dispatch<'a>>,
        stem: Stem,
        x: View<'a>,
        y: View<'a>,
        dropout: &Dropout,
        row: usize,
        col: usize,
    ) -> Result<()> {
        for (from, rows) in windows(x.rows, self.rows_per_binding("x", x.cols, 4)?) {
            let pair = [self.window(x, 4, from, rows), self.window(y, 4, from, rows)];
            let width = if pair.iter().all(Window::is_wide) { Width::Vec4 } else { Width::Scalar };
            let params = Params {
                rows: rows as u32,
                cols: x.cols as u32,
                a_start: pair[0].start,
                a_stride: pair[0].stride,
                b_start: pair[1].start,
                b_stride: pair[1].stride,
                ..Params::default()
            }
            .with_dropout(dropout, row + from, col);
            let strips = rows as u64 * x.cols.div_ceil(8) as u64;
            plan.extend(self.dispatch(Variant { width, ..Variant::new(stem) }, &pair, params, strips.div_ceil(64))?);
        }
        Ok(())
    }

    pub(super) fn mask_bits<'a>(&self, call: &MaskBits<'_, View<'a>>) -> Result<Vec<Dispatch<'a>>> {
        call.check()?;
        let bits = *call.bits;
        bits.check("mask_bits", "bits", 4)?;
        let mut plan = Vec::new();
        for (from, rows) in windows(bits.rows, self.rows_per_binding("bits", bits.cols, 4)?) {
            let window = self.window(bits, 4, from, rows);
            let params = Params {
                rows: rows as u32,
                cols: call.cols as u32,
                a_start: window.start,
                a_stride: window.stride,
                ..Params::default()
            }
            .with_mask(&call.mask, from, 0);
            let words = rows as u64 * bits.cols as u64;
            plan.extend(self.dispatch(Variant::new(Stem::MaskBits), &[window], params, words.div_ceil(64))?);
        }
        Ok(plan)
    }

    /// Rows of a product's dispatch: as many as keep it under the budget, in whole tiles.
    fn rows_per_budget(&self, cols: usize, inner: usize) -> usize {
        let row = (2 * cols.max(1) as u64).saturating_mul(inner.max(1) as u64);
        usize::try_from(self.flops / row).unwrap_or(usize::MAX).max(64) / 64 * 64
    }

    /// Rows that every tensor of `tensors` can bind at once, each with its number of columns; `total` where all fit whole.
    fn common_rows(&self, total: usize, tensors: &[(&'static str, usize)]) -> Result<usize> {
        tensors.iter().try_fold(total, |rows, &(name, cols)| Ok(rows.min(self.rows_per_binding(name, cols, 4)?)))
    }

    pub(super) fn linear_forward<'a>(&self, call: &LinearForward<'_, View<'a>>) -> Result<Vec<Dispatch<'a>>> {
        call.check()?;
        let (x, weight, y) = (*call.x, *call.weight, *call.y);
        let bias = call.bias.copied();
        let name = Stem::LinearForward.name();
        for (view, tensor) in [(Some(x), "x"), (Some(weight), "weight"), (bias, "bias"), (Some(y), "y")] {
            view.map_or(Ok(()), |view| view.check(name, tensor, 4))?;
        }
        let (inner, cols) = (weight.rows, weight.cols);
        let terms = sum_part(inner, self.common_rows(inner, &[("weight", cols)])?)?;
        let rows = self.common_rows(y.rows, &[("x", inner), ("y", cols)])?.min(self.rows_per_budget(cols, terms));
        let bias_window = bias.map(|bias| self.whole("bias", bias)).transpose()?;
        let mut plan = Vec::new();
        for (m, rows) in windows(y.rows, rows) {
            for (k, terms) in windows_or_one(inner, terms) {
                let [x, w, y] = [self.window(x, 4, m, rows), self.window(weight, 4, k, terms), self.window(y, 4, m, rows)];
                // Without a bias the flag is off and the binding is never read.
                let bound = [x, w, bias_window.unwrap_or(w), y];
                let mut flags = 0;
                for (set, flag) in
                    [(k == 0, FIRST), (k + terms == inner, LAST), (call.relu, RELU), (bias_window.is_some(), BIAS)]
                {
                    flags |= if set { flag } else { 0 };
                }
                let params = Params {
                    rows: rows as u32,
                    cols: cols as u32,
                    inner: terms as u32,
                    flags,
                    a_start: x.start + k as u32,
                    a_stride: x.stride,
                    b_start: w.start,
                    b_stride: w.stride,
                    c_start: bias_window.map_or(0, |bias| bias.start),
                    d_start: y.start,
                    d_stride: y.stride,
                    ..Params::default()
                }
                .with_dropout(&call.dropout, m, 0);
                let variant = Variant { part: terms < inner, ..Variant::new(Stem::LinearForward) };
                plan.extend(self.product(variant, &bound, &[x, w, y], params)?);
            }
        }
        Ok(plan)
    }

    pub(super) fn grad_input<'a>(&self, call: &GradInput<'_, View<'a>>) -> Result<Vec<Dispatch<'a>>> {
        call.check()?;
        let (dy, weight, dx) = (*call.grad_output, *call.weight, *call.grad_input);
        let y = call.output.copied().unwrap_or(dy);
        let name = Stem::GradInput.name();
        for (view, tensor) in [(dy, "grad_output"), (y, "output"), (weight, "weight"), (dx, "grad_input")] {
            view.check(name, tensor, 4)?;
        }
        let (inner, cols) = (dy.cols, weight.rows);
        let part = self.common_rows(cols, &[("weight", inner)])?;
        let part = if part < cols { (part / 64 * 64).max(1) } else { part };
        let rows = self.common_rows(dx.rows, &[("grad_output", inner), ("grad_input", cols)])?.min(self.rows_per_budget(part, inner));
        let mut plan = Vec::new();
        for (m, rows) in windows(dx.rows, rows) {
            for (n, cols) in windows(cols, part) {
                let [w, dy, y, dx] = [
                    self.window(weight, 4, n, cols),
                    self.window(dy, 4, m, rows),
                    self.window(y, 4, m, rows),
                    self.window(dx, 4, m, rows),
                ];
                let params = Params {
                    rows: rows as u32,
                    cols: cols as u32,
                    inner: inner as u32,
                    a_start: w.start,
                    a_stride: w.stride,
                    b_start: dy.start,
                    b_stride: dy.stride,
                    c_start: y.start,
                    c_stride: y.stride,
                    d_start: dx.start + n as u32,
                    d_stride: dx.stride,
                    ..Params::default()
                }
                .with_dropout(&call.dropout, m, 0);
                let variant = Variant { gate: gate(call.output.is_some(), &call.dropout), ..Variant::new(Stem::GradInput) };
                plan.extend(self.product(variant, &[w, dy, y, dx], &[w, dy, y, dx], params)?);
            }
        }
        Ok(plan)
    }

    pub(super) fn grad_weight<'a>(&self, call: &GradWeight<'_, View<'a>>) -> Result<Vec<Dispatch<'a>>> {
        call.check()?;
        let (x, dy, dw, db) = (*call.x, *call.grad_output, *call.grad_weight, *call.grad_bias);
        let y = call.output.copied().unwrap_or(dy);
        let name = Stem::GradWeight.name();
        for (view, tensor) in [(x, "x"), (dy, "grad_output"), (y, "output"), (dw, "grad_weight"), (db, "grad_bias")] {
            view.check(name, tensor, 4)?;
        }
        let (inner, inputs, cols) = (x.rows, x.cols, dy.cols);
        let terms = sum_part(inner, self.common_rows(inner, &[("x", inputs), ("grad_output", cols)])?)?;
        let part = self.common_rows(inputs + 1, &[("grad_weight", cols)])?.min(self.rows_per_budget(cols, terms));
        let part = if part < inputs + 1 { (part / 4 * 4).max(1) } else { part };
        let db = self.whole("grad_bias", db)?;
        let mut plan = Vec::new();
        // The row after the last is the bias gradient.
        for (m, rows) in windows(inputs + 1, part) {
            let held = rows.min(inputs - m.min(inputs));
            for (k, terms) in windows_or_one(inner, terms) {
                let [x, dy, y] = [x, dy, y].map(|view| self.window(view, 4, k, terms));
                let dw = self.window(dw, 4, m.min(inputs), held);
                let params = Params {
                    rows: rows as u32,
                    cols: cols as u32,
                    inner: terms as u32,
                    flags: if k == 0 { FIRST } else { 0 },
                    a_start: x.start + m as u32,
                    a_stride: x.stride,
                    b_start: dy.start,
                    b_stride: dy.stride,
                    c_start: y.start,
                    c_stride: y.stride,
                    d_start: dw.start,
                    d_stride: dw.stride,
                    first: if held < rows { held as u32 } else { u32::MAX },
                    count: db.start,
                    ..Params::default()
                }
                .with_dropout(&call.dropout, k, 0);
                let gate = gate(call.output.is_some(), &call.dropout);
                let variant = Variant { gate, part: terms < inner, ..Variant::new(Stem::GradWeight) };
                plan.extend(self.product(variant, &[x, dy, y, dw, db], &[x, dy, y, dw], params)?);
            }
        }
        Ok(plan)
    }

    /// A matrix product in this device's tile, with wide loads where every tensor of `wide` allows them.
    fn product<'a>(&self, variant: Variant, bound: &[Window<'a>], wide: &[Window<'a>], params: Params) -> Result<Option<Dispatch<'a>>> {
        let starts = [params.a_start, params.b_start, params.d_start];
        let wide = wide.iter().all(Window::is_wide) && starts.iter().all(|start| start % 4 == 0);
        let width = if wide { Width::Vec4 } else { Width::Scalar };
        let variant = Variant { tile: self.tile, width, ..variant };
        let workgroups = self.tile.workgroups(width, params.rows as usize, params.cols as usize);
        self.dispatch(variant, bound, params, workgroups)
    }

    pub(super) fn softmax_cross_entropy<'a>(
        &self,
        call: &SoftmaxCrossEntropy<'_, View<'a>, View<'a>>,
    ) -> Result<Vec<Dispatch<'a>>> {
        call.check()?;
        let (z, labels, dz, losses) = (*call.logits, *call.labels, *call.grad_logits, *call.losses);
        let name = Stem::SoftmaxCrossEntropy.name();
        for (view, tensor) in [(z, "logits"), (labels, "labels"), (dz, "grad_logits"), (losses, "losses")] {
            view.check(name, tensor, 4)?;
        }
        let mut plan = Vec::new();
        for (from, rows) in windows(z.rows, self.common_rows(z.rows, &[("logits", z.cols), ("losses", 2)])?) {
            let [z, labels, dz, losses] = [z, labels, dz, losses].map(|view| self.window(view, 4, from, rows));
            let params = Params {
                rows: rows as u32,
                cols: z.stride,
                a_start: z.start,
                b_start: labels.start,
                c_start: dz.start,
                d_start: losses.start,
                scale: (1.0 / call.logits.rows as f64) as f32,
                rate: f32::NAN,
                ..Params::default()
            };
            let variant = Variant::new(Stem::SoftmaxCrossEntropy);
            plan.extend(self.dispatch(variant, &[z, labels, dz, losses], params, (rows as u64).div_ceil(64))?);
        }
        Ok(plan)
    }

    pub(super) fn batch_loss<'a>(&self, call: &BatchLoss<'_, View<'a>>) -> Result<Vec<Dispatch<'a>>> {
        call.check()?;
        let (losses, totals) = (*call.losses, *call.totals);
        losses.check("batch_loss", "losses", 4)?;
        totals.check("batch_loss", "totals", 4)?;
        let losses = self.whole("losses", losses)?;
        let totals = self.window(totals, 4, call.slot, 1);
        let params =
            Params { rows: call.losses.rows as u32, a_start: losses.start, b_start: totals.start, ..Params::default() };
        Ok(self.dispatch(Variant::new(Stem::BatchLoss), &[losses, totals], params, 1)?.into_iter().collect())
    }

    pub(super) fn sgd<'a>(&self, call: &Sgd<'_, View<'a>>) -> Result<Vec<Dispatch<'a>>> {
        call.check()?;
        let (grad, weight) = (*call.grad, *call.weight);
        let velocity = call.velocity.as_deref().copied();
        for (view, tensor) in [(Some(grad), "grad"), (Some(weight), "weight"), (velocity, "velocity")] {
            view.map_or(Ok(()), |view| view.check("sgd", tensor, 4))?;
        }
        // The norm of a column needs all of its rows in one dispatch.
        let part = match call.rule.max_norm {
            Some(_) => self.whole("weight under max-norm", weight).map(|_| weight.rows)?,
            None => self.rows_per_binding("weight", weight.cols, 4)?,
        };
        let variant = Variant { momentum: velocity.is_some(), ..Variant::new(Stem::Sgd) };
        let mut plan = Vec::new();
        for (from, rows) in windows(weight.rows, part) {
            let mut bound: Vec<Window<'a>> = [grad, weight].iter().map(|&view| self.window(view, 4, from, rows)).collect();
            bound.extend(velocity.map(|view| self.window(view, 4, from, rows)));
            let count = rows as u64 * weight.cols as u64;
            let threads = if call.rule.max_norm.is_some() { weight.cols as u64 } else { count };
            let params = Params {
                rows: rows as u32,
                cols: weight.cols as u32,
                count: count as u32,
                flags: if call.rule.max_norm.is_some() { MAX_NORM } else { 0 },
                a_start: bound[0].start,
                b_start: bound[1].start,
                c_start: bound.get(2).map_or(0, |velocity| velocity.start),
                rate: call.rule.lr,
                momentum: call.rule.momentum,
                decay: call.rule.weight_decay,
                max_norm: call.rule.max_norm.unwrap_or(0.0),
                ..Params::default()
            };
            plan.extend(self.dispatch(variant, &bound, params, threads.div_ceil(64))?);
        }
        Ok(plan)
    }

    pub(super) fn gather<'a>(&self, call: &Gather<'_, View<'a>, View<'a>, View<'a>>) -> Result<Vec<Dispatch<'a>>> {
        call.check()?;
        let (data, element) = match call.data {
            Features::Bytes(bytes) => (*bytes, 1),
            Features::Floats(floats) => (*floats, 4),
        };
        let (order, all_labels, x, labels) = (*call.order, *call.all_labels, *call.x, *call.labels);
        data.check("gather", "data", element)?;
        for (view, tensor) in [(order, "order"), (all_labels, "all_labels"), (x, "x"), (labels, "labels")] {
            view.check("gather", tensor, 4)?;
        }
        let (order, all_labels) = (self.whole("order", order)?, self.whole("all_labels", all_labels)?);
        let (labels, x) = (self.whole("labels", labels)?, self.whole("x", x)?);
        let mut plan = Vec::new();
        for (from, count) in windows(data.rows, self.rows_per_binding("data", data.cols, element)?) {
            let window = self.window(data, element, from, count);
            let params = Params {
                rows: call.x.rows as u32,
                cols: data.cols as u32,
                flags: if from == 0 { LABELS } else { 0 },
                a_start: window.start,
                a_stride: window.stride,
                b_stride: all_labels.start,
                c_start: order.start,
                c_stride: from as u32,
                d_start: x.start,
                d_stride: labels.start,
                first: call.first as u32,
                count: count as u32,
                rate: call.unit,
                ..Params::default()
            }
            .with_dropout(&call.dropout, 0, 0);
            let strips = call.x.rows as u64 * data.cols.div_ceil(8) as u64;
            let variant = Variant { bytes: element == 1, ..Variant::new(Stem::Gather) };
            plan.extend(self.dispatch(variant, &[window, order, all_labels, x, labels], params, strips.div_ceil(64))?);
        }
        Ok(plan)
    }

    /// Philox over rows of counter and key, for checking a device against the published answers.
    pub(super) fn philox_words<'a>(&self, inputs: View<'a>, words: View<'a>) -> Result<Vec<Dispatch<'a>>> {
        crate::shape::expect("philox_words", "inputs", &inputs, words.rows, 6)?;
        crate::shape::expect("philox_words", "words", &words, inputs.rows, 4)?;
        inputs.check("philox_words", "inputs", 4)?;
        words.check("philox_words", "words", 4)?;
        let pair = [self.whole("inputs", inputs)?, self.whole("words", words)?];
        let params = Params { rows: inputs.rows as u32, a_start: pair[0].start, b_start: pair[1].start, ..Params::default() };
        let variant = Variant::new(Stem::PhiloxWords);
        Ok(self.dispatch(variant, &pair, params, (inputs.rows as u64).div_ceil(64))?.into_iter().collect())
    }
}

/// Cuts `total` into windows of at most `most`; none where there is nothing.
fn windows(total: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..total).step_by(most.max(1)).map(move |from| (from, most.min(total - from)))
}

/// As [`windows`], but an empty sum is still one window, whose result is 0.
fn windows_or_one(total: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    windows(total, most).chain((total == 0).then_some((0, 0)))
}

/// Terms of a partial sum: all of them, or a multiple of the largest tile's step.
fn sum_part(total: usize, most: usize) -> Result<usize> {
    match most {
        most if most >= total => Ok(total),
        most if most >= 16 => Ok(most / 16 * 16),
        _ => Err(Error::TooLarge { what: "16 rows of a summed tensor, in rows that a binding holds".to_owned(), value: 16, bound: most as u64 }),
    }
}

fn gate(relu: bool, dropout: &Dropout) -> Gate {
    if relu {
        Gate::Relu
    } else if dropout.mask.rate.threshold() == DRAWS && dropout.scale == 1.0 {
        Gate::None
    } else {
        Gate::Mask
    }
}

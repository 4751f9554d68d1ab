//! Exact arithmetic: in f32, sums of small whole numbers are exact, and so are scales that are
//! powers of two. The device and the reference must therefore agree to the bit, for every tile,
//! load width and split.

use super::check::{Check, Tally, same_bits};
use super::form::Form;
use super::layer::{self, Layer, Results, Tensors};
use super::random::Cases;
use crate::call::{MaskBits, Sgd, SgdRule};
use crate::cpu::reference;
use crate::{Backend, Cpu, Dropout, Result};
use rayon::prelude::*;

/// Number of cases between two waits for the device.
const BATCH: usize = 64;
/// Number of batches that share their values; each has other sites.
const ROUNDS: usize = 32;

/// Checks `count` layers over all forms, forward and backward, and updates with each group of
/// layers.
pub(super) fn layers<B: Backend>(forms: &mut [Form<B>], seed: u64, count: usize) -> Result<Check> {
    let mut tally = Tally::new("exact arithmetic, bit-equal to the reference");
    let share = count.div_ceil(forms.len().max(1));
    for (index, form) in forms.iter_mut().enumerate() {
        let mut cases = Cases::new(seed, 0x200 + index as u32);
        let mut left = share;
        while left > 0 {
            let mut layers: Vec<Layer> =
                (0..BATCH.min(left)).map(|_| some_layer(&mut cases)).collect();
            let tensors = layers.iter().map(|layer| layer.upload(&mut form.backend));
            let mut tensors: Vec<Tensors<B>> = tensors.collect::<Result<_>>()?;
            for _ in 0..ROUNDS {
                layers.truncate(left);
                tensors.truncate(left);
                left -= layers.len();
                for (layer, on) in layers.iter_mut().zip(&mut tensors) {
                    layer.relu = cases.flip();
                    layer.dropout = cases.exact_site(layer.shape[0], layer.shape[2]);
                    layer.through = cases.flip().then_some(layer.dropout.scale);
                    layer.call(&mut form.backend, on)?;
                }
                let got = layer::read(&mut form.backend, &tensors)?;
                let compare = |(layer, got): (&Layer, &Results)| {
                    layer.same(got, &layer.run(&mut Cpu::reference()).map_err(|e| e.to_string())?)
                };
                let outcomes: Vec<_> = layers.par_iter().zip(&got).map(compare).collect();
                outcomes.into_iter().for_each(|outcome| {
                    tally.compare(outcome.map_err(|error| format!("{}: {error}", form.name)))
                });
            }
            update(form, &mut cases, &mut tally)?;
        }
    }
    Ok(tally.finish("layers forward and back, and updates"))
}

fn some_layer(cases: &mut Cases) -> Layer {
    // Half of the cases have whole vectors.
    let unit = if cases.flip() { 4 } else { 1 };
    let mut size = |most: usize| unit * cases.size(1, most / unit);
    let shape = [size(24), size(32), size(40)];
    let mut layer = Layer::new(cases, Cases::whole, shape, false, Dropout::NONE);
    if cases.flip() {
        // With mostly zeros, the sign of a sum of zeros is checked.
        layer
            .x
            .iter_mut()
            .chain(&mut layer.weight)
            .for_each(|value| *value = (*value / 4.0).trunc());
    }
    layer
}

fn update<B: Backend>(form: &mut Form<B>, cases: &mut Cases, tally: &mut Tally) -> Result<()> {
    let (rows, cols) = (cases.size(1, 20), cases.size(1, 40));
    let [grad, start, speed] = [(); 3].map(|()| cases.whole(rows * cols));
    for momentum in [0.0, 0.5] {
        let rule = SgdRule { momentum, weight_decay: 0.25, ..SgdRule::plain(0.5) };
        fn run<B: Backend>(
            backend: &mut B,
            shape: (usize, usize),
            values: [&[f32]; 3],
            rule: SgdRule,
        ) -> Result<Vec<f32>> {
            let [grad, mut weight, mut velocity] =
                [0, 1, 2].map(|i| backend.tensor(shape.0, shape.1, values[i]));
            let (grad, weight, velocity) = (
                grad?,
                weight.as_mut().map_err(|e| e.clone())?,
                velocity.as_mut().map_err(|e| e.clone())?,
            );
            let kept = (rule.momentum != 0.0).then_some(velocity);
            backend.run(Sgd { grad: &grad, weight: &mut *weight, velocity: kept, rule })?;
            backend.read(weight)
        }
        let values = [grad.as_slice(), &start, &speed];
        let got = run(&mut form.backend, (rows, cols), values, rule)?;
        let right = run(&mut Cpu::reference(), (rows, cols), values, rule)?;
        tally.compare(same_bits(
            &format!("{}: sgd {rows}×{cols} {rule:?}", form.name),
            &got,
            &right,
        ));
    }
    Ok(())
}

/// Checks a layer and a mask, whole and in parts, in every form. Splits of the batch or the
/// columns, tiles, folded grids and windows must not change a bit.
pub(super) fn invariance<B: Backend>(forms: &mut [Form<B>], seed: u64) -> Result<Check> {
    let mut tally = Tally::new("invariance over tile, batch split, shard, grid, windows");
    let mut cases = Cases::new(seed, 2);
    for [batch, inputs, outputs] in [[37, 40, 101], [64, 24, 96], [50, 41, 515]] {
        let shape = [batch, inputs, outputs];
        let site = cases.exact_site(batch, outputs);
        let mut layer = Layer::new(&mut cases, Cases::whole, shape, true, site);
        layer.through = None;
        let whole = layer.run(&mut Cpu::reference())?;
        for form in forms.iter_mut() {
            let mut compare = |what: &str, got: &[f32], expected: &[f32]| {
                tally.compare(same_bits(
                    &format!("{}: {}: {what}", form.name, layer.name()),
                    got,
                    expected,
                ));
            };
            compare("whole", &layer.run(&mut form.backend)?.y, &whole.y);
            let cut = cases.size(1, batch - 1);
            for (from, to) in [(0, cut), (cut, batch)] {
                let got = rows_of(&layer, from, to).run(&mut form.backend)?;
                compare(
                    &format!("rows {from}..{to}, y"),
                    &got.y,
                    &whole.y[from * outputs..to * outputs],
                );
                compare(
                    &format!("rows {from}..{to}, dx"),
                    &got.dx,
                    &whole.dx[from * inputs..to * inputs],
                );
            }
            let cut = cases.size(1, outputs - 1);
            for (from, to) in [(0, cut), (cut, outputs)] {
                let got = cols_of(&layer, from, to).run(&mut form.backend)?;
                compare(
                    &format!("columns {from}..{to}, y"),
                    &got.y,
                    &columns(&whole.y, outputs, from, to),
                );
                compare(
                    &format!("columns {from}..{to}, dw"),
                    &got.dw,
                    &columns(&whole.dw, outputs, from, to),
                );
            }
        }
    }
    for form in forms {
        // More workgroups than a weak form allows in a dimension, and more rows than one of its
        // bindings holds.
        for (rows, cols) in [(1000, 1000), (18_000, 31)] {
            let mask = cases.mask(rows, cols);
            let mut expected = vec![0; rows * cols.div_ceil(32)];
            reference::mask_bits(&mut expected, cols, &mask);
            let mut bits = form.backend.zeros(rows, cols.div_ceil(32))?;
            form.backend.run(MaskBits { bits: &mut bits, cols, mask })?;
            let words = form.backend.read(&bits)?;
            tally.case(
                super::masks::difference(&mask, rows, cols, &words)
                    .map(|difference| format!("{}: {difference}", form.name)),
            );
        }
    }
    Ok(tally.finish(""))
}

fn columns(values: &[f32], cols: usize, from: usize, to: usize) -> Vec<f32> {
    values.chunks(cols).flat_map(|row| row[from..to].to_vec()).collect()
}

fn rows_of(layer: &Layer, from: usize, to: usize) -> Layer {
    let [_, inputs, outputs] = layer.shape;
    let mut part = Layer { shape: [to - from, inputs, outputs], ..layer.clone() };
    part.x = layer.x[from * inputs..to * inputs].to_vec();
    part.grad_output = layer.grad_output[from * outputs..to * outputs].to_vec();
    part.dropout.mask.row_offset += from as u64;
    part
}

fn cols_of(layer: &Layer, from: usize, to: usize) -> Layer {
    let [batch, inputs, outputs] = layer.shape;
    let mut part = Layer { shape: [batch, inputs, to - from], ..layer.clone() };
    part.weight = columns(&layer.weight, outputs, from, to);
    part.bias = layer.bias.as_ref().map(|bias| bias[from..to].to_vec());
    part.grad_output = columns(&layer.grad_output, outputs, from, to);
    part.dropout.mask.col_offset += from as u64;
    part
}

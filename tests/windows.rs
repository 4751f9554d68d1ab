//! Large work in parts: a planner that pretends to be a weak device must give the bits of undivided
//! work, or a typed error.
//!
//! Tensors beyond a binding run in windows of rows, sums in parts, long dispatches as several short
//! ones, and wide grids folded. Masks and the order of each sum stay the same. Whole numbers are
//! exact in any order. Other numbers show the order too, but only on software adapters: their
//! compilers do not contract a multiplication and an addition in one kernel and not in the next.

// The oracle and the data sets belong to the feature `cli`.

#[path = "windows/attention.rs"]
mod attention;
mod common;
#[path = "windows/forms.rs"]
mod forms;
#[path = "windows/loops.rs"]
mod loops;
#[path = "windows/rowwise.rs"]
mod rowwise;

use common::{gpu, gpu_with, noise, poisoned, same_bits, small_integers};
use std::cell::Cell;
use std::sync::{Mutex, PoisonError};
use wgpu_dropout::Backend;
use wgpu_dropout::call::{
    BatchLoss, DropoutCall, Features, Gather, GradInput, GradWeight, GradWeightSgd, LinearForward,
    MaskBits, Moments, Sgd, SgdRule, SoftmaxCrossEntropy, Subnetworks,
};
use wgpu_dropout::gpu::{Gpu, Planner, Tile, Tiles};
use wgpu_dropout::mask::bits_to_bytes;
use wgpu_dropout::oracle;
use wgpu_dropout::{Dropout, Error, Key, Mask, Mode, Rate};

/// Weakens a plan to 64 KiB per binding, 17 workgroups per dimension, and products in dispatches of
/// 64 rows.
fn weak(planner: Planner) -> Planner {
    Planner { binding: 1 << 16, grid: 17, flops: 1, ..planner }
}

/// Runs on the device as it is and on a weak one. All tests of this file share both. Panics unless
/// the weak one takes more dispatches.
fn on_both_plans<R>(tile: Tile, run: impl Fn(&mut Gpu) -> R) -> Option<[R; 2]> {
    static PAIRS: [Mutex<Option<[Gpu; 2]>>; Tile::ALL.len()] =
        [const { Mutex::new(None) }; Tile::ALL.len()];
    let mut pair = PAIRS[tile as usize].lock().unwrap_or_else(PoisonError::into_inner);
    let with_tile = |planner| Planner { tiles: Tiles::all(tile), ..planner };
    let mut devices = match pair.take() {
        Some(devices) => devices,
        None => [gpu_with(with_tile)?, gpu_with(|planner| with_tile(weak(planner)))?],
    };
    let mut dispatches = [0, 0];
    let results = [0, 1].map(|i| {
        let before = devices[i].counts();
        let result = run(&mut devices[i]);
        dispatches[i] = (devices[i].counts() - before).dispatches;
        result
    });
    assert!(dispatches[1] > dispatches[0], "the weak plan takes more dispatches: {dispatches:?}");
    *pair = Some(devices);
    Some(results)
}

fn site(keep: f64, row: u64, col: u64) -> Dropout {
    Dropout::train(
        Mode::Inverted,
        Mask::new(Rate::keep(keep).unwrap(), Key { seed: 77, layer: 1, step: 9 }).at(row, col),
    )
}

fn equal(what: &str, results: Option<[Vec<f32>; 2]>) -> Option<Vec<f32>> {
    let [whole, parts] = results?;
    assert!(!whole.iter().any(|x| x.is_nan()), "{what}: every element is written");
    same_bits(what, &whole, &parts).unwrap();
    Some(whole)
}

#[test]
fn dropout_in_windows_of_rows_and_in_cut_rows() {
    for (rows, cols) in [(100, 1000), (50, 1001), (3, 40_000), (2, 40_001)] {
        let x = noise(1, rows * cols);
        for (at, keep) in [((0, 0), 0.5), ((9, 13), 0.7)] {
            let dropout = site(keep, at.0, at.1);
            let run = |gpu: &mut Gpu| {
                let x = gpu.tensor(rows, cols, &x).unwrap();
                let mut y = poisoned(gpu, rows, cols);
                gpu.run(DropoutCall { x: &x, y: &mut y, dropout }).unwrap();
                gpu.read(&y).unwrap()
            };
            let Some(y) = equal(
                &format!("dropout {rows}×{cols} at {at:?}"),
                on_both_plans(Tile::Register, run),
            ) else {
                return;
            };
            oracle::dropout(&x, cols, &dropout).check("dropout", &y).unwrap();
        }
    }
}

#[test]
fn mask_bits_in_windows() {
    for (rows, cols, at) in [(1000, 1000, (0, 0)), (700, 1003, (5, 6)), (18_000, 31, (1 << 31, 3))]
    {
        let mask = site(0.3, at.0, at.1).mask;
        let Some([whole, parts]) =
            on_both_plans(Tile::Register, |gpu| gpu.read_mask(mask, rows, cols).unwrap())
        else {
            return;
        };
        assert!(whole == parts, "{rows}×{cols} at {at:?}");
        assert!(whole == mask.bytes(rows, cols).unwrap(), "{rows}×{cols} at {at:?}");
    }
}

/// `[B, I, O]`: whole vectors; ragged; a weight gradient whose last window holds the bias gradient
/// alone; and few rows with long sums, forward and backward. The weak device cannot bind all parts
/// of those sums at once, nor one part whole.
const PRODUCTS: [[usize; 3]; 6] = [
    [200, 300, 200],
    [131, 301, 67],
    [100, 512, 64],
    [72, 520, 264],
    [20, 700, 300],
    [30, 301, 701],
];

type Fill = fn(u64, usize) -> Vec<f32>;
const FILLS: [(Fill, f64); 2] = [(small_integers, 0.5), (noise, 0.7)];

/// Runs a product on both plans of a tile and compares their bits. Whole numbers give the same bits
/// on any device. Other numbers do on devices that do not contract, if each part of a sum continues
/// one `chain`. `check` compares the weak plan's results with the oracle.
fn products(
    name: &str,
    chain: bool,
    run: impl Fn(&mut Gpu, [usize; 3], Fill, Dropout) -> Vec<f32>,
    check: impl Fn(&[f32], [usize; 3], Fill, Dropout),
) {
    for tile in Tile::ALL {
        for shape in PRODUCTS {
            for (i, (fill, keep)) in FILLS.into_iter().enumerate() {
                let dropout = site(keep, 3, 5);
                let software = Cell::new(true);
                let results = on_both_plans(tile, |gpu| {
                    software.set(gpu.info().device_type == wgpu::DeviceType::Cpu);
                    run(gpu, shape, fill, dropout)
                });
                let Some([whole, parts]) = results else { continue };
                // Parts added in another order may change the sign of a 0.
                let signless = |values: Vec<f32>| {
                    values
                        .into_iter()
                        .map(|x| if chain { x } else { x + 0.0 })
                        .collect::<Vec<f32>>()
                };
                let [whole, parts] = [signless(whole), signless(parts)];
                if i == 0 || chain && software.get() {
                    same_bits(&format!("{name} {tile} {shape:?}"), &whole, &parts).unwrap();
                }
                check(&parts, shape, fill, dropout);
            }
        }
    }
}

#[test]
fn linear_forward_in_rows_and_in_parts_of_sums() {
    let run =
        |gpu: &mut Gpu, [batch, inputs, outputs]: [usize; 3], fill: Fill, dropout: Dropout| {
            let x = gpu.tensor(batch, inputs, &fill(1, batch * inputs)).unwrap();
            let w = gpu.tensor(inputs, outputs, &fill(2, inputs * outputs)).unwrap();
            let b = gpu.tensor(1, outputs, &fill(3, outputs)).unwrap();
            let mut y = poisoned(gpu, batch, outputs);
            gpu.run(LinearForward {
                x: &x,
                weight: &w,
                bias: Some(&b),
                y: &mut y,
                relu: true,
                dropout,
            })
            .unwrap();
            gpu.read(&y).unwrap()
        };
    products("linear_forward", true, run, |y, shape, fill, dropout| {
        let [batch, inputs, outputs] = shape;
        let x = fill(1, batch * inputs);
        let w = fill(2, inputs * outputs);
        let b = fill(3, outputs);
        oracle::linear_forward(&x, &w, Some(&b), shape, true, &dropout)
            .check("linear_forward", y)
            .unwrap();
    });
}

#[test]
fn grad_input_in_rows_and_columns() {
    let run =
        |gpu: &mut Gpu, [batch, inputs, outputs]: [usize; 3], fill: Fill, dropout: Dropout| {
            let dy = gpu.tensor(batch, outputs, &fill(4, batch * outputs)).unwrap();
            let w = gpu.tensor(inputs, outputs, &fill(2, inputs * outputs)).unwrap();
            let mut dx = poisoned(gpu, batch, inputs);
            let x = gpu.tensor(batch, inputs, &fill(5, batch * inputs)).unwrap();
            let through = Some((&x, 2.0));
            gpu.run(GradInput {
                grad_output: &dy,
                output: None,
                weight: &w,
                grad_input: &mut dx,
                dropout,
                through,
            })
            .unwrap();
            gpu.read(&dx).unwrap()
        };
    products("grad_input", true, run, |dx, shape, fill, dropout| {
        let [batch, inputs, outputs] = shape;
        let grad_z = oracle::gradient(&fill(4, batch * outputs), None, outputs, &dropout);
        let mut exact = oracle::grad_input(&grad_z, &fill(2, inputs * outputs), shape);
        // The backward pass of the previous layer: twice the gradient where its output is positive.
        for (i, x) in fill(5, batch * inputs).into_iter().enumerate() {
            let factor = if x > 0.0 { 2.0 } else { 0.0 };
            (exact.values[i], exact.magnitudes[i]) =
                (factor * exact.values[i], factor * exact.magnitudes[i]);
        }
        exact.check("grad_input", dx).unwrap();
    });
}

#[test]
fn grad_weight_in_rows_and_in_parts_of_the_batch() {
    let run =
        |gpu: &mut Gpu, [batch, inputs, outputs]: [usize; 3], fill: Fill, dropout: Dropout| {
            let x = gpu.tensor(batch, inputs, &fill(1, batch * inputs)).unwrap();
            let dy = gpu.tensor(batch, outputs, &fill(4, batch * outputs)).unwrap();
            let mut dw = poisoned(gpu, inputs, outputs);
            let mut db = poisoned(gpu, 1, outputs);
            gpu.run(GradWeight {
                x: &x,
                grad_output: &dy,
                output: None,
                grad_weight: &mut dw,
                grad_bias: &mut db,
                dropout,
            })
            .unwrap();
            [gpu.read(&dw).unwrap(), gpu.read(&db).unwrap()].concat()
        };
    products("grad_weight", true, run, |both, shape, fill, dropout| {
        let [batch, inputs, outputs] = shape;
        let grad_z = oracle::gradient(&fill(4, batch * outputs), None, outputs, &dropout);
        let (weight, bias) = oracle::grad_weight(&fill(1, batch * inputs), &grad_z, shape);
        weight.check("grad_weight", &both[..inputs * outputs]).unwrap();
        bias.check("grad_bias", &both[inputs * outputs..]).unwrap();
    });
}

/// Checks `grad_weight_sgd` in windows. Each part of a batch adds its share to the parameters, so a
/// sum in parts rounds differently from an undivided one.
#[test]
fn grad_weight_sgd_in_rows_and_in_parts_of_the_batch() {
    let rule = |momentum| SgdRule { momentum, weight_decay: 0.25, l1: 0.25, ..SgdRule::plain(0.5) };
    for momentum in [0.0, 0.5] {
        let run = |gpu: &mut Gpu, [batch, inputs, outputs]: [usize; 3], fill: Fill, _: Dropout| {
            let x = fill(1, batch * inputs);
            let dz = fill(4, batch * outputs);
            let x = &gpu.tensor(batch, inputs, &x).unwrap();
            let grad_z = &gpu.tensor(batch, outputs, &dz).unwrap();
            let mut tensors = [(2, inputs), (3, inputs), (5, 1), (6, 1)].map(|(seed, rows)| {
                gpu.tensor(rows, outputs, &fill(seed, rows * outputs)).unwrap()
            });
            let [weight, weight_velocity, bias, bias_velocity] = &mut tensors;
            let velocity = (momentum != 0.0).then_some((weight_velocity, bias_velocity));
            gpu.run(GradWeightSgd { x, grad_z, weight, bias, velocity, rule: rule(momentum) })
                .unwrap();
            tensors.map(|tensor| gpu.read(&tensor).unwrap()).concat()
        };
        products("grad_weight_sgd", false, run, |all, shape, fill, _| {
            let [batch, inputs, outputs] = shape;
            let grad_z: Vec<f64> = fill(4, batch * outputs).into_iter().map(f64::from).collect();
            let state = [(2, inputs), (3, inputs), (5, 1), (6, 1)]
                .map(|(seed, rows)| fill(seed, rows * outputs));
            let state = state.each_ref().map(Vec::as_slice);
            let exact = oracle::grad_weight_sgd(
                &fill(1, batch * inputs),
                &grad_z,
                state,
                shape,
                &rule(momentum),
            );
            let mut rest = all;
            for (i, exact) in exact.iter().enumerate() {
                let (part, after) = rest.split_at(exact.values.len());
                if i % 2 == 0 || momentum != 0.0 {
                    exact.check("grad_weight_sgd", part).unwrap();
                }
                rest = after;
            }
        });
    }
}

#[test]
fn gather_from_a_data_set_in_windows() {
    let (count, cols, batch) = (1001, 301, 37);
    let bytes: Vec<u8> = (0..count * cols).map(|i| (i * 7 % 256) as u8).collect();
    let floats = noise(1, count * cols);
    let labels: Vec<u32> = (0..count as u32).map(|row| row * 3).collect();
    let order: Vec<u32> = (0..count as u32).map(|row| row * 397 % count as u32).collect();
    for is_bytes in [true, false] {
        let run = |gpu: &mut Gpu| {
            let bytes = gpu.tensor(count, cols, &bytes).unwrap();
            let floats = gpu.tensor(count, cols, &floats).unwrap();
            let all_labels = gpu.tensor(count, 1, &labels).unwrap();
            let order = gpu.tensor(count, 1, &order).unwrap();
            let mut x = poisoned(gpu, batch, cols);
            let mut labels = gpu.zeros(batch, 1).unwrap();
            let data = if is_bytes { Features::Bytes(&bytes) } else { Features::Floats(&floats) };
            let dropout = site(0.8, 1, 2);
            let call = Gather {
                data,
                all_labels: &all_labels,
                order: &order,
                first: 500,
                unit: 0.25,
                x: &mut x,
                labels: &mut labels,
                dropout,
            };
            gpu.run(call).unwrap();
            (gpu.read(&x).unwrap(), gpu.read(&labels).unwrap())
        };
        let Some([(x, labels_of), (x_parts, labels_parts)]) = on_both_plans(Tile::Register, run)
        else {
            return;
        };
        same_bits("gather", &x, &x_parts).unwrap();
        assert!(!x.iter().any(|x| x.is_nan()));
        let right: Vec<u32> =
            order[500..500 + batch].iter().map(|&row| labels[row as usize]).collect();
        assert_eq!((&labels_of, &labels_parts), (&right, &right));
    }
}

/// Checks averages on a folded grid. They are never divided, because the order of their sums is
/// that of the networks.
#[test]
fn averages_over_sub_networks_on_a_folded_grid() {
    let folded = |planner| Planner { grid: 5, ..planner };
    let (Some(mut whole), Some(mut folded)) = (gpu_with(|planner| planner), gpu_with(folded))
    else {
        return;
    };
    for (rows, networks) in [(1000, 1), (700, 2), (20, 64)] {
        let x = noise(1, rows * 3);
        let logits = noise(2, networks * rows * 3);
        let run = |gpu: &mut Gpu| {
            let x = gpu.tensor(rows, 3, &x).unwrap();
            let mut y = poisoned(gpu, networks * rows, 3);
            gpu.run(Subnetworks { x: &x, y: &mut y, rows, first: 1, bit: 0, scale: 2.0 }).unwrap();
            let mut logits = gpu.tensor(networks * rows, 3, &logits).unwrap();
            let weights = gpu.tensor(networks, 1, &vec![1.0; networks]).unwrap();
            let mut moments = poisoned(gpu, rows, 7);
            let call = Moments {
                logits: &mut logits,
                weights: &weights,
                first: 0,
                before: 0.0,
                moments: &mut moments,
            };
            gpu.run(call).unwrap();
            [gpu.read(&y).unwrap(), gpu.read(&moments).unwrap()].concat()
        };
        equal(
            &format!("{networks} networks of {rows} rows"),
            Some([run(&mut whole), run(&mut folded)]),
        );
    }
}

/// Checks sums of tensors of which a binding holds 8, 6, 3 or 1 rows, fewer than a step of a tile.
#[test]
fn sums_take_as_few_rows_as_a_binding_holds() {
    for tile in [Tile::Register, Tile::Workgroup] {
        for (terms, wide) in [(37, 2000), (21, 2500), (20, 5001), (5, 16_000)] {
            let run = |gpu: &mut Gpu| {
                let dropout = site(0.5, 3, 5);
                let x = gpu.tensor(36, terms, &small_integers(1, 36 * terms)).unwrap();
                let weight = gpu.tensor(terms, wide, &small_integers(2, terms * wide)).unwrap();
                let mut y = poisoned(gpu, 36, wide);
                gpu.run(LinearForward {
                    x: &x,
                    weight: &weight,
                    bias: None,
                    y: &mut y,
                    relu: true,
                    dropout,
                })
                .unwrap();
                // The same tensors as a batch of `terms` rows.
                let mut grad_weight = poisoned(gpu, wide, 3);
                let mut grad_bias = poisoned(gpu, 1, 3);
                let dy = gpu.tensor(terms, 3, &small_integers(3, terms * 3)).unwrap();
                gpu.run(GradWeight {
                    x: &weight,
                    grad_output: &dy,
                    output: None,
                    grad_weight: &mut grad_weight,
                    grad_bias: &mut grad_bias,
                    dropout,
                })
                .unwrap();
                [&y, &grad_weight, &grad_bias].map(|tensor| gpu.read(tensor).unwrap()).concat()
            };
            let what = format!("tile {tile}, {terms} terms of rows of {wide}");
            equal(&what, on_both_plans(tile, run));
        }
    }
}

/// Checks that work that no windows can fit is refused with its value and the bound, and that the
/// device still works afterwards.
#[test]
fn what_cannot_fit_a_weak_device_is_a_typed_error() {
    let Some(mut gpu) = gpu_with(weak) else { return };
    let dropout = site(0.5, 0, 0);
    let none = Dropout::NONE;
    let refused = |what: &str, result: wgpu_dropout::Result<()>| {
        assert!(
            matches!(&result, Err(Error::Limit { lack, .. }) if lack.needs > lack.has),
            "{what}: {result:?}"
        );
    };
    let gpu = &mut gpu;
    let zeros = |gpu: &mut Gpu, rows: usize, cols: usize| gpu.zeros::<f32>(rows, cols).unwrap();
    let words = |gpu: &mut Gpu, rows: usize, cols: usize| gpu.zeros::<u32>(rows, cols).unwrap();

    let x = zeros(gpu, 4, 4);
    let w = zeros(gpu, 4, 20_000);
    let long = zeros(gpu, 4, 20_000);
    let mut y = zeros(gpu, 4, 20_000);
    let mut dx = zeros(gpu, 4, 4);
    let call = LinearForward { x: &x, weight: &w, bias: None, y: &mut y, relu: false, dropout };
    refused("a row of the weights", gpu.run(call));
    let call = GradInput {
        grad_output: &long,
        output: None,
        weight: &w,
        grad_input: &mut dx,
        dropout,
        through: None,
    };
    refused("a row of dY", gpu.run(call));
    let mut dw = zeros(gpu, 4, 20_000);
    let mut db = zeros(gpu, 1, 20_000);
    let call = GradWeight {
        x: &x,
        grad_output: &long,
        output: None,
        grad_weight: &mut dw,
        grad_bias: &mut db,
        dropout,
    };
    refused("a row of dY", gpu.run(call));

    let mut bits = words(gpu, 1, 20_000);
    refused(
        "a row of the mask",
        gpu.run(MaskBits { bits: &mut bits, cols: 640_000, mask: dropout.mask }),
    );

    let mut dz = zeros(gpu, 4, 20_000);
    let mut losses = zeros(gpu, 4, 2);
    let labels = words(gpu, 4, 1);
    let call = SoftmaxCrossEntropy {
        logits: &long,
        labels: &labels,
        grad_logits: &mut dz,
        losses: &mut losses,
        batch: 4,
    };
    refused("a row of logits", gpu.run(call));

    let x = zeros(gpu, 1000, 20);
    let mut y = zeros(gpu, 1000, 20);
    refused(
        "the sub-networks",
        gpu.run(Subnetworks { x: &x, y: &mut y, rows: 10, first: 0, bit: 0, scale: 1.0 }),
    );
    let weights = zeros(gpu, 100, 1);
    let mut moments = zeros(gpu, 10, 41);
    let call =
        Moments { logits: &mut y, weights: &weights, first: 0, before: 0.0, moments: &mut moments };
    refused("the sub-networks' logits", gpu.run(call));

    let losses = zeros(gpu, 10_000, 2);
    let mut totals = zeros(gpu, 1, 2);
    refused("the losses", gpu.run(BatchLoss { losses: &losses, totals: &mut totals, slot: 0 }));

    let grad = zeros(gpu, 200, 100);
    let mut weight = zeros(gpu, 200, 100);
    let rule = SgdRule { max_norm: Some(1.0), ..SgdRule::plain(0.1) };
    refused(
        "weights under max-norm",
        gpu.run(Sgd { grad: &grad, weight: &mut weight, velocity: None, rule }),
    );

    let data = zeros(gpu, 300, 100);
    let mut x = zeros(gpu, 300, 100);
    let all_labels = &words(gpu, 300, 1);
    let order = &words(gpu, 300, 1);
    let mut labels = words(gpu, 300, 1);
    let data = Features::Floats(&data);
    let call = Gather {
        data,
        all_labels,
        order,
        first: 0,
        unit: 1.0,
        x: &mut x,
        labels: &mut labels,
        dropout: none,
    };
    refused("the mini-batch", gpu.run(call));

    let small = Mask::new(Rate::keep(0.5).unwrap(), Key::default());
    assert!(
        gpu.read_mask(small, 9, 9).unwrap() == small.bytes(9, 9).unwrap(),
        "the device still works"
    );
    let Some(mut gpu) = gpu_with(|planner| Planner { grid: 3, ..weak(planner) }) else { return };
    assert!(
        gpu.read_mask(small, 9 * 64, 32).unwrap() == small.bytes(9 * 64, 32).unwrap(),
        "9 workgroups are 3 × 3"
    );
    refused("10 workgroups", gpu.read_mask(small, 9 * 64 + 1, 32).map(drop));
}

/// Checks a dispatch of more workgroups than the 65,535 that WebGPU guarantees per dimension, on
/// the device as it is.
#[test]
fn a_grid_beyond_a_dimension_is_folded() {
    let Some(mut gpu) = gpu() else { return };
    let (rows, cols) = (65_537, 65 * 32);
    let grid = gpu.device().limits().max_compute_workgroups_per_dimension;
    let mask = site(0.5, 3, 0).mask;
    let mut bits = gpu.tensor(rows, 65, &vec![0xdead_beefu32; rows * 65]).unwrap();
    gpu.run(MaskBits { bits: &mut bits, cols, mask }).unwrap();
    let before = gpu.counts();
    let bits = gpu.read(&bits).unwrap();
    assert_eq!(
        (gpu.counts() - before).dispatches,
        1,
        "one dispatch of {} workgroups, {grid} a dimension",
        rows * 65 / 64
    );
    // Check the first rows, the last, and those around the fold.
    let fold = grid as usize * 64 / 65;
    for row in (0..50).chain(fold.saturating_sub(50)..(fold + 50).min(rows)).chain(rows - 50..rows)
    {
        let shard = mask.at(mask.row_offset + row as u64, 0);
        let words = &bits[row * 65..][..65];
        assert!(
            bits_to_bytes(words, 1, cols).unwrap() == shard.bytes(1, cols).unwrap(),
            "row {row}"
        );
    }
    let kept = bits.iter().map(|word| u64::from(word.count_ones())).sum::<u64>() as f64
        / (rows * cols) as f64;
    assert!((kept - 0.5).abs() < 5.0 * 0.5 / ((rows * cols) as f64).sqrt(), "{kept}");
}

//! Every barrier matters: a kernel with any one of its barriers removed gives wrong bits. naga and
//! the drivers accept such a shader, so no other check would find the omission.

mod common;

use common::{gpu_with, noise, small_integers};
use wgpu_dropout::Backend;
use wgpu_dropout::Dropout;
use wgpu_dropout::call::{BatchLoss, LinearForward, Moments};
use wgpu_dropout::cpu::reference;
use wgpu_dropout::gpu::{Gpu, Kernels, Planner, Tile, Tiles};
use wgpu_dropout::wgpu::DeviceType;

/// Returns the same device with one barrier removed from the kernel in which `before` and `after`
/// surround it.
fn without(gpu: &Gpu, tile: Tile, before: &str, barrier: &str, after: &str) -> Gpu {
    let tiled = |planner| Planner { tiles: Tiles::all(tile), ..planner };
    let kernels = Kernels::with_planner(gpu.device(), tiled).unwrap();
    gpu.with_kernels(
        kernels.edited(&format!("{before}{barrier}{after}"), &format!("{before}{after}")),
    )
}

/// Runs a product, a sum of losses and a sum of moments, and returns which of them are right.
/// Products and losses must match to the bit. Moments, of predictions that are all but certain,
/// must be within 1e-3.
///
/// Each run uses numbers of its own. Workgroup memory may still hold an earlier run's values, which
/// must not pass for this run's.
fn right(gpu: &mut Gpu, run: u64) -> [bool; 3] {
    let (batch, inputs, outputs) = (64, 160, 64);
    let a = small_integers(3 * run, batch * inputs);
    let b = small_integers(3 * run + 1, inputs * outputs);
    let mut product = vec![f32::NAN; batch * outputs];
    reference::linear_forward(&a, &b, None, &mut product, [inputs, outputs], false, &Dropout::NONE);
    let x = gpu.tensor(batch, inputs, &a).unwrap();
    let weight = gpu.tensor(inputs, outputs, &b).unwrap();
    let mut y = common::poisoned(gpu, batch, outputs);
    let call = LinearForward {
        x: &x,
        weight: &weight,
        bias: None,
        y: &mut y,
        relu: false,
        dropout: Dropout::NONE,
    };
    gpu.run(call).unwrap();
    let losses = small_integers(3 * run + 2, 2 * 640);
    let total = [0, 1].map(|column| losses.iter().skip(column).step_by(2).sum::<f32>());
    let losses = gpu.tensor(640, 2, &losses).unwrap();
    let mut totals = common::poisoned(gpu, 1, 2);
    gpu.run(BatchLoss { losses: &losses, totals: &mut totals, slot: 0 }).unwrap();
    let (rows, classes, networks) = (3, 4, 130);
    let mut logits: Vec<f32> =
        noise(run + 100, networks * rows * classes).iter().map(|z| 1e6 * z).collect();
    let weights: Vec<f32> = noise(run + 200, networks).iter().map(|w| 2.0 + w).collect();
    let mut moments = vec![f32::NAN; rows * (2 * classes + 1)];
    let mut z = gpu.tensor(networks * rows, classes, &logits).unwrap();
    let w = gpu.tensor(networks, 1, &weights).unwrap();
    let mut got = common::poisoned(gpu, rows, 2 * classes + 1);
    gpu.run(Moments { logits: &mut z, weights: &w, first: 0, before: 0.0, moments: &mut got })
        .unwrap();
    reference::moments(&mut logits, &weights, 0.0, &mut moments, classes);
    let near = gpu
        .read(&got)
        .unwrap()
        .iter()
        .zip(&moments)
        .all(|(got, right)| (got - right).abs() <= 1e-3);
    [gpu.read(&y).unwrap() == product, gpu.read(&totals).unwrap() == total, near]
}

#[test]
fn each_barrier_that_is_taken_out_shows_as_wrong_bits() {
    let Some(gpu) = gpu_with(|planner| planner) else { return };
    for tile in [Tile::Workgroup, Tile::Wide] {
        assert_eq!(right(&mut without(&gpu, tile, "no such text", "", ""), 0), [true; 3], "{tile}");
    }
    if gpu.info().device_type != DeviceType::Cpu {
        return common::skipped("a race need not show on a real GPU");
    }
    let one = "workgroupBarrier();";
    let both = "storageBarrier();\n    workgroupBarrier();";
    let stored =
        "store(buffer, load, lane, next[load], next_k, tile_row, tile_col);\n        }\n        ";
    // Tile `workgroup` has two buffers, `wide` one.
    for (run, tile, before, barrier, after, shows) in [
        (1, Tile::Workgroup, "    ", one, "\n    var buffer", [false, true, true]),
        (2, Tile::Workgroup, stored, one, "", [false, true, true]),
        (5, Tile::Wide, "if BUFFERS == 1u {\n            ", one, "", [false, true, true]),
        (3, Tile::Workgroup, "partial[lane] = sum;\n    ", one, "", [true, false, true]),
        (4, Tile::Workgroup, "    ", both, "", [true, true, false]),
    ] {
        assert_eq!(
            right(&mut without(&gpu, tile, before, barrier, after), run),
            shows,
            "{before}, {after}"
        );
    }
}

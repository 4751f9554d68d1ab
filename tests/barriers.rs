//! A barrier that is missing shows: with any one of them taken out, the kernels that have barriers give wrong bits. naga and the drivers
//! accept such a shader, so nothing else would tell.

mod common;

use common::{gpu_with, small_integers};
use wgpu_dropout::Dropout;
use wgpu_dropout::backend::Backend;
use wgpu_dropout::call::{BatchLoss, LinearForward};
use wgpu_dropout::cpu::reference;
use wgpu_dropout::gpu::{Gpu, Kernels, Planner, Tile, Tiles};
use wgpu_dropout::wgpu::DeviceType;

/// The same device with one barrier taken out of the kernel whose text goes on so.
fn without(gpu: &Gpu, before: &str, after: &str) -> Gpu {
    let tile = |planner| Planner { tiles: Tiles::all(Tile::Workgroup), ..planner };
    let kernels = Kernels::with_planner(gpu.device(), tile).unwrap();
    gpu.with_kernels(kernels.edited(&format!("{before}workgroupBarrier();{after}"), &format!("{before}{after}")))
}

/// Whether a product and a sum of losses are right, to the bit. Each run has numbers of its own: workgroup memory may still hold what a run
/// before left, which must not pass for this one's.
fn right(gpu: &mut Gpu, run: u64) -> [bool; 2] {
    let (batch, inputs, outputs) = (64, 160, 64);
    let (a, b) = (small_integers(3 * run, batch * inputs), small_integers(3 * run + 1, inputs * outputs));
    let mut product = vec![f32::NAN; batch * outputs];
    reference::linear_forward(&a, &b, None, &mut product, [inputs, outputs], false, &Dropout::NONE);
    let (x, weight) = (gpu.tensor(batch, inputs, &a).unwrap(), gpu.tensor(inputs, outputs, &b).unwrap());
    let mut y = common::poisoned(gpu, batch, outputs);
    let call = LinearForward { x: &x, weight: &weight, bias: None, y: &mut y, relu: false, dropout: Dropout::NONE };
    gpu.linear_forward(call).unwrap();
    let losses = small_integers(3 * run + 2, 2 * 640);
    let total = [0, 1].map(|column| losses.iter().skip(column).step_by(2).sum::<f32>());
    let losses = gpu.tensor(640, 2, &losses).unwrap();
    let mut totals = common::poisoned(gpu, 1, 2);
    gpu.batch_loss(BatchLoss { losses: &losses, totals: &mut totals, slot: 0 }).unwrap();
    [gpu.read(&y).unwrap() == product, gpu.read(&totals).unwrap() == total]
}

#[test]
fn each_barrier_that_is_taken_out_shows_as_wrong_bits() {
    let Some(gpu) = gpu_with(|planner| planner) else { return };
    assert_eq!(right(&mut without(&gpu, "no such text", ""), 0), [true, true]);
    if gpu.info().device_type != DeviceType::Cpu {
        return common::skipped("a race need not show on a real GPU");
    }
    let store = "\n        for (var load = 0u; load < LOADS; load++) { // unroll\n            store_block";
    for (run, before, after, shows) in [
        (1, "        ", store, [false, true]),
        (2, "store_block(load, lane, next[load]);\n        }\n        ", "", [false, true]),
        (3, "partial[lane] = sum;\n    ", "", [true, false]),
    ] {
        assert_eq!(right(&mut without(&gpu, before, after), run), shows, "{before}, {after}");
    }
}

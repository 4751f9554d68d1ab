//! Kernels that process a row, an element or an image at a time.

use super::{equal, on_both_plans, site, weak};
use crate::common::{gpu_with, noise, poisoned};
use wgpu_dropout::Backend;
use wgpu_dropout::Error;
use wgpu_dropout::call::{
    AdamW, AdamWRule, BatchNorm, Filter, Image, LayerNorm, Patches, PatchesGrad, Pool, PoolCall,
    PoolGrad, Pooling, Sgd, SgdRule, SoftmaxCrossEntropy, SparsityGrad, SquaredError,
};
use wgpu_dropout::gpu::{Gpu, Tile};

#[test]
fn softmax_cross_entropy_in_rows() {
    let (batch, classes) = (5000, 10);
    let logits = noise(1, batch * classes);
    let labels = (0..batch as u32).map(|row| row % 10).collect::<Vec<_>>();
    let run = |gpu: &mut Gpu| {
        let z = gpu.tensor(batch, classes, &logits).unwrap();
        let labels = gpu.tensor(batch, 1, &labels).unwrap();
        let mut dz = poisoned(gpu, batch, classes);
        let mut losses = poisoned(gpu, batch, 2);
        let call = SoftmaxCrossEntropy {
            logits: &z,
            labels: &labels,
            grad_logits: &mut dz,
            losses: &mut losses,
            batch,
        };
        gpu.run(call).unwrap();
        [gpu.read(&dz).unwrap(), gpu.read(&losses).unwrap()].concat()
    };
    equal("softmax_cross_entropy", on_both_plans(Tile::Register, run));
}

#[test]
fn squared_error_in_rows() {
    let (batch, cols) = (5000, 10);
    let z = noise(1, batch * cols);
    let targets = noise(2, batch * cols);
    let run = |gpu: &mut Gpu| {
        let z = gpu.tensor(batch, cols, &z).unwrap();
        let targets = gpu.tensor(batch, cols, &targets).unwrap();
        let mut dz = poisoned(gpu, batch, cols);
        let mut losses = poisoned(gpu, batch, 2);
        let sums = &mut losses;
        gpu.run(SquaredError {
            z: &z,
            targets: &targets,
            grad_z: &mut dz,
            losses: sums,
            logistic: true,
        })
        .unwrap();
        [gpu.read(&dz).unwrap(), gpu.read(&losses).unwrap()].concat()
    };
    equal("squared_error", on_both_plans(Tile::Register, run));
}

#[test]
fn layer_norm_in_rows() {
    let (rows, cols) = (300, 201);
    let x = noise(1, rows * cols);
    let affine = noise(2, 2 * cols);
    let run = |gpu: &mut Gpu| {
        let x = gpu.tensor(rows, cols, &x).unwrap();
        let affine = gpu.tensor(2, cols, &affine).unwrap();
        let mut y = poisoned(gpu, rows, cols);
        let mut statistics = poisoned(gpu, rows, 2);
        gpu.run(LayerNorm {
            x: &x,
            affine: &affine,
            y: &mut y,
            statistics: &mut statistics,
            epsilon: 1e-5,
        })
        .unwrap();
        [gpu.read(&y).unwrap(), gpu.read(&statistics).unwrap()].concat()
    };
    equal("layer_norm", on_both_plans(Tile::Register, run));
}

#[test]
fn batch_norm_sparsity_grad_and_adamw_in_rows() {
    let (rows, cols) = (300, 201);
    let x = noise(1, rows * cols);
    let pair = noise(2, 2 * cols).iter().map(|v| v.abs()).collect::<Vec<_>>();
    let rule = AdamWRule { lr: 0.1, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weight_decay: 0.1 };
    let run = |gpu: &mut Gpu| {
        let x = gpu.tensor(rows, cols, &x).unwrap();
        let statistics = gpu.tensor(2, cols, &pair).unwrap();
        let mut y = poisoned(gpu, rows, cols);
        let epsilon = 1e-5;
        let dropout = site(0.6, 3, 5);
        gpu.run(BatchNorm {
            x: &x,
            statistics: &statistics,
            affine: &statistics,
            y: &mut y,
            epsilon,
            relu: true,
            dropout,
        })
        .unwrap();
        let [mut first, mut second] = [(); 2].map(|()| gpu.zeros(rows, cols).unwrap());
        let mut weight = gpu.tensor(rows, cols, &noise(3, rows * cols)).unwrap();
        for step in 0..2 {
            gpu.run(AdamW {
                grad: &x,
                weight: &mut weight,
                first: &mut first,
                second: &mut second,
                rule,
                step,
            })
            .unwrap();
        }
        let mut grad_y = gpu.tensor(rows, cols, &noise(4, rows * cols)).unwrap();
        gpu.run(SparsityGrad {
            statistics: &statistics,
            grad_y: &mut grad_y,
            target: 0.1,
            weight: 2.0,
        })
        .unwrap();
        [&y, &weight, &first, &second, &grad_y].map(|tensor| gpu.read(tensor).unwrap()).concat()
    };
    equal("batch_norm, sparsity_grad, adamw", on_both_plans(Tile::Register, run));
}

#[test]
fn patches_and_pooling_in_images() {
    let count = 150;
    let image = Image { height: 9, width: 7, channels: 5 };
    let filter = Filter { side: 3, padding: 1 };
    let patches = filter.patches(image).unwrap();
    let pool = Pool { pooling: Pooling::Max, height: 2, width: 3 };
    let pooled = pool.pooled(image).unwrap();
    let run = |gpu: &mut Gpu| {
        let x = gpu.tensor(count, image.elements(), &noise(1, count * image.elements())).unwrap();
        let mut y = poisoned(gpu, count * patches.pixels(), patches.channels);
        gpu.run(Patches { x: &x, image, filter, patches: &mut y }).unwrap();
        let mut back = poisoned(gpu, count, image.elements());
        gpu.run(PatchesGrad {
            grad_patches: &y,
            image,
            filter,
            grad_x: &mut back,
            through: Some((&x, 1.5)),
        })
        .unwrap();
        let mut most = poisoned(gpu, count, pooled.elements());
        let mut through = poisoned(gpu, count, image.elements());
        gpu.run(PoolCall { x: &x, image, pool, y: &mut most }).unwrap();
        let grad_x = &mut through;
        gpu.run(PoolGrad { x: &x, image, pool, grad_y: &most, grad_x, through: Some(1.5) })
            .unwrap();
        [&y, &back, &most, &through].map(|tensor| gpu.read(tensor).unwrap()).concat()
    };
    equal("patches, pool", on_both_plans(Tile::Register, run));
    // One image that no binding can hold.
    let Some(mut gpu) = gpu_with(weak) else { return };
    let image = Image { height: 150, width: 150, channels: 1 };
    let x = gpu.zeros(1, image.elements()).unwrap();
    let mut y = gpu.zeros(1, 75 * 75).unwrap();
    let pool = Pool { pooling: Pooling::Max, height: 2, width: 2 };
    let refused = gpu.run(PoolCall { x: &x, image, pool, y: &mut y });
    assert!(matches!(refused, Err(Error::Limit { .. })), "{refused:?}");
}

#[test]
fn sgd_in_rows() {
    let (rows, cols) = (300, 201);
    let grad = noise(1, rows * cols);
    let weight = noise(2, rows * cols);
    let rule = SgdRule { momentum: 0.9, weight_decay: 0.01, ..SgdRule::plain(0.1) };
    let run = |gpu: &mut Gpu| {
        let grad = gpu.tensor(rows, cols, &grad).unwrap();
        let mut weight = gpu.tensor(rows, cols, &weight).unwrap();
        let mut velocity = gpu.zeros(rows, cols).unwrap();
        for _ in 0..2 {
            gpu.run(Sgd { grad: &grad, weight: &mut weight, velocity: Some(&mut velocity), rule })
                .unwrap();
        }
        [gpu.read(&weight).unwrap(), gpu.read(&velocity).unwrap()].concat()
    };
    equal("sgd", on_both_plans(Tile::Register, run));
}

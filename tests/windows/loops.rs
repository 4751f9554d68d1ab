//! Loops that llvmpipe would end early: sums are split before that, and kernels that cannot be
//! split are refused if their loops would be too long.

use crate::common::{gpu_with, poisoned};
use wgpu_dropout::Backend;
use wgpu_dropout::Cpu;
use wgpu_dropout::call::{
    BatchLoss, BatchNormGrad, BatchStatistics, Filter, GradInput, GradWeight, Image, LinearForward,
    Moments, PatchesGrad, Pool, PoolCall, PoolGrad, Pooling, Sgd, SgdRule, SoftmaxCrossEntropy,
    SparsityGrad, SquaredError,
};
use wgpu_dropout::gpu::{Planner, Tile, Tiles};
use wgpu_dropout::{Dropout, Error, Result};

/// Checks sums of ones with more terms than llvmpipe's limit on loop iterations; `order::part`
/// splits none of them.
#[test]
fn sums_of_more_terms_than_a_loop_may_have() {
    let terms = 300_000;
    for tile in [Tile::Register, Tile::Workgroup] {
        let Some(mut gpu) = gpu_with(|planner| Planner { tiles: Tiles::all(tile), ..planner })
        else {
            continue;
        };
        let gpu = &mut gpu;
        let x = gpu.tensor(33, terms, &vec![1.0; 33 * terms]).unwrap();
        let weight = gpu.tensor(terms, 33, &vec![1.0; 33 * terms]).unwrap();
        let mut y = poisoned(gpu, 33, 33);
        let call = LinearForward {
            x: &x,
            weight: &weight,
            bias: None,
            y: &mut y,
            relu: false,
            dropout: Dropout::NONE,
        };
        gpu.run(call).unwrap();
        let mut dw = poisoned(gpu, 33, 33);
        let mut db = poisoned(gpu, 1, 33);
        let (grad_weight, grad_bias, dropout) = (&mut dw, &mut db, Dropout::NONE);
        gpu.run(GradWeight {
            x: &weight,
            grad_output: &weight,
            output: None,
            grad_weight,
            grad_bias,
            dropout,
        })
        .unwrap();
        for (what, sums) in [("forward", y), ("grad_weight", dw), ("grad_bias", db)] {
            let sums = gpu.read(&sums).unwrap();
            assert!(
                sums.iter().all(|&sum| sum == terms as f32),
                "{tile}, {what}: {:?}",
                &sums[..4]
            );
        }
        if gpu.kernels().planner().loops < u64::MAX {
            let grad_input = &mut gpu.zeros(33, 33).unwrap();
            let w = gpu.zeros(33, terms).unwrap();
            let long = gpu.run(GradInput {
                grad_output: &x,
                output: None,
                weight: &w,
                grad_input,
                dropout,
                through: None,
            });
            assert!(matches!(long, Err(Error::TooLarge { .. })), "{tile}: {long:?}");
        }
    }
    // A kernel that is not split: the most classes for which its three loops complete, and one
    // more.
    let Some(mut usual) = gpu_with(|planner| planner) else { return };
    for cols in [21_844, 21_845] {
        let logits = usual.zeros(1, cols).unwrap();
        let labels = usual.zeros(1, 1).unwrap();
        let mut dz = poisoned(&mut usual, 1, cols);
        let mut losses = poisoned(&mut usual, 1, 2);
        let call = SoftmaxCrossEntropy {
            logits: &logits,
            labels: &labels,
            grad_logits: &mut dz,
            losses: &mut losses,
            batch: 1,
        };
        match usual.run(call) {
            Ok(()) => assert!(
                (usual.read(&dz).unwrap()[cols - 1] * cols as f32 - 1.0).abs() < 1e-3,
                "{cols}"
            ),
            Err(error) => {
                assert!(cols == 21_845 && usual.kernels().planner().loops < u64::MAX, "{error}")
            }
        }
    }
    // The control: without the planner's bound, sums are short on a device that ends loops early.
    let unbound =
        |planner| Planner { loops: u64::MAX, tiles: Tiles::all(Tile::Register), ..planner };
    let Some(mut gpu) = gpu_with(unbound) else { return };
    let x = gpu.tensor(33, terms, &vec![1.0; 33 * terms]).unwrap();
    let weight = gpu.tensor(terms, 33, &vec![1.0; 33 * terms]).unwrap();
    let mut y = gpu.zeros(33, 33).unwrap();
    let call = LinearForward {
        x: &x,
        weight: &weight,
        bias: None,
        y: &mut y,
        relu: false,
        dropout: Dropout::NONE,
    };
    gpu.run(call).unwrap();
    let short = gpu.read(&y).unwrap().iter().any(|&sum| sum != terms as f32);
    assert_eq!(short, usual.kernels().planner().loops < u64::MAX);
}

/// Runs a kernel that loops over `n` and is never split. All values are 0 except the last that a
/// loop reads, so a loop that ends early misses it.
fn looped<B: Backend>(backend: &mut B, kernel: &str, n: usize) -> Result<Vec<f32>> {
    let last =
        |n: usize| (0..n).map(|i| if i + 1 == n { n as f32 } else { 0.0 }).collect::<Vec<f32>>();
    let image = |height: usize| Image { height, width: 1, channels: 1 };
    let pool = |pooling| Pool { pooling, height: n, width: 1 };
    let pair = |backend: &mut B| backend.tensor(2, 1, &[0.0, 1.0]);
    let outputs = match kernel {
        "batch_statistics" => {
            let x = backend.tensor(n, 1, &last(n))?;
            let mut statistics = poisoned(backend, 2, 1);
            let mut running = pair(backend)?;
            let (of_batch, of_all) = (&mut statistics, &mut running);
            backend.run(BatchStatistics {
                x: &x,
                statistics: of_batch,
                running: of_all,
                momentum: 0.5,
            })?;
            vec![statistics, running]
        }
        "batch_norm_grad" => {
            let x = backend.tensor(n, 1, &last(n))?;
            let grad_y = backend.tensor(n, 1, &last(n))?;
            let statistics = &pair(backend)?;
            let affine = &pair(backend)?;
            let mut of_affine = poisoned(backend, 2, 1);
            let mut of_x = poisoned(backend, n, 1);
            backend.run(BatchNormGrad {
                x: &x,
                statistics,
                affine,
                grad_y: &grad_y,
                grad_affine: &mut of_affine,
                grad_x: &mut of_x,
                epsilon: 1e-30,
                through: None,
            })?;
            vec![of_affine]
        }
        "sparsity_grad" => {
            let statistics = backend.tensor(2, 1, &[0.5, 1.0])?;
            let mut grad = backend.tensor(n, 1, &last(n))?;
            let weight = n as f32;
            backend.run(SparsityGrad {
                statistics: &statistics,
                grad_y: &mut grad,
                target: 0.1,
                weight,
            })?;
            vec![grad]
        }
        "squared_error" => {
            let z = backend.tensor(1, n, &last(n))?;
            let targets = backend.zeros(1, n)?;
            let mut of_z = poisoned(backend, 1, n);
            let mut sums = poisoned(backend, 1, 2);
            backend.run(SquaredError {
                z: &z,
                targets: &targets,
                grad_z: &mut of_z,
                losses: &mut sums,
                logistic: false,
            })?;
            vec![of_z, sums]
        }
        "sgd under max-norm" => {
            let grad = backend.zeros(n, 1)?;
            let mut weight = backend.tensor(n, 1, &last(n))?;
            let rule = SgdRule { max_norm: Some(1.0), ..SgdRule::plain(0.1) };
            backend.run(Sgd { grad: &grad, weight: &mut weight, velocity: None, rule })?;
            vec![weight]
        }
        "pool" => {
            let x = backend.tensor(1, n, &last(n))?;
            let mut y = poisoned(backend, 1, 1);
            backend.run(PoolCall {
                x: &x,
                image: image(n),
                pool: pool(Pooling::Average),
                y: &mut y,
            })?;
            vec![y]
        }
        "pool_grad" => {
            let x = backend.tensor(1, n, &last(n))?;
            let grad_y = backend.tensor(1, 1, &[3.0])?;
            let mut grad = poisoned(backend, 1, n);
            let image = image(n);
            let pool = pool(Pooling::Max);
            backend.run(PoolGrad {
                x: &x,
                image,
                pool,
                grad_y: &grad_y,
                grad_x: &mut grad,
                through: None,
            })?;
            vec![grad]
        }
        "patches_grad" => {
            // One patch that covers the whole image.
            let image = Image { height: n, width: n, channels: 1 };
            let filter = Filter { side: n, padding: 0 };
            let patches = backend.zeros(1, n * n)?;
            let mut grad = poisoned(backend, 1, n * n);
            backend.run(PatchesGrad {
                grad_patches: &patches,
                image,
                filter,
                grad_x: &mut grad,
                through: None,
            })?;
            vec![grad]
        }
        "batch_loss" => {
            let losses = backend.tensor(n, 2, &last(2 * n))?;
            let mut totals = poisoned(backend, 1, 2);
            backend.run(BatchLoss { losses: &losses, totals: &mut totals, slot: 0 })?;
            vec![totals]
        }
        "moments of one network" | "moments of seven networks" | "moments of ten classes" => {
            let (networks, classes) = match kernel {
                "moments of one network" => (1, n),
                "moments of seven networks" => (7, n),
                _ => (n, 10),
            };
            let mut logits = backend.tensor(networks, classes, &last(networks * classes))?;
            let weights = backend.tensor(networks, 1, &vec![1.0; networks])?;
            let mut of_all = poisoned(backend, 1, 2 * classes + 1);
            backend.run(Moments {
                logits: &mut logits,
                weights: &weights,
                first: 0,
                before: 0.0,
                moments: &mut of_all,
            })?;
            vec![of_all]
        }
        _ => unreachable!("{kernel}"),
    };
    Ok(outputs.iter().map(|tensor| backend.read(tensor)).collect::<Result<Vec<_>>>()?.concat())
}

/// Runs each kernel at the largest size for which its loops complete, counted from its shader, and
/// at one more.
#[test]
fn what_is_not_cut_comes_to_the_end_of_its_loops_or_is_refused() {
    let Some(mut gpu) = gpu_with(|planner| planner) else { return };
    let ends = gpu.kernels().planner().loops < u64::MAX;
    for (kernel, most) in [
        ("batch_statistics", 32_766),
        ("batch_norm_grad", 65_534),
        ("sparsity_grad", 65_534),
        ("squared_error", 65_534),
        ("sgd under max-norm", 32_766),
        ("pool", 65_534),
        ("pool_grad", 32_766),
        ("batch_loss", 65_469 * 64),
        ("moments of one network", 7280),
        ("moments of seven networks", 5697),
        ("moments of ten classes", 1487 * 64),
    ] {
        let got = looped(&mut gpu, kernel, most).unwrap();
        let right = looped(&mut Cpu::reference(), kernel, most).unwrap();
        let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-3 * b.abs().max(1.0);
        assert!(got.len() == right.len() && got.iter().zip(&right).all(near), "{kernel} of {most}");
        let more = looped(&mut gpu, kernel, most + 1);
        assert_eq!(
            matches!(more, Err(Error::TooLarge { bound: 65_535, .. })),
            ends,
            "{kernel} of {}: {:?}",
            most + 1,
            more.err()
        );
    }
    // Without max-norm an update has no loop.
    let grad = gpu.zeros(70_000, 1).unwrap();
    let mut weight = gpu.zeros(70_000, 1).unwrap();
    gpu.run(Sgd { grad: &grad, weight: &mut weight, velocity: None, rule: SgdRule::plain(0.1) })
        .unwrap();
    // Here the number of iterations grows with the square of the size.
    looped(&mut gpu, "patches_grad", 20).unwrap();
    if ends {
        let more = looped(&mut gpu, "patches_grad", 256);
        assert!(
            matches!(more, Err(Error::TooLarge { value: 65_537, bound: 65_535, .. })),
            "{more:?}"
        );
    }
}

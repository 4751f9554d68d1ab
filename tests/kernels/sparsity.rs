//! `sparsity_grad`, and a layer of logistic units that it makes sparse.

use crate::common::{noise, poisoned};
use crate::on_backends;
use wgpu_dropout::Backend;
use wgpu_dropout::call::{
    Activation, ActivationGrad, BatchStatistics, LinearActivation, Sgd, SgdRule, SparsityGrad,
};
use wgpu_dropout::oracle;
use wgpu_dropout::{Dropout, Error};

/// `[B, C]`: ragged, one row, one column, several workgroups.
const SHAPES: [[usize; 2]; 7] =
    [[1, 1], [1, 9], [7, 1], [63, 65], [2, 129], [129, 12], [100, 1009]];

#[test]
fn the_added_gradient_equals_the_oracle() {
    fn check<B: Backend>(backend: &mut B) {
        for [rows, cols] in SHAPES {
            // Means below the lower clamp, above the upper one, and between.
            let means: Vec<f32> = noise(1, 2 * cols).iter().map(|mean| 0.5 + 0.8 * mean).collect();
            let grad = noise(2, rows * cols);
            let target = 0.05;
            let weight = 3.0;
            let statistics = backend.tensor(2, cols, &means).unwrap();
            let mut grad_y = backend.tensor(rows, cols, &grad).unwrap();
            backend
                .run(SparsityGrad { statistics: &statistics, grad_y: &mut grad_y, target, weight })
                .unwrap();
            let what = format!("{} {rows}×{cols}", backend.name());
            let got = backend.read(&grad_y).unwrap();
            oracle::sparsity_grad(&means, &grad, cols, target, weight).check(&what, &got).unwrap();
            // The controls: another target, and the sum over rows in place of their mean.
            for (target, weight) in [(0.06, weight), (target, weight * rows as f32)] {
                let other = oracle::sparsity_grad(&means, &grad, cols, target, weight);
                assert!(
                    rows == 1 || other.check(&what, &got).is_err(),
                    "{what}: {target} {weight}"
                );
            }
        }
    }
    on_backends!(check);
}

/// Runs a layer of logistic units with identity weights, so that `Z` is `X`, and computes the
/// gradient of its penalty.
fn penalized<B: Backend>(
    backend: &mut B,
    z: &B::Tensor<f32>,
    [rows, cols]: [usize; 2],
    target: f32,
    weight: f32,
) -> [Vec<f32>; 2] {
    let identity: Vec<f32> =
        (0..cols * cols).map(|i| f32::from(u8::from(i / cols == i % cols))).collect();
    let identity = backend.tensor(cols, cols, &identity).unwrap();
    let (activation, dropout) = (Activation::Sigmoid, Dropout::NONE);
    let [mut y, mut grad_z] = [(); 2].map(|()| poisoned(backend, rows, cols));
    let mut statistics = poisoned(backend, 2, cols);
    let mut running = backend.zeros(2, cols).unwrap();
    let mut grad_y = backend.zeros(rows, cols).unwrap();
    let call = LinearActivation {
        x: z,
        weight: &identity,
        bias: None,
        residual: None,
        z: None,
        y: &mut y,
        activation,
        dropout,
    };
    backend.run(call).unwrap();
    let call = BatchStatistics {
        x: &y,
        statistics: &mut statistics,
        running: &mut running,
        momentum: 0.1,
    };
    backend.run(call).unwrap();
    backend
        .run(SparsityGrad { statistics: &statistics, grad_y: &mut grad_y, target, weight })
        .unwrap();
    let call = ActivationGrad { grad_output: &grad_y, z, grad_z: &mut grad_z, activation, dropout };
    backend.run(call).unwrap();
    [&grad_z, &statistics].map(|tensor| backend.read(tensor).unwrap())
}

#[test]
fn the_gradient_before_logistic_units_is_that_of_the_penalty() {
    fn check<B: Backend>(backend: &mut B) {
        let (shape @ [rows, cols], target, weight, h) = ([6, 5], 0.1f32, 2.0f32, 1e-5);
        let values: Vec<f32> = noise(3, rows * cols).iter().map(|z| 3.0 * z).collect();
        let z = backend.tensor(rows, cols, &values).unwrap();
        let [grad_z, _] = penalized(backend, &z, shape, target, weight);
        let penalty = |at: usize, step: f64| {
            let logistic = |i: usize| {
                1.0 / (1.0 + (-f64::from(values[i]) - if i == at { step } else { 0.0 }).exp())
            };
            let mean = |col: usize| {
                (0..rows).map(|row| logistic(row * cols + col)).sum::<f64>() / rows as f64
            };
            oracle::sparsity(
                &(0..cols).map(mean).collect::<Vec<_>>(),
                f64::from(target),
                f64::from(weight),
            )
        };
        for (i, grad) in grad_z.iter().enumerate() {
            let difference = (penalty(i, h) - penalty(i, -h)) / (2.0 * h);
            assert!(
                (difference - f64::from(*grad)).abs() <= 1e-6,
                "{} {i}: {grad} and {difference}",
                backend.name()
            );
            // The control: the slope of the logistic function left out.
            let slope = penalty(i, h) - penalty(i, 0.0);
            assert!((slope / h * 4.0 - f64::from(*grad)).abs() > 1e-4, "{i}");
        }
    }
    on_backends!(check);
}

#[test]
fn units_reach_the_target_mean() {
    fn check<B: Backend>(backend: &mut B) {
        let (shape @ [rows, cols], target) = ([32, 7], 0.2);
        let rule = SgdRule::plain(4.0);
        for (weight, comes) in [(1.0, true), (0.0, false)] {
            let mut z = backend.tensor(rows, cols, &noise(4, rows * cols)).unwrap();
            for _ in 0..200 {
                let [grad, _] = penalized(backend, &z, shape, target, weight);
                let grad = backend.tensor(rows, cols, &grad).unwrap();
                backend.run(Sgd { grad: &grad, weight: &mut z, velocity: None, rule }).unwrap();
            }
            let [_, statistics] = penalized(backend, &z, shape, target, weight);
            let near = statistics[..cols].iter().all(|mean| (mean - target).abs() < 0.01);
            assert_eq!(near, comes, "{} λ {weight}: {:?}", backend.name(), &statistics[..cols]);
        }
    }
    on_backends!(check);
}

#[test]
fn units_that_are_off_or_on_in_all_rows_are_pushed_within_bounds() {
    fn check<B: Backend>(backend: &mut B) {
        let statistics = backend.tensor(2, 3, &[0.0, 1.0, 0.05, 0.0, 0.0, 0.0]).unwrap();
        let mut grad_y = backend.zeros(2, 3).unwrap();
        backend
            .run(SparsityGrad {
                statistics: &statistics,
                grad_y: &mut grad_y,
                target: 0.05,
                weight: 2.0,
            })
            .unwrap();
        let got = backend.read(&grad_y).unwrap();
        let what = format!("{} {got:?}", backend.name());
        // The bounds are −ρ/10⁻⁶ and (1 − ρ)/10⁻⁶, the latter to the precision with which f32 holds
        // 1 − 10⁻⁶. The gradient is 0 where the mean is the target.
        assert!(
            (got[0] + 5e4).abs() < 50.0
                && (got[1] / 9.5e5 - 1.0).abs() < 0.1
                && got[2].abs() < 1e-6,
            "{what}"
        );
        assert_eq!(got[..3], got[3..], "{what}");
    }
    on_backends!(check);
}

#[test]
fn wrong_shapes_and_targets_are_refused() {
    fn check<B: Backend>(backend: &mut B) {
        let pair = backend.zeros(2, 3).unwrap();
        let other = backend.zeros(2, 4).unwrap();
        let mut grad_y = backend.zeros::<f32>(4, 3).unwrap();
        let call =
            SparsityGrad { statistics: &other, grad_y: &mut grad_y, target: 0.05, weight: 1.0 };
        assert!(matches!(backend.run(call), Err(Error::Shape { kernel: "sparsity_grad", .. })));
        for target in [0.0, 1.0, -0.5, f32::NAN] {
            let call = SparsityGrad { statistics: &pair, grad_y: &mut grad_y, target, weight: 1.0 };
            assert!(matches!(backend.run(call), Err(Error::Invalid { .. })), "{target}");
        }
    }
    on_backends!(check);
}

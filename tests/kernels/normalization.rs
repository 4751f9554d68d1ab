//! `batch_statistics`, `batch_norm`, `batch_norm_grad` and `adamw`.

use crate::common::{Form, noise, poisoned};
use crate::{on_backends, sites};
use wgpu_dropout::Backend;
use wgpu_dropout::call::{
    AdamW, AdamWRule, BatchNorm, BatchNormGrad, BatchStatistics, EPSILON, LayerNorm,
};
use wgpu_dropout::oracle::{self, Exact};
use wgpu_dropout::{Dropout, Error};

/// `[B, C]`: ragged, one row, one column, several workgroups.
const SHAPES: [[usize; 2]; 8] =
    [[1, 1], [1, 9], [7, 1], [8, 8], [63, 65], [2, 129], [129, 12], [100, 1009]];

/// Returns numbers whose mean and spread differ from column to column.
fn columns(seed: u64, rows: usize, cols: usize) -> Vec<f32> {
    let values = noise(seed, rows * cols);
    let means = noise(seed + 1, cols);
    values
        .iter()
        .enumerate()
        .map(|(i, x)| x * (1.0 + means[i % cols].abs()) + 8.0 * means[i % cols])
        .collect()
}

/// Returns the columns' statistics, `[2, C]`, on the device.
fn statistics<B: Backend>(
    backend: &mut B,
    x: &B::Tensor<f32>,
    running: &mut B::Tensor<f32>,
    cols: usize,
) -> B::Tensor<f32> {
    let mut statistics = poisoned(backend, 2, cols);
    backend
        .run(BatchStatistics { x, statistics: &mut statistics, running, momentum: 0.25 })
        .unwrap();
    statistics
}

#[test]
fn statistics_equal_the_oracle_and_running_ones_follow() {
    fn check<B: Backend>(backend: &mut B) {
        for [rows, cols] in SHAPES {
            let what = format!("{} {rows}×{cols}", backend.name());
            let values = columns(1, rows, cols);
            let before = columns(5, 2, cols);
            let x = backend.tensor(rows, cols, &values).unwrap();
            let mut running = backend.tensor(2, cols, &before).unwrap();
            let statistics = statistics(backend, &x, &mut running, cols);
            let exact = oracle::batch_statistics(&values, cols);
            exact.check(&what, &backend.read(&statistics).unwrap()).unwrap();
            // The control: the unbiased variance must not pass for the biased one.
            if rows > 2 {
                let unbiased = rows as f64 / (rows as f64 - 1.0);
                let values = exact
                    .values
                    .iter()
                    .enumerate()
                    .map(|(i, v)| if i < cols { *v } else { v * unbiased })
                    .collect();
                let other = Exact { values, ..exact.clone() };
                assert!(
                    rows > 60 || other.check(&what, &backend.read(&statistics).unwrap()).is_err(),
                    "{what}"
                );
            }
            let factor = |i: usize| {
                if i < cols || rows == 1 { 1.0 } else { rows as f64 / (rows as f64 - 1.0) }
            };
            let moved = |i: usize| {
                (f64::from(before[i]), exact.values[i] * factor(i), exact.magnitudes[i] * factor(i))
            };
            let mut values = Vec::new();
            let mut magnitudes = Vec::new();
            for (before, new, magnitude) in (0..2 * cols).map(moved) {
                values.push(before + 0.25 * (new - before));
                magnitudes.push(before.abs() + magnitude);
            }
            Exact { values, magnitudes, terms: exact.terms }
                .check(&what, &backend.read(&running).unwrap())
                .unwrap();
        }
    }
    on_backends!(check, [Form::Usual, Form::Downlevel]);
}

#[test]
fn normalized_rows_and_their_statistics_equal_the_oracle() {
    fn check<B: Backend>(backend: &mut B) {
        for [rows, cols] in SHAPES {
            let what = format!("{} {rows}×{cols}", backend.name());
            let values = columns(1, rows, cols);
            let affine = noise(4, 2 * cols);
            let x = backend.tensor(rows, cols, &values).unwrap();
            let affine_of = backend.tensor(2, cols, &affine).unwrap();
            let mut y = poisoned(backend, rows, cols);
            let mut statistics = poisoned(backend, rows, 2);
            let call = LayerNorm {
                x: &x,
                affine: &affine_of,
                y: &mut y,
                statistics: &mut statistics,
                epsilon: EPSILON,
            };
            backend.run(call).unwrap();
            let got = [backend.read(&y).unwrap(), backend.read(&statistics).unwrap()];
            let exact = oracle::layer_norm(&values, &affine, cols, EPSILON);
            for (exact, got) in exact.iter().zip(&got) {
                exact.check(&what, got).unwrap();
            }
            // The controls: the unbiased variance, and γ and β that changed places.
            if (3..=60).contains(&cols) {
                let unbiased = ((cols as f64 - 1.0) / cols as f64).sqrt();
                let x_values = values;
                let values =
                    exact[1].values.iter().enumerate().map(|(i, v)| v * [1.0, unbiased][i % 2]);
                let other = Exact { values: values.collect(), ..exact[1].clone() };
                assert!(other.check(&what, &got[1]).is_err(), "{what}");
                let swapped = [&affine[cols..], &affine[..cols]].concat();
                let other = &oracle::layer_norm(&x_values, &swapped, cols, EPSILON)[0];
                assert!(other.check(&what, &got[0]).is_err(), "{what}");
            }
        }
    }
    on_backends!(check, [Form::Usual, Form::Downlevel]);
}

#[test]
fn normalized_columns_equal_the_oracle_with_relu_and_dropout() {
    fn check<B: Backend>(backend: &mut B) {
        for (i, [rows, cols]) in SHAPES.into_iter().enumerate() {
            let values = columns(1, rows, cols);
            let affine = columns(7, 2, cols);
            let x = backend.tensor(rows, cols, &values).unwrap();
            let mut running = backend.zeros(2, cols).unwrap();
            let statistics = statistics(backend, &x, &mut running, cols);
            let given = backend.read(&statistics).unwrap();
            let gamma = backend.tensor(2, cols, &affine).unwrap();
            for (j, dropout) in sites().into_iter().enumerate() {
                let relu = (i + j) % 2 == 0;
                let mut y = poisoned(backend, rows, cols);
                let (affine_of, epsilon) = (&gamma, EPSILON);
                backend
                    .run(BatchNorm {
                        x: &x,
                        statistics: &statistics,
                        affine: affine_of,
                        y: &mut y,
                        epsilon,
                        relu,
                        dropout,
                    })
                    .unwrap();
                let what = format!("{} {rows}×{cols} relu {relu} {dropout:?}", backend.name());
                let got = backend.read(&y).unwrap();
                oracle::batch_norm(&values, &given, &affine, cols, epsilon, relu, &dropout)
                    .check(&what, &got)
                    .unwrap();
                // The control: γ and β swapped.
                if rows * cols > 20 && dropout.scale != 0.0 && dropout.mask.rate.threshold() > 0 {
                    let swapped = [&affine[cols..], &affine[..cols]].concat();
                    let other = oracle::batch_norm(
                        &values, &given, &swapped, cols, epsilon, relu, &dropout,
                    );
                    assert!(other.check(&what, &got).is_err(), "{what}");
                }
            }
        }
    }
    on_backends!(check, [Form::Usual, Form::Downlevel]);
}

/// Checks that ReLU keeps NaN. Some drivers turn a comparison into a maximum, and NaN into 0.
#[test]
fn a_nan_goes_through_the_rectifier() {
    fn check<B: Backend>(backend: &mut B) {
        let x = backend
            .tensor(2, 3, &[f32::NAN, 2.0, -2.0, 1.0, f32::INFINITY, f32::NEG_INFINITY])
            .unwrap();
        // Mean 0 and variance 1, to which this ε adds nothing; γ 1 and β 0.
        let given = backend.tensor(2, 3, &[0.0, 0.0, 0.0, 1.0, 1.0, 1.0]).unwrap();
        let affine = backend.tensor(2, 3, &[1.0, 1.0, 1.0, 0.0, 0.0, 0.0]).unwrap();
        let mut y = poisoned(backend, 2, 3);
        backend
            .run(BatchNorm {
                x: &x,
                statistics: &given,
                affine: &affine,
                y: &mut y,
                epsilon: 1e-30,
                relu: true,
                dropout: Dropout::NONE,
            })
            .unwrap();
        let y = backend.read(&y).unwrap();
        assert!(
            y[0].is_nan() && y[1..] == [2.0, 0.0, 1.0, f32::INFINITY, 0.0],
            "{} {y:?}",
            backend.name()
        );
    }
    on_backends!(check, [Form::Usual, Form::Downlevel]);
}

#[test]
fn a_normalized_column_has_mean_0_and_variance_1() {
    fn check<B: Backend>(backend: &mut B) {
        let (rows, cols) = (200, 11);
        let x = backend.tensor(rows, cols, &columns(3, rows, cols)).unwrap();
        let mut running = backend.zeros(2, cols).unwrap();
        let statistics = statistics(backend, &x, &mut running, cols);
        let affine = backend.tensor(2, cols, &[vec![1.0; cols], vec![0.0; cols]].concat()).unwrap();
        let mut y = poisoned(backend, rows, cols);
        let call = BatchNorm {
            x: &x,
            statistics: &statistics,
            affine: &affine,
            y: &mut y,
            epsilon: 1e-12,
            relu: false,
            dropout: Dropout::NONE,
        };
        backend.run(call).unwrap();
        let y = backend.read(&y).unwrap();
        let after = oracle::batch_statistics(&y, cols).values;
        assert!(after[..cols].iter().all(|mean| mean.abs() < 1e-5), "{after:?}");
        assert!(after[cols..].iter().all(|variance| (variance - 1.0).abs() < 1e-5), "{after:?}");
    }
    on_backends!(check, [Form::Usual, Form::Downlevel]);
}

/// Returns the statistics, `[dγ, dβ]` and `dX` of `L = Σ dy·y` that the device computes.
fn grads<B: Backend>(
    backend: &mut B,
    x: &[f32],
    affine: &[f32],
    dy: &[f32],
    cols: usize,
    through: Option<f32>,
) -> [Vec<f32>; 3] {
    let rows = x.len() / cols;
    let x = backend.tensor(rows, cols, x).unwrap();
    let mut running = backend.zeros(2, cols).unwrap();
    let statistics = statistics(backend, &x, &mut running, cols);
    let affine = backend.tensor(2, cols, affine).unwrap();
    let grad_y = backend.tensor(rows, cols, dy).unwrap();
    let mut grad_affine = poisoned(backend, 2, cols);
    let mut grad_x = poisoned(backend, rows, cols);
    backend
        .run(BatchNormGrad {
            x: &x,
            statistics: &statistics,
            affine: &affine,
            grad_y: &grad_y,
            grad_affine: &mut grad_affine,
            grad_x: &mut grad_x,
            epsilon: EPSILON,
            through,
        })
        .unwrap();
    [&statistics, &grad_affine, &grad_x].map(|tensor| backend.read(tensor).unwrap())
}

#[test]
fn gradients_equal_the_oracle() {
    fn check<B: Backend>(backend: &mut B) {
        for [rows, cols] in SHAPES {
            for through in [None, Some(1.25)] {
                // Like the output of a ReLU: zeros among positive numbers.
                let cut = |x: f32| if through.is_some() { x.max(0.0) } else { x };
                let x: Vec<f32> = columns(1, rows, cols).into_iter().map(cut).collect();
                let affine = columns(7, 2, cols);
                let dy = noise(9, rows * cols);
                let [statistics, grad_affine, grad_x] =
                    grads(backend, &x, &affine, &dy, cols, through);
                let [exact_affine, exact_x] =
                    oracle::batch_norm_grad(&x, &statistics, &affine, &dy, cols, EPSILON, through);
                let what = format!("{} {rows}×{cols} through {through:?}", backend.name());
                exact_affine.check(&format!("dγ, dβ {what}"), &grad_affine).unwrap();
                exact_x.check(&format!("dx {what}"), &grad_x).unwrap();
            }
        }
    }
    on_backends!(check, [Form::Usual, Form::Downlevel]);
}

/// Checks the gradient against central differences, in f64, of the whole loss, including its
/// dependence on the statistics.
#[test]
fn the_gradient_is_the_slope_through_the_statistics_too() {
    fn check<B: Backend>(backend: &mut B) {
        let (rows, cols) = (6, 3);
        let x = columns(1, rows, cols);
        let affine = columns(7, 2, cols);
        let dy = noise(9, rows * cols);
        let loss = |x: &[f64], affine: &[f64]| -> f64 {
            let mut sum = 0.0;
            for col in 0..cols {
                let column: Vec<f64> = x.iter().skip(col).step_by(cols).copied().collect();
                let mean = column.iter().sum::<f64>() / rows as f64;
                let variance = column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / rows as f64;
                for (row, x) in column.iter().enumerate() {
                    let normal = (x - mean) / (variance + f64::from(EPSILON)).sqrt();
                    sum += f64::from(dy[row * cols + col])
                        * (affine[col] * normal + affine[cols + col]);
                }
            }
            sum
        };
        let wide = |values: &[f32]| values.iter().copied().map(f64::from).collect::<Vec<f64>>();
        let wide_x = wide(&x);
        let wide_affine = wide(&affine);
        let slope = |at: usize, of_x: bool| {
            let moved = |by: f64| {
                let mut x = wide_x.clone();
                let mut affine = wide_affine.clone();
                *(if of_x { &mut x[at] } else { &mut affine[at] }) += by;
                loss(&x, &affine)
            };
            (moved(1e-5) - moved(-1e-5)) / 2e-5
        };
        let [_, grad_affine, grad_x] = grads(backend, &x, &affine, &dy, cols, None);
        let off = |got: &[f32], of_x: bool| {
            got.iter()
                .enumerate()
                .map(|(i, g)| (f64::from(*g) - slope(i, of_x)).abs())
                .fold(0.0, f64::max)
        };
        assert!(off(&grad_x, true) < 1e-5 && off(&grad_affine, false) < 1e-5, "{}", backend.name());
        // The control: the gradient with the mean and the variance wrongly held constant.
        let frozen: Vec<f32> = (0..rows * cols)
            .map(|i| {
                let column: Vec<f64> =
                    wide_x.iter().skip(i % cols).step_by(cols).copied().collect();
                let mean = column.iter().sum::<f64>() / rows as f64;
                let variance = column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / rows as f64;
                dy[i] * affine[i % cols] / (variance.sqrt() as f32)
            })
            .collect();
        assert!(off(&frozen, true) > 1e-2);
    }
    on_backends!(check, [Form::Usual, Form::Downlevel]);
}

#[test]
fn adamw_equals_the_oracle_over_several_steps() {
    fn check<B: Backend>(backend: &mut B) {
        let rule =
            AdamWRule { lr: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.1 };
        for [rows, cols] in SHAPES {
            let count = rows * cols;
            let mut weight = backend.tensor(rows, cols, &noise(1, count)).unwrap();
            let mut first = backend.zeros(rows, cols).unwrap();
            let mut second = backend.zeros(rows, cols).unwrap();
            for step in 0..4 {
                let gradient = noise(2 + u64::from(step), count);
                let grad = backend.tensor(rows, cols, &gradient).unwrap();
                let before = [&weight, &first, &second].map(|tensor| backend.read(tensor).unwrap());
                let (weight, first, second) = (&mut weight, &mut first, &mut second);
                backend
                    .run(AdamW {
                        grad: &grad,
                        weight: &mut *weight,
                        first: &mut *first,
                        second: &mut *second,
                        rule,
                        step,
                    })
                    .unwrap();
                let state = [&before[0][..], &before[1], &before[2]];
                let exact = oracle::adamw(&gradient, state, &rule, step);
                let got = [&*weight, &*first, &*second].map(|tensor| backend.read(tensor).unwrap());
                for ((exact, got), name) in exact.iter().zip(&got).zip(["w", "m", "v"]) {
                    exact
                        .check(
                            &format!("{} {rows}×{cols} step {step}: {name}", backend.name()),
                            got,
                        )
                        .unwrap();
                }
                // The control: the bias correction of the next step.
                let other = oracle::adamw(&gradient, state, &rule, step + 1);
                assert!(other[0].check("", &got[0]).is_err(), "{rows}×{cols} step {step}");
            }
        }
    }
    on_backends!(check, [Form::Usual, Form::Downlevel]);
}

#[test]
fn what_does_not_fit_is_refused() {
    fn check<B: Backend>(backend: &mut B) {
        let mut zeros = |rows, cols| backend.zeros::<f32>(rows, cols).unwrap();
        let x = zeros(4, 3);
        let none = zeros(0, 3);
        let pair = zeros(2, 3);
        let other = zeros(2, 4);
        let mut statistics = zeros(2, 3);
        let mut running = zeros(2, 3);
        let mut y = zeros(4, 3);
        let mut short = zeros(3, 3);
        let (momentum, epsilon, relu, dropout) = (0.1, EPSILON, false, Dropout::NONE);
        let shape = |result: wgpu_dropout::Result<()>| {
            assert!(matches!(result, Err(Error::Shape { .. })), "{result:?}")
        };
        let running = &mut running;
        shape(backend.run(BatchStatistics {
            x: &none,
            statistics: &mut statistics,
            running: &mut *running,
            momentum,
        }));
        shape(backend.run(BatchStatistics {
            x: &x,
            statistics: &mut y,
            running: &mut *running,
            momentum,
        }));
        shape(backend.run(BatchNorm {
            x: &x,
            statistics: &other,
            affine: &pair,
            y: &mut y,
            epsilon,
            relu,
            dropout,
        }));
        shape(backend.run(BatchNorm {
            x: &x,
            statistics: &pair,
            affine: &pair,
            y: &mut short,
            epsilon,
            relu,
            dropout,
        }));
        let rule = AdamWRule { lr: 0.1, beta1: 0.9, beta2: 1.0, epsilon: 1e-8, weight_decay: 0.0 };
        let (first, second) = (&mut statistics, &mut *running);
        let call = AdamW { grad: &x, weight: &mut y, first, second, rule, step: 0 };
        shape(backend.run(call));
        let mut first = backend.zeros(4, 3).unwrap();
        let mut second = backend.zeros(4, 3).unwrap();
        let call = AdamW {
            grad: &x,
            weight: &mut y,
            first: &mut first,
            second: &mut second,
            rule,
            step: 0,
        };
        assert!(matches!(backend.run(call), Err(Error::Invalid { .. })));
    }
    on_backends!(check, [Form::Usual, Form::Downlevel]);
}

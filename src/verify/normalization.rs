//! Checks batch normalization, the sparsity penalty and AdamW against the f64 oracle.

use super::check::{Tally, poisoned};
use super::form::Form;
use super::random::Cases;
use super::shapes::sites;
use crate::call::{
    AdamW, AdamWRule, BatchNorm, BatchNormGrad, BatchStatistics, EPSILON, LayerNorm, SparsityGrad,
};
use crate::{Backend, Result, oracle};

/// Checks statistics, normalization, its backward pass, the sparsity penalty, and updates of the
/// same shape, ragged and in whole vectors.
pub(super) fn normalizations<B: Backend>(
    form: &mut Form<B>,
    cases: &mut Cases,
    tally: &mut Tally,
) -> Result<()> {
    for [rows, cols] in [[1, 1], [7, 13], [9, 12], [65, 64], [130, 70]] {
        let what = format!("{} {rows}×{cols}", form.name);
        let values = cases.noise(rows * cols);
        let affine = cases.noise(2 * cols);
        let grad = cases.noise(rows * cols);
        let on = &mut form.backend;
        let [x, grad_y] = [&values, &grad].map(|values| on.tensor(rows, cols, values));
        let (x, grad_y, affine_of) = (x?, grad_y?, on.tensor(2, cols, &affine)?);
        let (mut statistics, mut running) = (poisoned(on, 2, cols)?, on.zeros(2, cols)?);
        on.run(BatchStatistics {
            x: &x,
            statistics: &mut statistics,
            running: &mut running,
            momentum: 1.0,
        })?;
        let given = on.read(&statistics)?;
        tally.compare(
            oracle::batch_statistics(&values, cols)
                .check(&format!("batch_statistics {what}"), &given),
        );
        for (i, dropout) in sites(cases).into_iter().enumerate() {
            let (mut y, relu, epsilon) = (poisoned(on, rows, cols)?, i % 2 == 0, EPSILON);
            let (statistics, affine_of) = (&statistics, &affine_of);
            on.run(BatchNorm {
                x: &x,
                statistics,
                affine: affine_of,
                y: &mut y,
                epsilon,
                relu,
                dropout,
            })?;
            let exact = oracle::batch_norm(&values, &given, &affine, cols, epsilon, relu, &dropout);
            tally.compare(exact.check(&format!("batch_norm {what} {dropout:?}"), &on.read(&y)?));
        }
        let (mut y, mut rows_of) = (poisoned(on, rows, cols)?, poisoned(on, rows, 2)?);
        on.run(LayerNorm {
            x: &x,
            affine: &affine_of,
            y: &mut y,
            statistics: &mut rows_of,
            epsilon: EPSILON,
        })?;
        let exact = oracle::layer_norm(&values, &affine, cols, EPSILON);
        for (exact, got) in exact.iter().zip([&y, &rows_of]) {
            tally.compare(exact.check(&format!("layer_norm {what}"), &on.read(got)?));
        }
        for through in [None, Some(1.25)] {
            let (mut grad_affine, mut grad_x) = (poisoned(on, 2, cols)?, poisoned(on, rows, cols)?);
            let call = BatchNormGrad {
                x: &x,
                statistics: &statistics,
                affine: &affine_of,
                grad_y: &grad_y,
                grad_affine: &mut grad_affine,
                grad_x: &mut grad_x,
                epsilon: EPSILON,
                through,
            };
            on.run(call)?;
            let exact =
                oracle::batch_norm_grad(&values, &given, &affine, &grad, cols, EPSILON, through);
            for (exact, got) in exact.iter().zip([&grad_affine, &grad_x]) {
                tally.compare(
                    exact.check(&format!("batch_norm_grad {what} {through:?}"), &on.read(got)?),
                );
            }
        }
        // The means extend beyond the clamped range at both ends.
        let means: Vec<f32> = affine.iter().map(|&value| 0.5 + value).collect();
        let means_of = on.tensor(2, cols, &means)?;
        let mut grad_y_of = on.tensor(rows, cols, &grad)?;
        let target = 0.05;
        let weight = 3.0;
        on.run(SparsityGrad { statistics: &means_of, grad_y: &mut grad_y_of, target, weight })?;
        let exact = oracle::sparsity_grad(&means, &grad, cols, target, weight);
        tally.compare(exact.check(&format!("sparsity_grad {what}"), &on.read(&grad_y_of)?));
        let rule =
            AdamWRule { lr: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.1 };
        let (mut weight, mut first, mut second) = (x, on.zeros(rows, cols)?, on.zeros(rows, cols)?);
        for step in 0..3 {
            let before = [&weight, &first, &second].map(|tensor| on.read(tensor));
            let [w, m, v] = before;
            let (w, m, v) = (w?, m?, v?);
            on.run(AdamW {
                grad: &grad_y,
                weight: &mut weight,
                first: &mut first,
                second: &mut second,
                rule,
                step,
            })?;
            let exact = oracle::adamw(&grad, [&w, &m, &v], &rule, step);
            for (exact, got) in exact.iter().zip([&weight, &first, &second]) {
                tally.compare(exact.check(&format!("adamw {what} step {step}"), &on.read(got)?));
            }
        }
    }
    Ok(())
}

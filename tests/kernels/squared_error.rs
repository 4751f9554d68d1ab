//! `squared_error`, with and without logistic outputs.
//!
//! WGSL allows `exp(-|z|)` an error of 3 + 2·|z| units in the last place, and a division 2.5. The
//! slope of the logistic function bounds what the first adds to y:
//!
//! ε·(3 + 2·|z|)·exp(-|z|) / (1 + exp(-|z|))² ≤ ε.
//!
//! The division and the addition add 3·ε more, so |δy| ≤ 5·ε. With targets in 0 to 1, a difference
//! is at most 1 and the slope at most 1/4, so dz is off by at most 12·ε times a row's share.

use crate::common::{noise, poisoned};
use crate::on_backends;
use wgpu_dropout::Backend;
use wgpu_dropout::call::{BatchLoss, SquaredError};
use wgpu_dropout::oracle;

const EPSILON: f64 = f32::EPSILON as f64;

/// Returns the losses and the gradient.
fn run<B: Backend>(
    backend: &mut B,
    z: &[f32],
    targets: &[f32],
    cols: usize,
    logistic: bool,
) -> (Vec<f32>, Vec<f32>) {
    let batch = z.len() / cols;
    let z = backend.tensor(batch, cols, z).unwrap();
    let t = backend.tensor(batch, cols, targets).unwrap();
    let mut dz = poisoned(backend, batch, cols);
    let mut losses = poisoned(backend, batch, 2);
    backend
        .run(SquaredError { z: &z, targets: &t, grad_z: &mut dz, losses: &mut losses, logistic })
        .unwrap();
    let mut totals = poisoned(backend, 1, 2);
    backend.run(BatchLoss { losses: &losses, totals: &mut totals, slot: 0 }).unwrap();
    assert_eq!(backend.read(&totals).unwrap()[1], 0.0, "nothing is right or wrong");
    (backend.read(&losses).unwrap().into_iter().step_by(2).collect(), backend.read(&dz).unwrap())
}

/// Checks values against a bound that a NaN fails.
fn within(
    what: &str,
    computed: &[f32],
    exact: &[f64],
    bound: impl Fn(f64) -> f64,
) -> Result<(), String> {
    assert_eq!(computed.len(), exact.len());
    let inside = |(&c, &e): (&f32, &f64)| (f64::from(c) - e).abs() <= bound(e);
    let outside = computed.iter().zip(exact).position(|pair| !inside(pair));
    outside.map_or(Ok(()), |i| {
        Err(format!(
            "{what}: element {i} is {}, expected {} ± {:e}",
            computed[i],
            exact[i],
            bound(exact[i])
        ))
    })
}

#[test]
fn squared_error_equals_the_oracle() {
    fn check<B: Backend>(backend: &mut B) {
        for [batch, cols] in
            [[1, 1], [1, 7], [7, 1], [8, 9], [63, 10], [65, 64], [129, 3], [2, 127], [5, 1009]]
        {
            for (spread, logistic) in
                [(1.0, false), (30.0, false), (0.0, true), (1.0, true), (30.0, true), (1e4, true)]
            {
                let z: Vec<f32> = noise(1, batch * cols).iter().map(|x| x * spread).collect();
                let targets: Vec<f32> =
                    noise(2, batch * cols).iter().map(|x| 0.5 * (x + 1.0)).collect();
                let what = format!(
                    "{} {batch}×{cols}, spread {spread}, logistic {logistic}",
                    backend.name()
                );
                let (losses, dz) = run(backend, &z, &targets, cols, logistic);
                let (exact_losses, exact_dz) = oracle::squared_error(&z, &targets, cols, logistic);
                let (share, terms) = (1.0 / batch as f64, cols as f64);
                let slack = if logistic { 5.0 * terms } else { 0.0 };
                within(&what, &losses, &exact_losses, |loss| {
                    (slack + (terms + 4.0) * loss) * EPSILON
                })
                .unwrap();
                let slack = if logistic { 12.0 * share } else { 0.0 };
                within(&what, &dz, &exact_dz, |dz| (slack + 4.0 * dz.abs()) * EPSILON).unwrap();
            }
        }
    }
    on_backends!(check);
}

/// Checks the gradient against central differences, in f64, of the mean loss. The control: the
/// slope for the other kind of output.
#[test]
fn the_gradient_is_the_slope_of_the_mean_loss() {
    fn check<B: Backend>(backend: &mut B) {
        let (batch, cols, h) = (3, 5, 1.0 / 1024.0);
        // Multiples of a power of two, so that f32 holds z ± h exactly.
        let z: Vec<f32> =
            noise(3, batch * cols).iter().map(|x| (x * 4096.0).round() / 1024.0).collect();
        let targets: Vec<f32> = noise(4, batch * cols).iter().map(|x| 0.5 * (x + 1.0)).collect();
        let slopes = |logistic: bool| -> Vec<f64> {
            let loss_at = |i: usize, by: f32| {
                let mut z = z.clone();
                z[i] += by;
                oracle::squared_error(&z, &targets, cols, logistic).0.iter().sum::<f64>()
                    / batch as f64
            };
            (0..z.len()).map(|i| (loss_at(i, h) - loss_at(i, -h)) / (2.0 * f64::from(h))).collect()
        };
        for logistic in [false, true] {
            let (_, dz) = run(backend, &z, &targets, cols, logistic);
            within(backend.name().as_str(), &dz, &slopes(logistic), |_| 1e-6).unwrap();
            within(backend.name().as_str(), &dz, &slopes(!logistic), |_| 1e-2).unwrap_err();
        }
    }
    on_backends!(check);
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    fn check<B: Backend>(backend: &mut B) {
        let [z, targets, mut dz, mut losses] =
            [(3, 4), (3, 5), (3, 4), (3, 2)].map(|(r, c)| backend.zeros::<f32>(r, c).unwrap());
        assert!(
            backend
                .run(SquaredError {
                    z: &z,
                    targets: &targets,
                    grad_z: &mut dz,
                    losses: &mut losses,
                    logistic: true
                })
                .is_err()
        );
    }
    on_backends!(check);
}

//! `subnetworks` and `moments`.
//!
//! A class probability is off by at most `(3·C + 8)·ε`, as in the tests of the loss. A mean of
//! numbers of at most 1, over S networks per dispatch and D dispatches, adds one or two roundings
//! for each of the S + D operations that it passes through. Squares add four times as much.

use crate::common::{noise, poisoned, same_bits};
use crate::on_backends;
use wgpu_dropout::Backend;
use wgpu_dropout::call::{Moments, Subnetworks};
use wgpu_dropout::{Error, oracle};

const EPSILON: f64 = f32::EPSILON as f64;
const LOG: f64 = 1.0 / 2_097_152.0;

#[test]
fn subnetworks_drop_what_their_masks_say() {
    fn check<B: Backend>(backend: &mut B) {
        for (rows, cols, networks, first, bit) in [
            (1, 1, 1, 0, 0),
            (3, 7, 4, 8, 2),
            (5, 8, 16, 0, 0),
            (2, 9, 8, 1 << 19, 11),
            (64, 20, 3, 5, 0),
            (1, 32, 2, u32::MAX - 1, 0),
            (1, 1, 65, 0, 3),
        ] {
            for (x_rows, scale) in [(rows, 2.0), (networks * rows, 1.25)] {
                // Dropped elements are 0 whatever their value, even NaN.
                let mut x = noise(1, x_rows * cols);
                x[0] = f32::NAN;
                let right: Vec<f32> = (0..networks * rows * cols)
                    .map(|i| {
                        let (row, col) = (i / cols, i % cols);
                        let mask = u64::from(first) + (row / rows) as u64;
                        if mask >> (bit as usize + col) & 1 == 1 {
                            x[row % x_rows * cols + col] * scale
                        } else {
                            0.0
                        }
                    })
                    .collect();
                let tensor = backend.tensor(x_rows, cols, &x).unwrap();
                let mut y = poisoned(backend, networks * rows, cols);
                backend
                    .run(Subnetworks { x: &tensor, y: &mut y, rows, first, bit, scale })
                    .unwrap();
                let what =
                    format!("{} {rows}×{cols} in {networks} networks from {first}", backend.name());
                let y = backend.read(&y).unwrap();
                same_bits(&what, &y, &right).unwrap();
            }
        }
    }
    on_backends!(check);
}

/// Returns the moments of all networks, computed `per_dispatch` networks at a time.
fn run<B: Backend>(
    backend: &mut B,
    logits: &[f32],
    weights: &[f32],
    rows: usize,
    classes: usize,
    per_dispatch: usize,
) -> Vec<f32> {
    let mut moments = poisoned(backend, rows, 2 * classes + 1);
    let on_device = backend.tensor(weights.len(), 1, weights).unwrap();
    let mut before = 0.0;
    for (i, some) in logits.chunks(per_dispatch * rows * classes).enumerate() {
        let mut logits = backend.tensor(some.len() / classes, classes, some).unwrap();
        let first = i * per_dispatch;
        let call = Moments {
            logits: &mut logits,
            weights: &on_device,
            first,
            before,
            moments: &mut moments,
        };
        backend.run(call).unwrap();
        before += weights[first..].iter().take(per_dispatch).sum::<f32>();
    }
    backend.read(&moments).unwrap()
}

/// Describes the first number outside its bound, if any. NaN counts as outside.
fn outside(
    got: &[f32],
    exact: &[f64],
    classes: usize,
    chain: usize,
    weight: f64,
) -> Option<String> {
    assert_eq!(got.len(), exact.len());
    let slack = (3 * classes + 8) as f64 * EPSILON;
    let chain = (chain + 4) as f64 * EPSILON;
    let bound = |i: usize| match i % (2 * classes + 1) {
        c if c < classes => slack + 4.0 * chain,
        c if c < 2 * classes => weight * (4.0 * slack + 8.0 * chain),
        _ => LOG + 2.0 * slack + 16.0 * EPSILON + 4.0 * chain * (classes as f64).ln().max(1.0),
    };
    let inside = |i: usize| (f64::from(got[i]) - exact[i]).abs() <= bound(i);
    (0..got.len())
        .find(|&i| !inside(i))
        .map(|i| format!("element {i} is {}, expected {} ± {:e}", got[i], exact[i], bound(i)))
}

#[test]
fn moments_equal_the_oracle_however_networks_are_grouped() {
    fn check<B: Backend>(backend: &mut B) {
        for (rows, classes, networks) in
            [(1, 1, 1), (1, 2, 7), (5, 10, 64), (65, 3, 33), (3, 129, 16), (2, 4, 1024)]
        {
            for spread in [0.0, 1.0, 30.0] {
                let logits: Vec<f32> =
                    noise(3, networks * rows * classes).iter().map(|z| z * spread).collect();
                let equal = vec![1.0; networks];
                // Some weights are 0, the first among them.
                let mut uneven: Vec<f32> =
                    noise(4, networks).iter().map(|w| (w.abs() * 4.0).floor()).collect();
                uneven[0] = if networks == 1 { 2.0 } else { 0.0 };
                uneven[networks - 1] = 1.0;
                for weights in [equal, uneven] {
                    let wide: Vec<f64> = weights.iter().copied().map(f64::from).collect();
                    let exact = oracle::moments(&logits, &wide, rows, classes);
                    for per_dispatch in [1, 5, networks] {
                        let chain = per_dispatch + networks.div_ceil(per_dispatch);
                        let got = run(backend, &logits, &weights, rows, classes, per_dispatch);
                        let wrong = outside(&got, &exact, classes, chain, wide.iter().sum());
                        let what = format!(
                            "{} {networks} of {rows}×{classes} ±{spread} by {per_dispatch}",
                            backend.name()
                        );
                        assert!(wrong.is_none(), "{what}: {}", wrong.unwrap_or_default());
                        if spread == 1.0 && networks > 1 && classes > 1 {
                            // The control: another weight for the last network.
                            let other = oracle::moments(
                                &logits,
                                &[&wide[..networks - 1], &[7.0]].concat(),
                                rows,
                                classes,
                            );
                            assert!(
                                outside(&got, &other, classes, chain, wide.iter().sum()).is_some(),
                                "{what}: the control"
                            );
                        }
                    }
                }
            }
        }
    }
    on_backends!(check);
}

#[test]
fn a_certain_prediction_has_no_spread_and_no_entropy() {
    fn check<B: Backend>(backend: &mut B) {
        let logits = [1e4, -1e4, 0.0].repeat(10);
        let moments = run(backend, &logits, &[1.0; 10], 1, 3, 4);
        assert_eq!(moments, [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], "{}", backend.name());
    }
    on_backends!(check);
}

#[test]
fn what_does_not_fit_is_refused() {
    fn check<B: Backend>(backend: &mut B) {
        let x = backend.tensor(3, 4, &noise(1, 12)).unwrap();
        let mut y = poisoned(backend, 6, 4);
        for (rows, first, bit) in [(0, 0, 0), (4, 0, 0), (2, 0, 0), (3, 0, 29), (3, u32::MAX, 0)] {
            let refused =
                backend.run(Subnetworks { x: &x, y: &mut y, rows, first, bit, scale: 1.0 });
            assert!(
                matches!(refused, Err(Error::Shape { .. } | Error::TooLarge { .. })),
                "{rows} {first} {bit}: {refused:?}"
            );
        }
        let mut logits = poisoned(backend, 6, 4);
        let weights = backend.tensor(3, 1, &[1.0; 3]).unwrap();
        for (rows, cols, first) in [(3, 9, 2), (4, 9, 0), (3, 8, 0), (0, 9, 0), (3, 9, usize::MAX)]
        {
            let mut moments = poisoned(backend, rows, cols);
            let call = Moments {
                logits: &mut logits,
                weights: &weights,
                first,
                before: 0.0,
                moments: &mut moments,
            };
            let refused = backend.run(call);
            assert!(
                matches!(refused, Err(Error::Shape { .. })),
                "{rows} {cols} {first}: {refused:?}"
            );
        }
        for before in [-1.0, f32::NAN] {
            let mut moments = poisoned(backend, 3, 9);
            let call = Moments {
                logits: &mut logits,
                weights: &weights,
                first: 0,
                before,
                moments: &mut moments,
            };
            assert!(matches!(backend.run(call), Err(Error::Invalid { .. })), "{before}");
        }
        let mut none = poisoned(backend, 6, 0);
        let mut moments = poisoned(backend, 3, 1);
        let call = Moments {
            logits: &mut none,
            weights: &weights,
            first: 0,
            before: 0.0,
            moments: &mut moments,
        };
        assert!(matches!(backend.run(call), Err(Error::Shape { .. })));
    }
    on_backends!(check);
}

//! `softmax_cross_entropy` and `batch_loss`.
//!
//! WGSL allows `exp(d)` an error of 3 + 2·|d| units in the last place, `log` an error of 2^-21 near
//! 1 and of 3 units elsewhere, and a division 2.5 units. Let d be the distance from the largest
//! logit. Since `|d|·exp(−|d|) ≤ 1/e`, each of the C terms adds a bounded error to their sum, which
//! is at least 1: together at most `(3·C + 8)·ε`. The subtractions add an error proportional to the
//! numbers themselves.

use crate::common::{noise, poisoned};
use crate::on_backends;
use wgpu_dropout::Backend;
use wgpu_dropout::call::{BatchLoss, SoftmaxCrossEntropy};
use wgpu_dropout::oracle;

const EPSILON: f64 = f32::EPSILON as f64;
const LOG: f64 = 1.0 / 2_097_152.0;

/// Returns the losses, the correct-answer flags and the gradient of the logits.
fn run<B: Backend>(
    backend: &mut B,
    logits: &[f32],
    labels: &[u32],
    classes: usize,
) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let batch = labels.len();
    let z = backend.tensor(batch, classes, logits).unwrap();
    let y = backend.tensor(batch, 1, labels).unwrap();
    let mut dz = poisoned(backend, batch, classes);
    let mut losses = poisoned(backend, batch, 2);
    let call = SoftmaxCrossEntropy {
        logits: &z,
        labels: &y,
        grad_logits: &mut dz,
        losses: &mut losses,
        batch,
    };
    backend.run(call).unwrap();
    let pairs = backend.read(&losses).unwrap();
    let column = |c: usize| pairs.iter().skip(c).step_by(2).copied().collect();
    (column(0), column(1), backend.read(&dz).unwrap())
}

/// Checks values against a bound that a NaN fails.
fn within(computed: &[f32], exact: &[f64], bound: impl Fn(f64) -> f64) -> Result<(), String> {
    assert_eq!(computed.len(), exact.len());
    let inside = |(&c, &e): (&f32, &f64)| (f64::from(c) - e).abs() <= bound(e);
    let outside = computed.iter().zip(exact).position(|pair| !inside(pair));
    outside.map_or(Ok(()), |i| {
        Err(format!(
            "element {i} is {}, expected {} ± {:e}",
            computed[i],
            exact[i],
            bound(exact[i])
        ))
    })
}

fn check_rows<B: Backend>(
    backend: &mut B,
    what: &str,
    logits: &[f32],
    labels: &[u32],
    classes: usize,
) {
    let what = format!("{} {what} {}×{classes}", backend.name(), labels.len());
    let (losses, right, dz) = run(backend, logits, labels, classes);
    let (exact_losses, exact_dz) = oracle::softmax_cross_entropy(logits, labels, classes);
    let slack = (3 * classes + 8) as f64 * EPSILON;
    within(&losses, &exact_losses, |loss| LOG + slack + 4.0 * EPSILON * loss.abs())
        .map_err(|e| format!("{what} loss: {e}"))
        .unwrap();
    let share = 1.0 / labels.len().max(1) as f64;
    within(&dz, &exact_dz, |_| share * (slack + 8.0 * EPSILON))
        .map_err(|e| format!("{what} dz: {e}"))
        .unwrap();
    for (row, z) in logits.chunks(classes.max(1)).enumerate() {
        let first_largest = (1..classes).fold(0, |best, c| if z[c] > z[best] { c } else { best });
        let expected = if first_largest as u32 == labels[row] { 1.0 } else { 0.0 };
        assert_eq!(right[row], expected, "{what} row {row}");
    }
}

#[test]
fn softmax_cross_entropy_equals_the_oracle() {
    fn check<B: Backend>(backend: &mut B) {
        for [batch, classes] in [
            [1, 1],
            [1, 7],
            [7, 1],
            [8, 9],
            [63, 10],
            [64, 10],
            [65, 64],
            [129, 3],
            [2, 127],
            [5, 1009],
            [0, 10],
        ] {
            for spread in [0.0, 1.0, 30.0, 1e4] {
                let logits: Vec<f32> =
                    noise(1, batch * classes).iter().map(|x| x * spread).collect();
                let labels: Vec<u32> = noise(2, batch)
                    .iter()
                    .map(|x| ((x + 1.0) * 0.5 * classes as f32) as u32)
                    .collect();
                check_rows(backend, &format!("spread {spread}"), &logits, &labels, classes);
            }
        }
    }
    on_backends!(check);
}

#[test]
fn logits_of_ten_thousand_overflow_nothing() {
    fn check<B: Backend>(backend: &mut B) {
        let logits =
            [1e4, -1e4, 0.0, 1e4, -1e4, 0.0, 1e4, 1e4, 1e4, -1e4, -1e4, -1e4, 3e38, -3e37, 0.0];
        let labels = [0, 1, 2, 0, 1];
        check_rows(backend, "large logits", &logits[..12], &labels[..4], 3);
        let (losses, right, _) = run(backend, &logits, &labels, 3);
        assert_eq!((losses[0], right[0]), (0.0, 1.0));
        assert_eq!((losses[1], right[1]), (2e4, 0.0));
        assert!(
            (losses[2] - 3f32.ln()).abs() < 1e-5 && right[2] == 0.0,
            "the first of equal logits counts"
        );
        assert!(losses[4].is_finite() && losses[4] > 3e38, "{}", losses[4]);
    }
    on_backends!(check);
}

#[test]
fn a_label_past_the_classes_gives_nan_and_harms_no_other_row() {
    fn check<B: Backend>(backend: &mut B) {
        let logits = noise(3, 5 * 4);
        let (losses, right, dz) = run(backend, &logits, &[0, 4, 3, u32::MAX, 1], 4);
        assert_eq!(
            losses.iter().map(|loss| loss.is_nan()).collect::<Vec<_>>(),
            [false, true, false, true, false]
        );
        assert_eq!((right[1], right[3]), (0.0, 0.0));
        let (_, exact) = oracle::softmax_cross_entropy(&logits, &[0, 0, 3, 0, 1], 4);
        for row in [0, 2, 4] {
            within(&dz[4 * row..][..4], &exact[4 * row..][..4], |_| 1e-6).unwrap();
        }
    }
    on_backends!(check);
}

#[test]
fn a_logit_that_is_no_number_gives_a_loss_that_is_none() {
    fn check<B: Backend>(backend: &mut B) {
        for special in [f32::NAN, f32::INFINITY] {
            for place in 0..3 {
                let mut logits = [0.5, -0.5, 0.25];
                logits[place] = special;
                let (losses, _, _) = run(backend, &logits, &[0], 3);
                assert!(
                    !losses[0].is_finite(),
                    "{} {special} at {place}: {}",
                    backend.name(),
                    losses[0]
                );
            }
        }
    }
    on_backends!(check);
}

#[test]
fn the_comparison_rejects_what_it_must() {
    within(&[1.0], &[1.0], |_| 0.0).unwrap();
    for wrong in [f32::NAN, 1.1, f32::INFINITY] {
        assert!(within(&[wrong], &[1.0], |_| 0.01).is_err());
    }
    // The gradient for another label is far outside the bound.
    let logits = noise(4, 10);
    let (_, _, dz) = run(&mut wgpu_dropout::Cpu::reference(), &logits, &[3], 10);
    let (_, other) = oracle::softmax_cross_entropy(&logits, &[4], 10);
    assert!(within(&dz, &other, |_| 0.1).is_err());
}

#[test]
fn batch_loss_sums_into_its_own_row() {
    fn check<B: Backend>(backend: &mut B) {
        for rows in [0, 1, 2, 63, 64, 65, 129, 1000] {
            let pairs: Vec<f32> = noise(5, 2 * rows).iter().map(|x| x + 1.0).collect();
            let losses = backend.tensor(rows, 2, &pairs).unwrap();
            let mut totals = poisoned(backend, 3, 2);
            backend.run(BatchLoss { losses: &losses, totals: &mut totals, slot: 1 }).unwrap();
            let totals = backend.read(&totals).unwrap();
            assert!(
                [0, 1, 4, 5].iter().all(|&i| totals[i].is_nan()),
                "the other rows are left alone: {totals:?}"
            );
            for column in 0..2 {
                let exact: f64 = pairs.iter().skip(column).step_by(2).copied().map(f64::from).sum();
                let terms = rows.div_ceil(64) + 64;
                within(&totals[2 + column..][..1], &[exact], |sum| terms as f64 * EPSILON * sum)
                    .unwrap();
            }
            let mut none = poisoned(backend, 3, 2);
            assert!(
                backend.run(BatchLoss { losses: &losses, totals: &mut none, slot: 3 }).is_err()
            );
        }
    }
    on_backends!(check);
}

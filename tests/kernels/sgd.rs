//! `sgd`: momentum, weight decay and max-norm against the rule in f64, over several updates.

use crate::common::noise;
use crate::on_backends;
use wgpu_dropout::backend::Backend;
use wgpu_dropout::call::{Sgd, SgdRule};
use wgpu_dropout::oracle;

const SHAPES: [[usize; 2]; 11] = [[1, 1], [1, 7], [7, 1], [8, 9], [63, 65], [65, 63], [64, 64], [129, 3], [3, 129], [0, 3], [3, 0]];

fn rules() -> Vec<SgdRule> {
    let mut rules = Vec::new();
    for momentum in [0.0, 0.9] {
        for weight_decay in [0.0, 0.1] {
            for max_norm in [None, Some(0.5), Some(3.0)] {
                rules.push(SgdRule { lr: 0.25, momentum, weight_decay, max_norm });
            }
        }
    }
    rules.push(SgdRule { lr: 0.0, momentum: 0.5, weight_decay: 0.1, max_norm: None });
    rules
}

#[test]
fn sgd_follows_the_rule_update_by_update() {
    fn check<B: Backend>(backend: &mut B) {
        for [rows, cols] in SHAPES {
            for rule in rules() {
                let what = format!("{} sgd {rows}×{cols} {rule:?}", backend.name());
                let mut state = noise(1, rows * cols);
                let mut velocities = vec![0.0; rows * cols];
                let mut weight = backend.tensor(rows, cols, &state).unwrap();
                let mut velocity = backend.tensor(rows, cols, &velocities).unwrap();
                for update in 0..3 {
                    let gradient = noise(2 + update, rows * cols);
                    let grad = backend.tensor(rows, cols, &gradient).unwrap();
                    let kept = (rule.momentum != 0.0).then_some(&mut velocity);
                    backend.sgd(Sgd { grad: &grad, weight: &mut weight, velocity: kept, rule }).unwrap();
                    let [exact_weight, exact_velocity] = oracle::sgd(&gradient, &state, &velocities, cols, &rule);
                    state = backend.read(&weight).unwrap();
                    exact_weight.check(&what, &state).unwrap();
                    if rule.momentum != 0.0 {
                        velocities = backend.read(&velocity).unwrap();
                        exact_velocity.check(&what, &velocities).unwrap();
                    }
                    if let Some(most) = rule.max_norm {
                        for col in 0..cols {
                            let norm = state.iter().skip(col).step_by(cols).map(|w| w * w).sum::<f32>().sqrt();
                            assert!(norm <= most * 1.0001, "{what}: column {col} has norm {norm}");
                        }
                    }
                }
            }
        }
    }
    on_backends!(check);
}

/// The control: what each part of the rule adds is far outside the bound of the rest.
#[test]
fn every_part_of_the_rule_shows() {
    fn check<B: Backend>(backend: &mut B) {
        let (rows, cols) = (20, 6);
        let (start, gradient) = (noise(1, rows * cols), noise(2, rows * cols));
        let full = SgdRule { lr: 0.25, momentum: 0.9, weight_decay: 0.1, max_norm: Some(1.5) };
        let mut after = |rule: SgdRule| {
            let mut weight = backend.tensor(rows, cols, &start).unwrap();
            let mut velocity = backend.tensor(rows, cols, &vec![0.5; rows * cols]).unwrap();
            let grad = backend.tensor(rows, cols, &gradient).unwrap();
            backend.sgd(Sgd { grad: &grad, weight: &mut weight, velocity: Some(&mut velocity), rule }).unwrap();
            backend.read(&weight).unwrap()
        };
        let right = after(full);
        let rest = [
            SgdRule { lr: 0.26, ..full },
            SgdRule { momentum: 0.8, ..full },
            SgdRule { weight_decay: 0.0, ..full },
            SgdRule { max_norm: None, ..full },
        ];
        for rule in rest {
            let furthest = after(rule).iter().zip(&right).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(furthest > 1e-3, "{rule:?} gives nearly what {full:?} gives: {furthest:e}");
        }
    }
    on_backends!(check);
}

#[test]
fn momentum_without_a_velocity_is_refused() {
    fn check<B: Backend>(backend: &mut B) {
        let (grad, mut weight) = (backend.zeros(2, 2).unwrap(), backend.zeros(2, 2).unwrap());
        let rule = SgdRule { lr: 0.1, momentum: 0.9, weight_decay: 0.0, max_norm: None };
        assert!(backend.sgd(Sgd { grad: &grad, weight: &mut weight, velocity: None, rule }).is_err());
    }
    on_backends!(check);
}

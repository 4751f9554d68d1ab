//! `sgd` and `grad_weight_sgd`: momentum, weight decay, L1 and max-norm against the rule in f64,
//! over several updates.

use crate::common::{noise, poisoned, same_bits, small_integers, tiles_and_downlevel};
use crate::on_backends;
use wgpu_dropout::Backend;
use wgpu_dropout::call::{GradWeight, GradWeightSgd, Sgd, SgdRule};
use wgpu_dropout::{Dropout, Error, oracle};

const SHAPES: [[usize; 2]; 11] = [
    [1, 1],
    [1, 7],
    [7, 1],
    [8, 9],
    [63, 65],
    [65, 63],
    [64, 64],
    [129, 3],
    [3, 129],
    [0, 3],
    [3, 0],
];

fn rules() -> Vec<SgdRule> {
    let mut rules = Vec::new();
    for momentum in [0.0, 0.9] {
        for weight_decay in [0.0, 0.1] {
            for max_norm in [None, Some(0.5), Some(3.0)] {
                rules.push(SgdRule { momentum, weight_decay, max_norm, ..SgdRule::plain(0.25) });
            }
        }
        rules.push(SgdRule { momentum, l1: 0.05, ..SgdRule::plain(0.25) });
        rules.push(SgdRule {
            momentum,
            weight_decay: 0.1,
            l1: 0.05,
            max_norm: Some(3.0),
            ..SgdRule::plain(0.25)
        });
    }
    rules.push(SgdRule { momentum: 0.5, weight_decay: 0.1, ..SgdRule::plain(0.0) });
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
                    backend
                        .run(Sgd { grad: &grad, weight: &mut weight, velocity: kept, rule })
                        .unwrap();
                    let [exact_weight, exact_velocity] =
                        oracle::sgd(&gradient, &state, &velocities, cols, &rule);
                    state = backend.read(&weight).unwrap();
                    exact_weight.check(&what, &state).unwrap();
                    if rule.momentum != 0.0 {
                        velocities = backend.read(&velocity).unwrap();
                        exact_velocity.check(&what, &velocities).unwrap();
                    }
                    if let Some(most) = rule.max_norm {
                        for col in 0..cols {
                            let norm = state
                                .iter()
                                .skip(col)
                                .step_by(cols)
                                .map(|w| w * w)
                                .sum::<f32>()
                                .sqrt();
                            assert!(norm <= most * 1.0001, "{what}: column {col} has norm {norm}");
                        }
                    }
                }
            }
        }
    }
    on_backends!(check);
}

/// The control of the bound: changing or omitting any one part of the rule moves the result far
/// outside it.
#[test]
fn every_part_of_the_rule_shows() {
    fn check<B: Backend>(backend: &mut B) {
        let (rows, cols) = (20, 6);
        let start = noise(1, rows * cols);
        let gradient = noise(2, rows * cols);
        let full = SgdRule {
            momentum: 0.9,
            weight_decay: 0.1,
            l1: 0.2,
            max_norm: Some(1.5),
            ..SgdRule::plain(0.25)
        };
        let mut after = |rule: SgdRule| {
            let mut weight = backend.tensor(rows, cols, &start).unwrap();
            let mut velocity = backend.tensor(rows, cols, &vec![0.5; rows * cols]).unwrap();
            let grad = backend.tensor(rows, cols, &gradient).unwrap();
            backend
                .run(Sgd { grad: &grad, weight: &mut weight, velocity: Some(&mut velocity), rule })
                .unwrap();
            backend.read(&weight).unwrap()
        };
        let right = after(full);
        let rest = [
            SgdRule { lr: 0.26, ..full },
            SgdRule { momentum: 0.8, ..full },
            SgdRule { weight_decay: 0.0, ..full },
            SgdRule { l1: 0.0, ..full },
            SgdRule { max_norm: None, ..full },
        ];
        for rule in rest {
            let furthest =
                after(rule).iter().zip(&right).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(furthest > 1e-3, "{rule:?} gives nearly what {full:?} gives: {furthest:e}");
        }
    }
    on_backends!(check);
}

/// Checks that `α·|w|` has no slope at 0: a weight of 0 stays, and other weights are pulled towards
/// 0.
#[test]
fn an_l1_penalty_pulls_towards_0_and_leaves_0_alone() {
    fn check<B: Backend>(backend: &mut B) {
        let start = [2.0, -2.0, 0.0, -0.0, 0.5, -0.5, 0.0];
        let mut weight = backend.tensor(7, 1, &start).unwrap();
        let grad = backend.zeros(7, 1).unwrap();
        let rule = SgdRule { l1: 0.5, ..SgdRule::plain(0.5) };
        backend.run(Sgd { grad: &grad, weight: &mut weight, velocity: None, rule }).unwrap();
        assert_eq!(backend.read(&weight).unwrap(), [1.75, -1.75, 0.0, 0.0, 0.25, -0.25, 0.0]);
    }
    on_backends!(check);
}

#[test]
fn momentum_without_a_velocity_is_refused() {
    fn check<B: Backend>(backend: &mut B) {
        let grad = backend.zeros(2, 2).unwrap();
        let mut weight = backend.zeros(2, 2).unwrap();
        let rule = SgdRule { momentum: 0.9, ..SgdRule::plain(0.1) };
        assert!(
            backend.run(Sgd { grad: &grad, weight: &mut weight, velocity: None, rule }).is_err()
        );
    }
    on_backends!(check);
}

/// `[B, I, O]`
const LAYERS: [[usize; 3]; 11] = [
    [1, 1, 1],
    [7, 13, 9],
    [9, 63, 65],
    [8, 64, 64],
    [33, 127, 10],
    [5, 1, 7],
    [16, 36, 132],
    [2, 7, 257],
    [0, 5, 3],
    [5, 0, 3],
    [5, 3, 0],
];

/// A layer's parameters and velocities: `W`, its `v`, `b`, its `v`.
type State = [Vec<f32>; 4];

fn start([_, inputs, outputs]: [usize; 3], fill: fn(u64, usize) -> Vec<f32>) -> State {
    [fill(1, inputs * outputs), fill(2, inputs * outputs), fill(3, outputs), fill(4, outputs)]
}

/// Returns the state after one update, made by the fused kernel or by the three kernels that it
/// replaces.
fn update<B: Backend>(
    backend: &mut B,
    x: &[f32],
    grad_z: &[f32],
    state: &State,
    shape: [usize; 3],
    rule: SgdRule,
    fused: bool,
) -> State {
    let [batch, inputs, outputs] = shape;
    let x = &backend.tensor(batch, inputs, x).unwrap();
    let grad_z = &backend.tensor(batch, outputs, grad_z).unwrap();
    let mut tensors = [(inputs, &state[0]), (inputs, &state[1]), (1, &state[2]), (1, &state[3])]
        .map(|(rows, values)| backend.tensor(rows, outputs, values).unwrap());
    let [weight, weight_velocity, bias, bias_velocity] = &mut tensors;
    let velocity = (rule.momentum != 0.0).then_some((weight_velocity, bias_velocity));
    if fused {
        backend.run(GradWeightSgd { x, grad_z, weight, bias, velocity, rule }).unwrap();
    } else {
        let mut dw = poisoned(backend, inputs, outputs);
        let mut db = poisoned(backend, 1, outputs);
        backend
            .run(GradWeight {
                x,
                grad_output: grad_z,
                output: None,
                grad_weight: &mut dw,
                grad_bias: &mut db,
                dropout: Dropout::NONE,
            })
            .unwrap();
        let (weight_velocity, bias_velocity) = velocity.unzip();
        backend.run(Sgd { grad: &dw, weight, velocity: weight_velocity, rule }).unwrap();
        backend
            .run(Sgd { grad: &db, weight: bias, velocity: bias_velocity, rule: rule.for_bias() })
            .unwrap();
    }
    tensors.map(|tensor| backend.read(&tensor).unwrap())
}

#[test]
fn a_layer_is_updated_as_the_rule_says() {
    fn check<B: Backend>(backend: &mut B) {
        for shape in LAYERS {
            let [batch, inputs, outputs] = shape;
            for rule in rules().into_iter().filter(|rule| rule.max_norm.is_none()) {
                let what = format!("{} grad_weight_sgd {shape:?} {rule:?}", backend.name());
                let mut state = start(shape, noise);
                for round in 0..3 {
                    let x = noise(5 + round, batch * inputs);
                    let grad_z = noise(8 + round, batch * outputs);
                    let exact_z: Vec<f64> = grad_z.iter().copied().map(f64::from).collect();
                    let exact = oracle::grad_weight_sgd(
                        &x,
                        &exact_z,
                        state.each_ref().map(Vec::as_slice),
                        shape,
                        &rule,
                    );
                    let next = update(backend, &x, &grad_z, &state, shape, rule, true);
                    for (i, (exact, next)) in exact.iter().zip(&next).enumerate() {
                        // Without momentum the velocities must stay unchanged.
                        if i % 2 == 0 || rule.momentum != 0.0 {
                            exact
                                .check(
                                    &format!("{what}, {}", ["W", "v of W", "b", "v of b"][i]),
                                    next,
                                )
                                .unwrap();
                        } else {
                            same_bits(&what, next, &state[i]).unwrap();
                        }
                    }
                    state = next;
                }
            }
        }
    }
    on_backends!(check, tiles_and_downlevel());
}

/// Checks that the fused update gives the bits of the separate kernels. Whole numbers times powers
/// of two are exact in any order. The control: another rule gives other bits.
#[test]
fn a_fused_update_is_the_gradient_and_then_the_update() {
    fn check<B: Backend>(backend: &mut B) {
        for shape in LAYERS {
            let [batch, inputs, outputs] = shape;
            let x = small_integers(5, batch * inputs);
            let grad_z = small_integers(6, batch * outputs);
            let state = start(shape, small_integers);
            for (momentum, weight_decay, l1) in [
                (0.0, 0.0, 0.0),
                (0.0, 0.25, 0.0),
                (0.5, 0.0, 0.5),
                (0.5, 0.25, 0.0),
                (0.0, 0.25, 0.5),
            ] {
                let rule = SgdRule { momentum, weight_decay, l1, ..SgdRule::plain(0.5) };
                let fused = update(backend, &x, &grad_z, &state, shape, rule, true);
                let apart = update(backend, &x, &grad_z, &state, shape, rule, false);
                let faster =
                    update(backend, &x, &grad_z, &state, shape, SgdRule { lr: 1.0, ..rule }, true);
                for (fused, apart) in fused.iter().zip(&apart) {
                    same_bits(&format!("{shape:?} {rule:?}"), fused, apart).unwrap();
                }
                assert!(batch * inputs * outputs < 100 || fused[0] != faster[0], "{shape:?}");
            }
        }
    }
    on_backends!(check, tiles_and_downlevel());
}

#[test]
fn a_fused_update_has_no_max_norm_and_needs_its_velocities() {
    fn check<B: Backend>(backend: &mut B) {
        let [x, grad_z, mut weight, mut bias] =
            [(2, 3), (2, 4), (3, 4), (1, 4)].map(|(r, c)| backend.zeros(r, c).unwrap());
        let rule = SgdRule { momentum: 0.9, ..SgdRule::plain(0.1) };
        let mut call = |rule| {
            backend.run(GradWeightSgd {
                x: &x,
                grad_z: &grad_z,
                weight: &mut weight,
                bias: &mut bias,
                velocity: None,
                rule,
            })
        };
        assert!(matches!(call(rule), Err(Error::Shape { .. })));
        let rule = SgdRule { momentum: 0.0, ..rule };
        assert!(matches!(
            call(SgdRule { max_norm: Some(1.0), ..rule }),
            Err(Error::Invalid { .. })
        ));
        call(rule).unwrap();
    }
    on_backends!(check);
}

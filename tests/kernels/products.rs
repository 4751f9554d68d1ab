//! `linear_forward`, `grad_input`, `grad_weight`: matrix products with fused dropout, on the CPU
//! and in each tile.

use crate::common::{
    TILES, noise, poisoned, same_bits, small_integers, tiles_and_downlevel, with_gpu,
};
use crate::{exact_sites, mask, on_backends, sites};
use wgpu_dropout::Backend;
use wgpu_dropout::Cpu;
use wgpu_dropout::call::{GradInput, GradWeight, LinearForward};
use wgpu_dropout::oracle::{self, Exact};
use wgpu_dropout::{Dropout, Mode, Rate};

/// `[B, I, O]`: ragged ones, one row, one column, primes, whole vectors, empty sums and empty
/// results; and few rows or columns with long sums, which are split in the forward pass (the first
/// three) or in the backward pass.
const SHAPES: [[usize; 3]; 24] = [
    [3, 601, 70],
    [70, 640, 12],
    [70, 516, 10],
    [5, 70, 517],
    [40, 12, 520],
    [1, 1, 1],
    [7, 13, 129],
    [8, 8, 8],
    [9, 63, 65],
    [64, 64, 64],
    [63, 127, 1],
    [65, 1, 7],
    [1, 129, 127],
    [129, 9, 64],
    [31, 37, 41],
    [20, 16, 12],
    [17, 68, 132],
    [41, 72, 136],
    [130, 84, 10],
    [2, 7, 257],
    [0, 5, 3],
    [5, 0, 3],
    [5, 3, 0],
    [4, 0, 8],
];

/// Inputs of a layer and of its backward pass.
struct Case {
    shape: [usize; 3],
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Option<Vec<f32>>,
    grad_output: Vec<f32>,
    relu: bool,
    dropout: Dropout,
    /// If set, dX also passes back through the previous layer, whose dropout has this scale.
    through: Option<f32>,
}

/// Outputs of a layer and of its backward pass.
#[derive(Clone)]
struct Results {
    y: Vec<f32>,
    dx: Vec<f32>,
    dw: Vec<f32>,
    db: Vec<f32>,
}

fn cases(fill: fn(u64, usize) -> Vec<f32>, sites: &[Dropout]) -> Vec<Case> {
    let mut cases = Vec::new();
    for (i, shape) in SHAPES.into_iter().enumerate() {
        let [batch, inputs, outputs] = shape;
        for (j, &dropout) in sites.iter().enumerate() {
            // Every site runs with and without ReLU. Every other case has a bias, every third a
            // previous layer.
            for relu in [false, true] {
                let has_bias = (i + j + usize::from(relu)) % 2 == 0;
                cases.push(Case {
                    shape,
                    x: fill(1, batch * inputs),
                    weight: fill(2, inputs * outputs),
                    bias: has_bias.then(|| fill(3, outputs)),
                    grad_output: fill(4, batch * outputs),
                    relu,
                    dropout,
                    through: ((i + 2 * j + usize::from(relu)) % 3 == 0).then_some(dropout.scale),
                });
            }
        }
    }
    cases
}

fn run<B: Backend>(backend: &mut B, case: &Case) -> Results {
    let [batch, inputs, outputs] = case.shape;
    let dropout = case.dropout;
    let x = backend.tensor(batch, inputs, &case.x).unwrap();
    let weight = backend.tensor(inputs, outputs, &case.weight).unwrap();
    let bias = case.bias.as_ref().map(|bias| backend.tensor(1, outputs, bias).unwrap());
    let mut y = poisoned(backend, batch, outputs);
    let call = LinearForward {
        x: &x,
        weight: &weight,
        bias: bias.as_ref(),
        y: &mut y,
        relu: case.relu,
        dropout,
    };
    backend.run(call).unwrap();
    let grad_output = &backend.tensor(batch, outputs, &case.grad_output).unwrap();
    let output = case.relu.then_some(&y);
    let through = case.through.map(|scale| (&x, scale));
    let mut dx = poisoned(backend, batch, inputs);
    backend
        .run(GradInput {
            grad_output,
            output,
            weight: &weight,
            grad_input: &mut dx,
            dropout,
            through,
        })
        .unwrap();
    let mut dw = poisoned(backend, inputs, outputs);
    let mut db = poisoned(backend, 1, outputs);
    let call = GradWeight {
        x: &x,
        grad_output,
        output,
        grad_weight: &mut dw,
        grad_bias: &mut db,
        dropout,
    };
    backend.run(call).unwrap();
    let mut read = |tensor: &B::Tensor<f32>| backend.read(tensor).unwrap();
    Results { y: read(&y), dx: read(&dx), dw: read(&dw), db: read(&db) }
}

/// Returns the gradient before the ReLU and dropout whose output is `x`: dX·s where X > 0 or X is
/// NaN, else 0.
fn back_through(mut grad_input: Exact, x: &[f32], scale: f32) -> Exact {
    let scaled = |value: f64, x: f32| if x <= 0.0 { 0.0 } else { value * f64::from(scale) };
    for values in [&mut grad_input.values, &mut grad_input.magnitudes] {
        values.iter_mut().zip(x).for_each(|(value, &x)| *value = scaled(*value, x));
    }
    grad_input
}

fn check_case<B: Backend>(backend: &mut B, case: &Case) {
    let Case { shape, relu, dropout, .. } = case;
    let what = |of: &str| format!("{} {of} {shape:?} relu {relu} {dropout:?}", backend.name());
    let [y, dx, dw, db] = ["y", "dx", "dw", "db"].map(what);
    let got = run(backend, case);
    oracle::linear_forward(&case.x, &case.weight, case.bias.as_deref(), *shape, *relu, dropout)
        .check(&y, &got.y)
        .unwrap();
    let grad_z = oracle::gradient(&case.grad_output, relu.then_some(&got.y), shape[2], dropout);
    let grad_input = oracle::grad_input(&grad_z, &case.weight, *shape);
    case.through
        .map_or(grad_input.clone(), |scale| back_through(grad_input, &case.x, scale))
        .check(&dx, &got.dx)
        .unwrap();
    let (weight, bias) = oracle::grad_weight(&case.x, &grad_z, *shape);
    weight.check(&dw, &got.dw).unwrap();
    bias.check(&db, &got.db).unwrap();
}

#[test]
fn products_equal_the_oracle() {
    fn check<B: Backend>(backend: &mut B) {
        for case in cases(noise, &sites()) {
            check_case(backend, &case);
        }
    }
    on_backends!(check, tiles_and_downlevel());
}

#[test]
fn whole_numbers_give_the_same_bits_everywhere() {
    fn check<B: Backend>(backend: &mut B) {
        // Mostly zeros, which show the sign of a sum of zeros.
        let sparse =
            |seed, len| small_integers(seed, len).iter().map(|x| (x / 4.0).trunc()).collect();
        for case in
            cases(small_integers, &exact_sites()).into_iter().chain(cases(sparse, &exact_sites()))
        {
            let a = run(backend, &case);
            let b = run(&mut Cpu::reference(), &case);
            let what = format!(
                "{} {:?} relu {} {:?}",
                backend.name(),
                case.shape,
                case.relu,
                case.dropout
            );
            for (a, b) in [(&a.y, &b.y), (&a.dx, &b.dx), (&a.dw, &b.dw), (&a.db, &b.db)] {
                same_bits(&what, a, b).unwrap();
            }
        }
    }
    on_backends!(check, tiles_and_downlevel());
}

/// Checks that each sum is added in the order of the CPU reference, in one chain or in the parts
/// that `order::part` gives. Products by 1 and -1 are exact. So every addition rounds alike with
/// and without a fused multiply-add, and its place in the order shows.
#[test]
fn sums_are_in_the_order_that_the_rule_says() {
    use wgpu_dropout::order::part;

    let signs: fn(u64, usize) -> Vec<f32> =
        |seed, len| noise(seed, len).iter().map(|x| x.signum()).collect();
    fn check<B: Backend>(backend: &mut B, fills: [fn(u64, usize) -> Vec<f32>; 2]) {
        for shape in SHAPES {
            let [batch, inputs, outputs] = shape;
            let x = fills[0](1, batch * inputs);
            let weight = fills[1](2, inputs * outputs);
            let grad_output = fills[0](4, batch * outputs);
            let case = Case {
                shape,
                x,
                weight,
                bias: None,
                grad_output,
                relu: false,
                dropout: Dropout::NONE,
                through: None,
            };
            let a = run(backend, &case);
            let b = run(&mut Cpu::reference(), &case);
            let what = format!("{} {shape:?}", backend.name());
            same_bits(&what, &a.y, &b.y).unwrap();
            same_bits(&what, &a.dx, &b.dx).unwrap();
            if part(batch, outputs, inputs).is_some() {
                // The control: a single chain has another order.
                let terms = |row: usize, col: usize| {
                    (0..inputs).map(move |i| (row * inputs + i, i * outputs + col))
                };
                let chain = |row, col| {
                    terms(row, col).fold(0.0, |sum, (i, j)| sum + case.x[i] * case.weight[j])
                };
                let chains: Vec<f32> =
                    (0..batch * outputs).map(|i| chain(i / outputs, i % outputs)).collect();
                assert!(same_bits(&what, &a.y, &chains).is_err(), "{what}");
            }
        }
    }
    assert_eq!(
        SHAPES
            .iter()
            .filter(|[batch, inputs, outputs]| part(*batch, *outputs, *inputs).is_some())
            .count(),
        3
    );
    assert_eq!(
        SHAPES
            .iter()
            .filter(|[batch, inputs, outputs]| part(*batch, *inputs, *outputs).is_some())
            .count(),
        2
    );
    check(&mut Cpu::reference(), [noise, signs]);
    for tile in TILES {
        with_gpu(tile, |gpu| check(gpu, [noise, signs]));
    }
}

/// Checks that the tile does not change the result on software adapters, whose compilers contract a
/// multiplication and an addition everywhere or nowhere.
#[test]
fn tiles_sum_in_the_same_order() {
    let cases = cases(noise, &[Dropout::train(Mode::Inverted, mask(0.7))]);
    let mut first: Option<Vec<Results>> = None;
    for tile in TILES {
        with_gpu(tile, |gpu| {
            if gpu.info().device_type != wgpu::DeviceType::Cpu {
                return;
            }
            let got: Vec<Results> = cases.iter().map(|case| run(gpu, case)).collect();
            let first = first.get_or_insert_with(|| got.clone());
            for ((a, b), case) in first.iter().zip(&got).zip(&cases) {
                for (a, b) in [(&a.y, &b.y), (&a.dx, &b.dx), (&a.dw, &b.dw), (&a.db, &b.db)] {
                    same_bits(&format!("{tile:?} {:?} relu {}", case.shape, case.relu), a, b)
                        .unwrap();
                }
            }
        });
    }
}

/// Checks that prediction equals training without a mask, times k if dropout was vanilla.
#[test]
fn prediction_scales_the_activation_and_draws_nothing() {
    fn check<B: Backend>(backend: &mut B) {
        let rate = Rate::keep(0.25).unwrap();
        for mut case in cases(small_integers, &[Dropout::predict(Mode::None, rate)]) {
            let plain = run(backend, &case).y;
            case.dropout = Dropout::predict(Mode::Inverted, rate);
            same_bits("inverted", &run(backend, &case).y, &plain).unwrap();
            case.dropout = Dropout::predict(Mode::Vanilla, rate);
            let scaled: Vec<f32> = plain.iter().map(|y| y * 0.25).collect();
            same_bits("vanilla", &run(backend, &case).y, &scaled).unwrap();
            if plain.iter().any(|&y| y != 0.0) {
                assert!(same_bits("control", &run(backend, &case).y, &plain).is_err());
            }
        }
    }
    on_backends!(check, tiles_and_downlevel());
}

/// Checks that relu(NaN) is NaN, that relu(−∞) is 0, and that dropped elements are 0 whatever their
/// value.
#[test]
fn nan_and_infinity_go_through_a_layer_as_through_the_oracle() {
    fn check<B: Backend>(backend: &mut B) {
        for shape in [[9, 5, 13], [16, 8, 24]] {
            let [batch, inputs, outputs] = shape;
            for relu in [false, true] {
                for dropout in [
                    Dropout::NONE,
                    Dropout::train(Mode::Inverted, mask(0.5)),
                    Dropout::train(Mode::Vanilla, mask(0.0)),
                ] {
                    let mut x = noise(11, batch * inputs);
                    for (row, special) in
                        [(1, f32::NAN), (3, f32::INFINITY), (4, f32::NEG_INFINITY)]
                    {
                        x[row * inputs + 2] = special;
                    }
                    let mut bias = noise(13, outputs);
                    (bias[0], bias[3], bias[6]) = (f32::INFINITY, f32::NAN, f32::NEG_INFINITY);
                    let weight = noise(12, inputs * outputs);
                    let grad_output = noise(14, batch * outputs);
                    let y = oracle::linear_forward(&x, &weight, Some(&bias), shape, relu, &dropout);
                    if dropout.mask.rate.threshold() > 0 {
                        assert!(
                            y.values.iter().any(|y| y.is_nan())
                                && y.values.iter().any(|y| y.is_infinite())
                        );
                    }
                    let through = Some(dropout.scale);
                    check_case(
                        backend,
                        &Case {
                            shape,
                            x,
                            weight,
                            bias: Some(bias),
                            grad_output,
                            relu,
                            dropout,
                            through,
                        },
                    );
                }
            }
        }
    }
    on_backends!(check, tiles_and_downlevel());
}

/// Checks that dZ = dY·s where the saved output is NaN, as in autograd, and that dZ is 0 where the
/// output is 0 or negative, whatever dY is.
#[test]
fn the_gradient_passes_where_the_saved_output_is_nan() {
    fn check<B: Backend>(backend: &mut B) {
        for n in [5, 8] {
            let site = Dropout::train(Mode::Inverted, mask(0.5));
            let identity: Vec<f32> =
                (0..n * n).map(|i| if i / n == i % n { 1.0 } else { 0.0 }).collect();
            let saved: Vec<f32> = (0..n).map(|i| [f32::NAN, 0.0, -0.0, 3.0, -1.0][i % 5]).collect();
            let (dy, right): (Vec<f32>, Vec<f32>) = (0..n)
                .map(|i| {
                    (
                        1.0 + i as f32,
                        if matches!(i % 5, 0 | 3) { 2.0 * (1.0 + i as f32) } else { 0.0 },
                    )
                })
                .unzip();
            let weight = backend.tensor(n, n, &identity).unwrap();
            let one = backend.tensor(1, 1, &[1.0]).unwrap();
            let output = &backend.tensor(1, n, &saved).unwrap();
            let grad_output = &backend.tensor(1, n, &dy).unwrap();
            let output = Some(output);
            let mut dx = poisoned(backend, 1, n);
            let call = GradInput {
                grad_output,
                output,
                weight: &weight,
                grad_input: &mut dx,
                dropout: site,
                through: None,
            };
            backend.run(call).unwrap();
            same_bits("grad_input", &backend.read(&dx).unwrap(), &right).unwrap();
            // The same result must come from the next layer's backward pass, which continues
            // through this layer.
            let mut dx = poisoned(backend, 1, n);
            let through = output.map(|output| (output, site.scale));
            let call = GradInput {
                grad_output,
                output: None,
                weight: &weight,
                grad_input: &mut dx,
                dropout: Dropout::NONE,
                through,
            };
            backend.run(call).unwrap();
            same_bits("grad_input, through", &backend.read(&dx).unwrap(), &right).unwrap();
            let mut dw = poisoned(backend, 1, n);
            let mut db = poisoned(backend, 1, n);
            let (grad_weight, grad_bias) = (&mut dw, &mut db);
            let call =
                GradWeight { x: &one, grad_output, output, grad_weight, grad_bias, dropout: site };
            backend.run(call).unwrap();
            same_bits("grad_weight", &backend.read(&dw).unwrap(), &right).unwrap();
            same_bits("grad_bias", &backend.read(&db).unwrap(), &right).unwrap();
        }
    }
    on_backends!(check, tiles_and_downlevel());
}

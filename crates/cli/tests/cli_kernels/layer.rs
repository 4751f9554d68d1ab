//! `linear` with each activation and a residual, forward and backward.

use super::cli::{devices, refuse, succeed};
use super::{PLACE, load, load_mask, save, sites, worthwhile};
use crate::common::noise;
use std::path::Path;
use tempfile::TempDir;
use wgpu_dropout::call::Activation;
use wgpu_dropout::{Dropout, oracle};

const FILES: &str = "--input x.npy --weight w.npy --output y.npy";
const GRADIENTS: &str =
    "--grad-output dy.npy --grad-input dx.npy --grad-weight dw.npy --grad-bias db.npy";

/// Arrays of a layer.
struct Layer {
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    residual: Vec<f32>,
    dy: Vec<f32>,
}

/// Saves the arrays of a layer whose input has the shape `[leading…, inputs]`.
fn layer(folder: &Path, leading: &[usize], inputs: usize, outputs: usize) -> Layer {
    let batch: usize = leading.iter().product();
    let layer = Layer {
        x: noise(1, batch * inputs),
        weight: noise(2, inputs * outputs),
        bias: noise(3, outputs),
        residual: noise(5, batch * outputs),
        dy: noise(4, batch * outputs),
    };
    let of_output = [leading, &[outputs]].concat();
    save(folder, "x.npy", &[leading, &[inputs]].concat(), &layer.x);
    save(folder, "w.npy", &[inputs, outputs], &layer.weight);
    save(folder, "b.npy", &[outputs], &layer.bias);
    save(folder, "r.npy", &of_output, &layer.residual);
    save(folder, "dy.npy", &of_output, &layer.dy);
    layer
}

#[test]
fn every_activation_agrees_with_the_oracle_forward_and_backward() {
    let guard = TempDir::new().unwrap();
    let folder = guard.path();
    let shapes: [(&[usize], usize, usize); 4] =
        [(&[9], 17, 33), (&[2, 3], 8, 5), (&[], 3, 5), (&[3], 0, 4)];
    for device in devices() {
        let mut case = 0;
        for (leading, inputs, outputs) in shapes {
            let Layer { x, weight, bias, residual, dy } = layer(folder, leading, inputs, outputs);
            let shape = [leading.iter().product(), inputs, outputs];
            for activation in Activation::ALL {
                for with_residual in [false, true] {
                    case += 1;
                    let (site, dropout) = sites()[case % 7];
                    let with_bias = !case.is_multiple_of(4);
                    let backward = !site.contains("--predict");
                    let mut line = format!(
                        "linear --device {device} {PLACE} {site} --activation {activation} {FILES}"
                    );
                    for (set, more) in [
                        (with_residual, "--residual r.npy"),
                        (with_bias, "--bias b.npy"),
                        (backward, GRADIENTS),
                    ] {
                        line += &if set { format!(" {more}") } else { String::new() };
                    }
                    if !super::worthwhile(device, case) {
                        continue;
                    }
                    let printed = succeed(folder, &line);
                    assert!(printed.contains(&activation.to_string()), "{printed}");
                    let bias = with_bias.then_some(&bias[..]);
                    let z = oracle::linear_forward(&x, &weight, bias, shape, false, &Dropout::NONE);
                    let exact = |residual, activation| {
                        oracle::linear_activation(&z, residual, outputs, activation, &dropout)
                    };
                    let y = load(folder, "y.npy");
                    assert_eq!(y.shape, [leading, &[outputs]].concat(), "{line}");
                    let residual = with_residual.then_some(&residual[..]);
                    exact(residual, activation).check(&line, &y.values).unwrap();
                    // The control: without the residual, where there is one that counts.
                    if with_residual && !y.values.is_empty() {
                        assert!(exact(None, activation).check(&line, &y.values).is_err(), "{line}");
                    }
                    if !backward {
                        continue;
                    }
                    let z32: Vec<f32> = z.values.iter().map(|&z| z as f32).collect();
                    let dz = oracle::activation_grad(&dy, &z32, outputs, activation, &dropout);
                    let dz = dz.values;
                    let gradients = ["dx.npy", "dw.npy", "db.npy"].map(|name| load(folder, name));
                    let (dw, db) = oracle::grad_weight(&x, &dz, shape);
                    let exact = [oracle::grad_input(&dz, &weight, shape), dw, db];
                    for (exact, computed) in exact.into_iter().zip(&gradients) {
                        // dZ itself has an error, of a few ε of its own magnitude, beside that of
                        // the sum.
                        let exact = oracle::Exact { terms: exact.terms + 8, ..exact };
                        exact.check(&line, &computed.values).unwrap();
                    }
                }
            }
        }
    }
}

/// Returns `act(z)` by its definition, with Φ as an integral.
fn act(activation: Activation, z: f64) -> f64 {
    match activation {
        Activation::None => z,
        Activation::Relu => z.max(0.0),
        Activation::Gelu => {
            // Simpson's rule over the density from 0 to z.
            let (n, h) = (400, z / 400.0);
            let density = |i: u32| {
                let t = f64::from(i) * h;
                (-0.5 * t * t).exp() / std::f64::consts::TAU.sqrt()
            };
            let inner: f64 = (1..n).map(|i| density(i) * if i % 2 == 1 { 4.0 } else { 2.0 }).sum();
            z * (0.5 + h / 3.0 * (density(0) + inner + density(n)))
        }
        Activation::Silu => z / (1.0 + (-z).exp()),
        Activation::Sigmoid => 1.0 / (1.0 + (-z).exp()),
    }
}

/// The gradients are the slopes of `Σ dY·Y`, by differences in f64 of a layer that is computed here
/// from the mask that the command wrote.
#[test]
fn gradients_are_the_slopes_of_the_output() {
    let guard = TempDir::new().unwrap();
    let folder = guard.path();
    let [batch, inputs, outputs] = [4, 5, 6];
    let Layer { x, weight, bias, residual, dy } = layer(folder, &[batch], inputs, outputs);
    let wide = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
    let (residual, dy) = (wide(&residual), wide(&dy));
    let parameters = [wide(&x), wide(&weight), wide(&bias)];
    let scale = 65536.0 / 45875.0;
    for device in devices() {
        for activation in Activation::ALL {
            let line = format!(
                "linear --device {device} {PLACE} --drop 0.3 --activation {activation} {FILES} --bias b.npy --residual r.npy --mask-output m.npy {GRADIENTS}"
            );
            succeed(folder, &line);
            let mask = load_mask(folder, "m.npy").1;
            assert!(mask.contains(&0) && mask.contains(&1));
            let output = |[x, weight, bias]: &[Vec<f64>; 3], r: usize, c: usize| {
                let z =
                    (0..inputs).map(|i| x[r * inputs + i] * weight[i * outputs + c]).sum::<f64>()
                        + bias[c];
                let kept = f64::from(mask[r * outputs + c]);
                residual[r * outputs + c] + kept * scale * act(activation, z)
            };
            let cells = || (0..batch).flat_map(|r| (0..outputs).map(move |c| (r, c)));
            let y = load(folder, "y.npy").values;
            for (index, (r, c)) in cells().enumerate() {
                let exact = output(&parameters, r, c);
                let off = (f64::from(y[index]) - exact).abs();
                assert!(off <= 2e-6 * (1.0 + exact.abs()), "{line}: {} {exact}", y[index]);
            }
            let total = |parameters: &[Vec<f64>; 3]| {
                cells().map(|(r, c)| dy[r * outputs + c] * output(parameters, r, c)).sum::<f64>()
            };
            for (which, name) in ["dx.npy", "dw.npy", "db.npy"].into_iter().enumerate() {
                let gradient = load(folder, name).values;
                let mut differ = 0;
                for (index, &computed) in gradient.iter().enumerate() {
                    let moved = |by: f64| {
                        let mut parameters = parameters.clone();
                        parameters[which][index] += by;
                        total(&parameters)
                    };
                    let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                    let off = (f64::from(computed) - slope).abs();
                    assert!(off <= 1e-5 * (1.0 + slope.abs()), "{line}: {name} {computed} {slope}");
                    differ += usize::from((f64::from(computed) + slope).abs() > 1e-3);
                }
                // The control: gradients of the other sign.
                assert!(differ > gradient.len() / 2, "{line}: {name}");
            }
        }
    }
}

#[test]
fn what_is_no_layer_is_refused() {
    let guard = TempDir::new().unwrap();
    let folder = guard.path();
    layer(folder, &[4], 3, 5);
    for (options, status, named) in [
        ("--activation swish", 2, "none, relu, gelu, silu, sigmoid"),
        ("--activation gelu --no-relu", 2, "--no-relu"),
        ("--residual x.npy", 1, "x.npy: shape (4, 3), expected (4, 5), that of the output"),
        ("--residual b.npy", 1, "b.npy: shape (5,), expected (4, 5)"),
        ("--residual none.npy", 1, "none.npy"),
        ("--form alpha", 2, "--form"),
    ] {
        let error =
            refuse(folder, &format!("linear --device cpu --drop .5 {FILES} {options}"), status);
        assert!(error.contains(named), "{options}: {error}");
    }
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    succeed(folder, &format!("linear --device cpu --drop .5 {FILES} --no-relu"));
    let plain = read("y.npy");
    succeed(folder, &format!("linear --device cpu --drop .5 {FILES} --activation none"));
    assert_eq!(plain, read("y.npy"));
}

#[test]
fn linear_agrees_with_the_oracle_forward_and_backward() {
    let guard = TempDir::new().unwrap();
    let folder = guard.path();
    // Leading axes of the input, number of inputs, number of outputs.
    let shapes: [(&[usize], usize, usize); 7] = [
        (&[], 3, 5),
        (&[1], 1, 1),
        (&[9], 17, 33),
        (&[2, 3], 8, 64),
        (&[0], 3, 4),
        (&[3], 0, 4),
        (&[3], 4, 0),
    ];
    for device in devices() {
        for (s, (leading, inputs, outputs)) in shapes.into_iter().enumerate() {
            let batch = leading.iter().product();
            let (x, weight) = (noise(1, batch * inputs), noise(2, inputs * outputs));
            let (bias, dy) = (noise(3, outputs), noise(4, batch * outputs));
            let x_shape = [leading, &[inputs]].concat();
            let y_shape = [leading, &[outputs]].concat();
            save(folder, "x.npy", &x_shape, &x);
            save(folder, "w.npy", &[inputs, outputs], &weight);
            save(folder, "b.npy", &[outputs], &bias);
            save(folder, "dy.npy", &y_shape, &dy);
            for (i, (site, dropout)) in
                sites().into_iter().enumerate().filter(|(i, _)| worthwhile(device, s + i))
            {
                let (relu, with_bias) = (i.is_multiple_of(2), i % 3 != 1);
                let backward = !site.contains("--predict");
                let mut line = format!(
                    "linear --device {device} {PLACE} {site} --input x.npy --weight w.npy --output y.npy"
                );
                let gradients = "--grad-output dy.npy --grad-input dx.npy --grad-weight dw.npy --grad-bias db.npy";
                for (set, more) in
                    [(!relu, "--no-relu"), (with_bias, "--bias b.npy"), (backward, gradients)]
                {
                    line += &if set { format!(" {more}") } else { String::new() };
                }
                line += " --mask-output m.npy";
                succeed(folder, &line);
                let y = load(folder, "y.npy");
                assert_eq!(y.shape, y_shape, "{line}");
                let shape = [batch, inputs, outputs];
                let bias = with_bias.then_some(&bias[..]);
                oracle::linear_forward(&x, &weight, bias, shape, relu, &dropout)
                    .check(&line, &y.values)
                    .unwrap();
                assert_eq!(
                    load_mask(folder, "m.npy"),
                    (y_shape.clone(), dropout.mask.bytes(batch, outputs).unwrap()),
                    "{line}"
                );
                if backward {
                    let dz = oracle::gradient(&dy, relu.then_some(&y.values), outputs, &dropout);
                    let dx = load(folder, "dx.npy");
                    let dw = load(folder, "dw.npy");
                    let db = load(folder, "db.npy");
                    assert_eq!(
                        (&dx.shape, &dw.shape, &db.shape),
                        (&x_shape, &vec![inputs, outputs], &vec![outputs]),
                        "{line}"
                    );
                    oracle::grad_input(&dz, &weight, shape).check(&line, &dx.values).unwrap();
                    let (exact_dw, exact_db) = oracle::grad_weight(&x, &dz, shape);
                    exact_dw.check(&line, &dw.values).unwrap();
                    exact_db.check(&line, &db.values).unwrap();
                }
            }
        }
    }
}

#[test]
fn each_gradient_can_be_asked_for_alone() {
    let guard = TempDir::new().unwrap();
    let folder = guard.path();
    save(folder, "x.npy", &[4, 3], &noise(1, 12));
    save(folder, "w.npy", &[3, 5], &noise(2, 15));
    save(folder, "dy.npy", &[4, 5], &noise(3, 20));
    for (flag, shape) in [("input", vec![4, 3]), ("weight", vec![3, 5]), ("bias", vec![5])] {
        let line = format!(
            "linear --device cpu --drop .5 --input x.npy --weight w.npy --grad-output dy.npy --grad-{flag} d.npy"
        );
        succeed(folder, &line);
        assert_eq!(load(folder, "d.npy").shape, shape);
    }
}

#[test]
fn tiles_give_the_same_floats() {
    let guard = TempDir::new().unwrap();
    let folder = guard.path();
    save(folder, "x.npy", &[33, 40], &noise(1, 33 * 40));
    save(folder, "w.npy", &[40, 70], &noise(2, 40 * 70));
    for device in devices() {
        let run = |tile: &str| {
            let line = format!(
                "linear --device {device} --tile {tile} --drop .2 --input x.npy --weight w.npy --output y.npy"
            );
            succeed(folder, &line);
            load(folder, "y.npy").values
        };
        let (register, workgroup) = (run("register"), run("workgroup"));
        let worst = register.iter().zip(&workgroup).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst <= 1e-5, "{device}: {worst}");
    }
}

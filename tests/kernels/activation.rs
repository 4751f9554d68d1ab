//! `linear_activation` and `activation_grad`: the epilogues of a transformer's layers, and their
//! backward pass.

use crate::common::{noise, poisoned, same_bits, tiles_and_downlevel};
use crate::{mask, on_backends, sites};
use wgpu_dropout::Backend;
use wgpu_dropout::call::{Activation, ActivationGrad, LinearActivation, LinearForward};
use wgpu_dropout::oracle;
use wgpu_dropout::{Dropout, Error, Mode};

/// `[B, I, O]`: ragged, whole vectors, split sums, empty.
const SHAPES: [[usize; 3]; 8] = [
    [3, 601, 12],
    [7, 13, 129],
    [17, 68, 132],
    [9, 16, 24],
    [1, 1, 1],
    [0, 5, 3],
    [5, 0, 3],
    [5, 3, 0],
];

struct Layer {
    shape: [usize; 3],
    activation: Activation,
    dropout: Dropout,
    residual: bool,
}

/// Returns `Y`, `Z`, and the `dZ` computed from noise as `dY`.
fn run<B: Backend>(backend: &mut B, layer: &Layer, scale: f32) -> [Vec<f32>; 3] {
    let Layer { shape: [batch, inputs, outputs], activation, dropout, residual } = *layer;
    let x: Vec<f32> = noise(1, batch * inputs).iter().map(|x| x * scale).collect();
    let x = backend.tensor(batch, inputs, &x).unwrap();
    let weight = backend.tensor(inputs, outputs, &noise(2, inputs * outputs)).unwrap();
    let bias = backend.tensor(1, outputs, &noise(3, outputs)).unwrap();
    let r = backend.tensor(batch, outputs, &noise(4, batch * outputs)).unwrap();
    let dy = backend.tensor(batch, outputs, &noise(5, batch * outputs)).unwrap();
    let [mut y, mut z, mut dz] = [(); 3].map(|()| poisoned(backend, batch, outputs));
    let residual = residual.then_some(&r);
    let call = LinearActivation {
        x: &x,
        weight: &weight,
        bias: Some(&bias),
        residual,
        z: Some(&mut z),
        y: &mut y,
        activation,
        dropout,
    };
    backend.run(call).unwrap();
    backend
        .run(ActivationGrad { grad_output: &dy, z: &z, grad_z: &mut dz, activation, dropout })
        .unwrap();
    [&y, &z, &dz].map(|tensor| backend.read(tensor).unwrap())
}

#[test]
fn layers_with_every_activation_equal_the_oracle() {
    fn check<B: Backend>(backend: &mut B) {
        let sites = sites();
        for (i, shape) in SHAPES.into_iter().enumerate() {
            let [batch, inputs, outputs] = shape;
            for (j, activation) in Activation::ALL.into_iter().enumerate() {
                for k in 0..3 {
                    let dropout = sites[(3 * i + 5 * j + k) % sites.len()];
                    let residual = (i + j + k) % 2 == 0;
                    let layer = Layer { shape, activation, dropout, residual };
                    let what = format!(
                        "{} {shape:?} {activation:?} {dropout:?} residual {residual}",
                        backend.name()
                    );
                    let [y, z, dz] = run(backend, &layer, 1.0);
                    let x = noise(1, batch * inputs);
                    let weight = noise(2, inputs * outputs);
                    let bias = noise(3, outputs);
                    let exact_z = oracle::linear_forward(
                        &x,
                        &weight,
                        Some(&bias),
                        shape,
                        false,
                        &Dropout::NONE,
                    );
                    exact_z.check(&format!("z {what}"), &z).unwrap();
                    let r = noise(4, batch * outputs);
                    let exact = oracle::linear_activation(
                        &exact_z,
                        residual.then_some(&r),
                        outputs.max(1),
                        activation,
                        &dropout,
                    );
                    exact.check(&format!("y {what}"), &y).unwrap();
                    let exact = oracle::activation_grad(
                        &noise(5, z.len()),
                        &z,
                        outputs.max(1),
                        activation,
                        &dropout,
                    );
                    exact.check(&format!("dz {what}"), &dz).unwrap();
                    // The control: another activation's oracle must reject the result.
                    if z.len() > 20 && dropout.scale != 0.0 && activation != Activation::None {
                        let other = if activation == Activation::Gelu {
                            Activation::Silu
                        } else {
                            Activation::Gelu
                        };
                        if dropout.mask.rate.threshold() > 0 {
                            let exact = oracle::activation_grad(
                                &noise(5, z.len()),
                                &z,
                                outputs,
                                other,
                                &dropout,
                            );
                            assert!(exact.check("", &dz).is_err(), "{what}");
                        }
                    }
                }
            }
        }
    }
    on_backends!(check, tiles_and_downlevel());
}

/// Checks the derivatives against central differences of the activations, both computed on the
/// device.
#[test]
fn derivatives_are_those_of_the_activations() {
    fn check<B: Backend>(backend: &mut B) {
        let (steps, h) = (1601, 1.0 / 64.0);
        let points: Vec<f32> = (0..steps).map(|i| (i as f32 - 800.0) * h).collect();
        for activation in Activation::ALL {
            // A layer with weight 1, so that Z is X.
            let x = backend.tensor(steps, 1, &points).unwrap();
            let one = backend.tensor(1, 1, &[1.0]).unwrap();
            let ones = backend.tensor(steps, 1, &vec![1.0; steps]).unwrap();
            let [mut y, mut dz] = [(); 2].map(|()| poisoned(backend, steps, 1));
            let dropout = Dropout::NONE;
            let call = LinearActivation {
                x: &x,
                weight: &one,
                bias: None,
                residual: None,
                z: None,
                y: &mut y,
                activation,
                dropout,
            };
            backend.run(call).unwrap();
            backend
                .run(ActivationGrad {
                    grad_output: &ones,
                    z: &x,
                    grad_z: &mut dz,
                    activation,
                    dropout,
                })
                .unwrap();
            let y = backend.read(&y).unwrap();
            let dz = backend.read(&dz).unwrap();
            for i in 1..steps - 1 {
                if activation == Activation::Relu && points[i] == 0.0 {
                    continue;
                }
                let difference = (f64::from(y[i + 1]) - f64::from(y[i - 1])) / f64::from(2.0 * h);
                // The bound covers the truncation error, `h²/6` times the third derivative, and the
                // f32 rounding of values up to 12.
                assert!(
                    (difference - f64::from(dz[i])).abs() <= 4e-4,
                    "{} {activation:?} at {}: {} and {difference}",
                    backend.name(),
                    points[i],
                    dz[i]
                );
            }
            // At the far end the activations have saturated.
            let (far, slope) =
                if activation == Activation::Sigmoid { (1.0, 0.0) } else { (12.5, 1.0) };
            assert!(
                (y[steps - 1] - far).abs() <= 5e-5 && (dz[steps - 1] - slope).abs() <= 5e-5,
                "{activation:?}"
            );
        }
    }
    on_backends!(check);
}

/// Checks that ReLU without a residual equals `linear_forward` bit for bit, and that its output
/// alone is enough for the gradient.
#[test]
fn relu_is_linear_forward_s_and_its_output_is_enough() {
    fn check<B: Backend>(backend: &mut B) {
        let dropout = Dropout::train(Mode::Inverted, mask(0.7).at(3, 16));
        for shape in [[9, 16, 24], [7, 13, 21], [3, 601, 12]] {
            let [batch, inputs, outputs] = shape;
            let [y, _, dz] = run(
                backend,
                &Layer { shape, activation: Activation::Relu, dropout, residual: false },
                1.0,
            );
            let x = backend.tensor(batch, inputs, &noise(1, batch * inputs)).unwrap();
            let weight = backend.tensor(inputs, outputs, &noise(2, inputs * outputs)).unwrap();
            let bias = backend.tensor(1, outputs, &noise(3, outputs)).unwrap();
            let mut plain = poisoned(backend, batch, outputs);
            let call = LinearForward {
                x: &x,
                weight: &weight,
                bias: Some(&bias),
                y: &mut plain,
                relu: true,
                dropout,
            };
            backend.run(call).unwrap();
            same_bits(&format!("{} {shape:?}", backend.name()), &y, &backend.read(&plain).unwrap())
                .unwrap();
            let dy = backend.tensor(batch, outputs, &noise(5, batch * outputs)).unwrap();
            let mut from_y = poisoned(backend, batch, outputs);
            let kept = Dropout { scale: dropout.scale, ..Dropout::NONE };
            let call = ActivationGrad {
                grad_output: &dy,
                z: &plain,
                grad_z: &mut from_y,
                activation: Activation::Relu,
                dropout: kept,
            };
            backend.run(call).unwrap();
            same_bits(
                &format!("{} {shape:?}, dz", backend.name()),
                &dz,
                &backend.read(&from_y).unwrap(),
            )
            .unwrap();
        }
    }
    on_backends!(check);
}

#[test]
fn values_that_are_no_numbers_go_through_and_large_ones_overflow_nothing() {
    fn check<B: Backend>(backend: &mut B) {
        for activation in Activation::ALL {
            let z = [f32::NAN, 1e30, -1e30, 88.0, -88.0, 1000.0, -1000.0, f32::INFINITY];
            let x = backend.tensor(z.len(), 1, &z).unwrap();
            let one = backend.tensor(1, 1, &[1.0]).unwrap();
            let mut y = poisoned(backend, z.len(), 1);
            let call = LinearActivation {
                x: &x,
                weight: &one,
                bias: None,
                residual: None,
                z: None,
                y: &mut y,
                activation,
                dropout: Dropout::NONE,
            };
            backend.run(call).unwrap();
            let y = backend.read(&y).unwrap();
            let what = format!("{} {activation:?} {y:?}", backend.name());
            let at_most = if activation == Activation::Sigmoid { 1.0 } else { f32::INFINITY };
            assert!(y[0].is_nan() && y[7] == at_most, "{what}");
            for (z, y) in z[1..7].iter().zip(&y[1..7]) {
                let flat = activation != Activation::None && *z < 0.0;
                assert!(
                    (y - if flat { 0.0 } else { z.min(at_most) }).abs() <= 1e-30 * z.abs(),
                    "{what}"
                );
            }
        }
    }
    on_backends!(check);
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    fn check<B: Backend>(backend: &mut B) {
        let [a, b, mut c, mut d] =
            [(2, 3), (3, 4), (2, 4), (2, 5)].map(|(rows, cols)| poisoned(backend, rows, cols));
        let (bias, activation, dropout) = (None, Activation::Gelu, Dropout::NONE);
        let call = LinearActivation {
            x: &a,
            weight: &b,
            bias,
            residual: None,
            z: Some(&mut d),
            y: &mut c,
            activation,
            dropout,
        };
        assert!(matches!(backend.run(call), Err(Error::Shape { kernel: "linear_activation", .. })));
        let call = LinearActivation {
            x: &a,
            weight: &b,
            bias,
            residual: Some(&d),
            z: None,
            y: &mut c,
            activation,
            dropout,
        };
        assert!(matches!(backend.run(call), Err(Error::Shape { kernel: "linear_activation", .. })));
        let call = ActivationGrad { grad_output: &c, z: &a, grad_z: &mut d, activation, dropout };
        assert!(matches!(backend.run(call), Err(Error::Shape { kernel: "activation_grad", .. })));
    }
    on_backends!(check);
}

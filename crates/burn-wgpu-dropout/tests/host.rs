//! Checks that the modules give the masks and results of wgpu on Burn's CPU backend.

mod common;

use burn_wgpu_dropout::burn::module::Module;
use burn_wgpu_dropout::burn::tensor::{DType, Device, Tensor};
use burn_wgpu_dropout::functional::{dropout, linear_relu_dropout};
use burn_wgpu_dropout::wgpu_dropout::{self, Key, Mask, Mode};
use burn_wgpu_dropout::{DropoutConfig, Error, LinearReluDropoutConfig, Rate};
use common::{bits, devices, numbers, tensor, values};

fn site(keep: f64, step: u32) -> wgpu_dropout::Dropout {
    let mask = Mask::new(Rate::keep(keep).unwrap(), Key { seed: 42, layer: 1, step });
    wgpu_dropout::Dropout::train(Mode::Inverted, mask.at(5, 3))
}

#[test]
fn the_cpu_backend_draws_the_masks_of_wgpu() {
    let flex = Device::flex();
    for device in devices() {
        for keep in [0.0, 0.3, 0.5, 1.0] {
            let mut x = numbers(6 * 37, 1);
            (x[3], x[8], x[50]) = (f32::NAN, f32::INFINITY, f32::NEG_INFINITY);
            let draw = |device: &Device, step| {
                values(dropout(tensor(&x, [2, 3, 37], device), site(keep, step)).unwrap())
            };
            assert_eq!(bits(&draw(&flex, 0)), bits(&draw(device, 0)), "keep {keep}");
            // The control: another step.
            if keep == 0.3 {
                assert_ne!(bits(&draw(&flex, 1)), bits(&draw(device, 0)));
            }
        }
    }
}

#[test]
fn a_layer_and_its_gradients_agree_with_those_on_wgpu() {
    let flex = Device::flex();
    for device in devices() {
        for with_bias in [true, false] {
            let run = |device: &Device| {
                let device = &device.clone().autodiff();
                let x = tensor(&numbers(4 * 3 * 8, 1), [4, 3, 8], device).require_grad();
                let w = tensor(&numbers(8 * 5, 2), [8, 5], device).require_grad();
                let b = with_bias.then(|| tensor(&numbers(5, 3), [5], device).require_grad());
                let y = linear_relu_dropout(x.clone(), w.clone(), b.clone(), site(0.5, 2)).unwrap();
                let grads =
                    (y.clone() * tensor(&numbers(60, 4), [4, 3, 5], device)).sum().backward();
                let mut all = values(y.inner());
                all.extend(values(x.grad(&grads).unwrap()));
                all.extend(values(w.grad(&grads).unwrap()));
                all.extend(b.iter().flat_map(|b| values(b.grad(&grads).unwrap())));
                all
            };
            let (host, gpu) = (run(&flex), run(device));
            assert_eq!(host.len(), gpu.len());
            assert!(host.contains(&0.0) && host.iter().any(|x| *x != 0.0));
            for (a, b) in host.iter().zip(&gpu) {
                assert!((a - b).abs() <= 1e-5 * a.abs().max(1.0), "{a} {b}");
            }
        }
    }
}

#[test]
fn a_module_trains_on_the_cpu_backend_and_predicts_without_dropout() {
    let device = Device::flex().autodiff();
    let config = DropoutConfig::new(Rate::drop(0.5).unwrap()).with_seed(42).with_layer(1);
    let layer = LinearReluDropoutConfig::new(8, 64, config).init(&device);
    let x = Tensor::<2>::ones([16, 8], &device);
    let first = values(layer.forward(x.clone()).inner());
    let second = values(layer.forward(x.clone()).inner());
    assert_ne!(first, second, "a step draws another mask");
    assert_eq!(layer.dropout.steps.get(), 2);
    let whole = layer.clone().valid();
    let (a, b) = (values(whole.forward(x.clone().inner())), values(whole.forward(x.inner())));
    assert_eq!(a, b);
}

#[test]
fn what_does_not_fit_is_said_on_every_backend() {
    let shape = |error: Error| match error {
        Error::Shape { what, .. } => what,
        other => panic!("{other:?}"),
    };
    for device in devices().iter().cloned().chain([Device::flex()]) {
        let [x, w] = [[4, 7], [8, 5]].map(|shape| Tensor::<2>::ones(shape, &device));
        let error = linear_relu_dropout(x, w.clone(), None, site(0.5, 0)).unwrap_err();
        assert_eq!(shape(error), "X has 7 columns, W is 8×5: X must have 8");
        let (x, b) = (Tensor::<2>::ones([4, 8], &device), Tensor::<1>::ones([4], &device));
        let error = linear_relu_dropout(x, w, Some(b), site(0.5, 0)).unwrap_err();
        assert_eq!(shape(error), "b has 4 elements, W is 8×5: b must have 5");
    }
}

#[test]
fn a_type_without_kernels_is_an_error_with_the_line_to_type() {
    for device in devices() {
        for dtype in [DType::BF16, DType::F64] {
            let x = Tensor::<2>::empty([4, 8], (device, dtype));
            match dropout(x, site(0.5, 0)) {
                Err(Error::Invalid { what }) => {
                    assert!(what.contains(&format!("{dtype:?}")), "{what}");
                    assert!(what.contains("x.cast(DType::F32)"), "{what}");
                }
                other => panic!("{dtype:?}: {:?}", other.map(drop)),
            }
        }
        // The control: the cast is accepted.
        let x = Tensor::<2>::ones([4, 8], device);
        assert!(dropout(x.cast(DType::F32), site(0.5, 0)).is_ok());
    }
}

#[test]
fn weights_on_the_plain_device_are_constants() {
    for device in devices().iter().cloned().chain([Device::flex()]) {
        let run = |weights: &Device| {
            let x = tensor(&numbers(4 * 8, 1), [4, 8], &device.clone().autodiff()).require_grad();
            let w = tensor(&numbers(8 * 5, 2), [8, 5], weights);
            let b = tensor(&numbers(5, 3), [5], weights);
            let w = if weights.is_autodiff() { w.require_grad() } else { w };
            let y = linear_relu_dropout(x.clone(), w.clone(), Some(b), site(0.5, 2)).unwrap();
            let gradients = y.clone().sum().backward();
            let of_w = weights.is_autodiff().then(|| w.grad(&gradients)).flatten();
            (values(y.inner()), values(x.grad(&gradients).unwrap()), of_w.map(values))
        };
        let (y, of_x, of_w) = run(&device);
        assert_eq!(of_w, None);
        assert!(of_x.iter().any(|dx| *dx != 0.0));
        // The control: on the autodiff device they get a gradient, and the rest is the same.
        let (same_y, same_of_x, of_w) = run(&device.clone().autodiff());
        assert!(of_w.is_some_and(|of_w| of_w.iter().any(|dw| *dw != 0.0)));
        assert_eq!((bits(&y), bits(&of_x)), (bits(&same_y), bits(&same_of_x)));
    }
}

#[test]
#[should_panic(expected = "layer 2147483648: must be below 2147483648")]
fn a_layer_of_prediction_is_refused() {
    let _ = DropoutConfig::new(Rate::drop(0.5).unwrap()).with_layer(1 << 31);
}

#[test]
fn a_layer_of_prediction_in_a_file_is_refused() {
    use burn_wgpu_dropout::burn::config::Config;
    let text = |layer: u32| format!(r#"{{"keep": 0.5, "seed": 1, "layer": {layer}}}"#);
    let folder = std::env::temp_dir().join(format!("burn-host-{}.json", std::process::id()));
    std::fs::write(&folder, text(7)).unwrap();
    assert_eq!(DropoutConfig::load(&folder).unwrap().layer, 7);
    std::fs::write(&folder, text(1 << 31)).unwrap();
    assert!(DropoutConfig::load(&folder).is_err());
    std::fs::remove_file(&folder).unwrap();
}

//! Checks f16 tensors on devices that support them: the masks are the same, sums are f32, and the
//! result is rounded once.

mod common;

use burn_wgpu_dropout::Rate;
use burn_wgpu_dropout::burn::tensor::{DType, Device, Tensor};
use burn_wgpu_dropout::functional::{dropout, linear_relu_dropout};
use burn_wgpu_dropout::wgpu_dropout::oracle::{self, Exact};
use burn_wgpu_dropout::wgpu_dropout::{self, Error, Key, Mask, Mode};
use common::{bits, devices, numbers, tensor, values};

/// Unit in the last place of an f16, and its smallest normal number: a device may round in either
/// direction, and may flush smaller numbers to zero.
const EPSILON: f64 = 1.0 / 1024.0;
const SMALLEST: f64 = 1.0 / 16384.0;

fn site(keep: f64) -> wgpu_dropout::Dropout {
    wgpu_dropout::Dropout::train(
        Mode::Inverted,
        Mask::new(Rate::keep(keep).unwrap(), Key { seed: 5, layer: 1, step: 9 }),
    )
}

/// Returns the devices with f16. If there are none, prints that the test is skipped.
fn half_devices() -> Vec<Device> {
    let can = |device: &&Device| match dropout(
        Tensor::<1>::ones([1], (*device, DType::F16)),
        site(0.5),
    ) {
        Ok(_) => true,
        Err(Error::Invalid { what }) => {
            common::skipped(&what);
            false
        }
        Err(error) => panic!("{error}"),
    };
    devices().iter().filter(can).cloned().collect()
}

fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    assert_eq!(tensor.dtype(), DType::F16);
    values(tensor.cast(DType::F32))
}

/// Returns numbers that f16 represents exactly, and a tensor of them.
fn half<const D: usize>(shape: [usize; D], stream: u32, device: &Device) -> (Vec<f32>, Tensor<D>) {
    let numbers: Vec<f32> = numbers(shape.iter().product(), stream)
        .iter()
        .map(|x| (x * 512.0).round() / 512.0)
        .collect();
    let tensor = tensor(&numbers, shape, device).cast(DType::F16);
    (numbers, tensor)
}

#[test]
fn masks_of_f16_are_those_of_f32() {
    for device in half_devices() {
        for shape in [[1, 1], [3, 7], [33, 65], [64, 128]] {
            let (x, halves) = half(shape, 0, &device);
            let y = read(dropout(halves, site(0.5)).unwrap());
            let kept = |i: usize| site(0.5).mask.keeps(i / shape[1], i % shape[1]);
            let exact: Vec<f32> =
                (0..x.len()).map(|i| if kept(i) { x[i] * 2.0 } else { 0.0 }).collect();
            assert_eq!(bits(&y), bits(&exact), "{shape:?}");
        }
        // This slice starts within a word.
        let (x, halves) = half([4, 7], 0, &device);
        let y = read(dropout(halves.slice([1..4, 0..7]), wgpu_dropout::Dropout::NONE).unwrap());
        assert_eq!(y, x[7..]);
    }
}

fn check(what: &str, exact: &Exact, got: &[f32]) {
    assert_eq!(got.len(), exact.values.len(), "{what}");
    for (i, (&got, (&right, &magnitude))) in
        got.iter().zip(exact.values.iter().zip(&exact.magnitudes)).enumerate()
    {
        let sum = oracle::C * (exact.terms + 2) as f64 * f64::from(f32::EPSILON) * magnitude;
        let bound = sum + EPSILON * right.abs() + SMALLEST;
        assert!(
            (f64::from(got) - right).abs() <= bound,
            "{what}: element {i} is {got}, expected {right} ± {bound:e}"
        );
    }
}

#[test]
fn the_layer_and_its_gradients_are_the_oracles_within_a_rounding_to_f16() {
    for device in half_devices() {
        let device = device.autodiff();
        let shape @ [batch, inputs, outputs] = [33, 68, 20];
        let ((x, hx), (w, hw)) =
            (half([batch, inputs], 0, &device), half([inputs, outputs], 1, &device));
        let ((b, hb), (g, hg)) = (half([outputs], 2, &device), half([batch, outputs], 3, &device));
        let (hx, hw, hb) = (hx.require_grad(), hw.require_grad(), hb.require_grad());
        let y = linear_relu_dropout(hx.clone(), hw.clone(), Some(hb.clone()), site(0.5)).unwrap();
        let mut grads = (y.clone() * hg).sum().backward();
        let y = read(y);
        check("Y", &oracle::linear_forward(&x, &w, Some(&b), shape, true, &site(0.5)), &y);
        let grad_z = oracle::gradient(&g, Some(&y), outputs, &site(0.5));
        check(
            "dX",
            &oracle::grad_input(&grad_z, &w, shape),
            &read(hx.grad_remove(&mut grads).unwrap()),
        );
        let (dw, db) = oracle::grad_weight(&x, &grad_z, shape);
        check("dW", &dw, &read(hw.grad_remove(&mut grads).unwrap()));
        check("db", &db, &read(hb.grad_remove(&mut grads).unwrap()));
    }
}

#[test]
fn operands_of_two_types_are_an_error() {
    for device in half_devices() {
        let (_, x) = half([2, 3], 0, &device);
        let y = linear_relu_dropout(x, tensor(&[0.0; 12], [3, 4], &device), None, site(0.5));
        assert!(matches!(y, Err(Error::Invalid { .. })));
    }
}

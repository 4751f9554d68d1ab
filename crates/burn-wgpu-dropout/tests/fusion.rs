//! Checks that results with and without Burn's fusion have the same bits, forward and backward.
#![cfg(feature = "fusion")]

mod common;

use burn_wgpu_dropout::burn::backend::tensor::FloatTensor;
use burn_wgpu_dropout::burn::backend::wgpu::CubeBackend;
use burn_wgpu_dropout::burn::backend::{Autodiff, AutodiffBackend, Backend, Cube, DispatchDevice};
use burn_wgpu_dropout::burn::tensor::{Shape, TensorData, read_sync};
use burn_wgpu_dropout::wgpu_dropout::{self, Key, Mask, Mode};
use burn_wgpu_dropout::{DropoutOps, Rate};
use common::{bits, devices, numbers};

fn site(step: u32) -> wgpu_dropout::Dropout {
    wgpu_dropout::Dropout::train(
        Mode::Inverted,
        Mask::new(Rate::drop(0.4).unwrap(), Key { seed: 3, layer: 1, step }),
    )
}

fn read<B: Backend>(tensor: FloatTensor<B>) -> Vec<u32> {
    let data = read_sync(B::float_into_data(tensor)).expect("it can be read");
    bits(&data.try_into_vec::<f32>().expect("f32"))
}

/// Runs two fused layers and a dropout between Burn's operations; returns all operands' gradients.
fn network<B: AutodiffBackend + DropoutOps>(device: &B::Device) -> Vec<Vec<u32>> {
    let tensor = |shape: &[usize], stream| {
        let data =
            TensorData::new(numbers(shape.iter().product(), stream), Shape::from(shape.to_vec()));
        B::float_set_require_grad(B::float_from_data(data, device), true)
    };
    let operands = [
        tensor(&[20, 33], 0),
        tensor(&[33, 48], 1),
        tensor(&[48], 2),
        tensor(&[48, 10], 3),
        tensor(&[10], 4),
    ];
    let [x, w1, b1, w2, b2] = operands.clone();
    let x = B::contract_dropout(B::float_mul_scalar(x, 0.5.into()), site(0));
    let y = B::linear_relu_dropout(B::float_add_scalar(x, 0.25.into()), w1, b1, site(1));
    let y = B::linear_relu_dropout(B::float_mul(y.clone(), y), w2, b2, site(2));
    let loss = B::float_sum(B::float_mul(y.clone(), B::float_add_scalar(y.clone(), 1.0.into())));
    let grads = B::backward(loss);
    let gradient =
        |tensor| read::<B::InnerBackend>(B::grad(tensor, &grads).expect("it is tracked"));
    operands.iter().map(gradient).chain([read::<B>(y)]).collect()
}

#[test]
fn fusion_changes_no_bit() {
    for device in devices() {
        let DispatchDevice::Cube(device) = device.as_dispatch() else {
            panic!("a device of CubeCL")
        };
        let fused = network::<Autodiff<Cube>>(device);
        assert_eq!(fused, network::<Autodiff<CubeBackend>>(device));
        assert!(fused.iter().all(|values| values.iter().any(|&bits| bits != 0)));
    }
}

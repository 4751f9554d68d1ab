//! Code shared by the test files: devices under test, their input, and reading back.
#![allow(dead_code)]

use burn_wgpu_dropout::adopt;
use burn_wgpu_dropout::burn::tensor::wgpu::MemoryConfiguration;
use burn_wgpu_dropout::burn::tensor::{Device, Shape, Tensor, TensorData};
use burn_wgpu_dropout::wgpu_dropout::philox::philox4x32;
use std::io::Write;
use std::sync::LazyLock;

/// Returns a device twice: with Burn's default pool, in which input and output are ranges of one
/// buffer, and with a buffer per tensor.
///
/// Returns none, with a message, if there is no adapter; panics if `WGPU_DROPOUT_REQUIRE_GPU=1`.
pub fn devices() -> &'static [Device] {
    static DEVICES: LazyLock<Vec<Device>> = LazyLock::new(|| {
        let (shared, setup) = match Device::wgpu_options().init_with_setup() {
            Ok(opened) => opened,
            Err(error) if std::env::var("WGPU_DROPOUT_REQUIRE_GPU").as_deref() == Ok("1") => {
                panic!("a GPU is required: {error}")
            }
            Err(error) => {
                skipped(&error.to_string());
                return Vec::new();
            }
        };
        let exclusive = Device::wgpu_options()
            .setup(setup.clone())
            .memory_config(MemoryConfiguration::ExclusivePages)
            .init();
        let devices =
            vec![shared, exclusive.expect("a device that is open can be registered again")];
        devices.iter().for_each(|device| adopt(device, &setup).expect("it can run the kernels"));
        devices
    });
    &DEVICES
}

/// Prints a message on stderr directly, since the test harness captures the output of tests that
/// pass.
pub fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}

/// Returns numbers in -1..1 that depend only on `stream`.
pub fn numbers(count: usize, stream: u32) -> Vec<f32> {
    let word = |i| philox4x32([i, stream, 0, 0], [7, 0])[0];
    (0..count as u32).map(|i| word(i).cast_signed() as f32 / 2f32.powi(31)).collect()
}

pub fn tensor<const D: usize>(values: &[f32], shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), Shape::from(shape)), device)
}

pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("f32")
}

/// Returns the bits of floats, by which -0 differs from 0 and a NaN equals itself.
pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

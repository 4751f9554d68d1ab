//! The Vulkan validation layer reports nothing about the calls that this crate makes a driver
//! execute. Its messages come only through the `log` crate, so the test captures them there.

#![cfg(feature = "vulkan")]

mod common;

use std::sync::{Mutex, PoisonError};
use wgpu_dropout::Backend;
use wgpu_dropout::call::SgdRule;
use wgpu_dropout::gpu::Gpu;
use wgpu_dropout::mlp::{Architecture, Mlp, Resident, Sharing, Source, Training};
use wgpu_dropout::verify::{self, Check, Options};
use wgpu_dropout::{Device, Key, Mask, Mode, Rate, wgpu};

/// Messages at level `warn` and above, and the message that the layer was not found, which wgpu
/// logs at `debug`.
struct Log(Mutex<Vec<String>>);

static LOG: Log = Log(Mutex::new(Vec::new()));
const MISSING: &str = "unable to find layer";

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let text = record.args().to_string();
        if record.level() <= log::Level::Warn || text.contains(MISSING) {
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(format!("{}: {text}", record.target()));
        }
    }

    fn flush(&self) {}
}

fn taken() -> Vec<String> {
    std::mem::take(&mut *LOG.0.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Opens a device of the first Vulkan adapter under the validation layer. Reports the test as
/// skipped and returns `None` if there is no layer or no adapter.
fn device(flags: wgpu::InstanceFlags) -> Option<(wgpu::Device, wgpu::Queue)> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: wgpu::Backends::VULKAN,
        flags,
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    if taken().iter().any(|line| line.contains(MISSING)) {
        common::skipped("the Vulkan validation layer is not installed");
        return None;
    }
    let Some(adapter) =
        pollster::block_on(instance.enumerate_adapters(wgpu::Backends::VULKAN)).into_iter().next()
    else {
        common::skipped("no Vulkan adapter");
        return None;
    };
    let used = wgpu::Features::SHADER_INT64 | wgpu::Features::SHADER_F16 | wgpu::Features::SUBGROUP;
    let descriptor = wgpu::DeviceDescriptor {
        required_features: adapter.features() & used,
        required_limits: adapter.limits(),
        ..Default::default()
    };
    Some(pollster::block_on(adapter.request_device(&descriptor)).unwrap())
}

/// Trains a network with every feature, from a data set on the device to a prediction.
fn train(gpu: Gpu) -> Gpu {
    let (rate, input_rate) = (Rate::drop(0.5).unwrap(), Rate::drop(0.2).unwrap());
    let architecture = Architecture {
        inputs: 33,
        hidden: vec![65, 40],
        classes: 4,
        mode: Mode::Inverted,
        rate,
        input_rate,
        seed: 1,
    };
    let mut net = Mlp::new(gpu, architecture).unwrap();
    let (x, labels) = (common::noise(1, 70 * 33), vec![1; 70]);
    let data = Resident::new(net.backend_mut(), Source::Floats(&x), 33, 1.0, &labels).unwrap();
    for max_norm in [None, Some(2.0)] {
        let rule = SgdRule { max_norm, ..Training::default().rule };
        net.train_epoch(&data, &Training { rule, ..Training::default() }).unwrap();
    }
    net.predict_monte_carlo(&data, 2, Sharing::PerRow).unwrap();
    net.predict_monte_carlo(&data, 2, Sharing::PerPass).unwrap();
    net.evaluate(&data).unwrap();
    net.into_backend()
}

/// All of it is one test, since the log belongs to the whole process.
#[test]
fn the_layer_is_silent_over_every_kernel_and_speaks_of_a_planted_fault() {
    log::set_logger(&LOG).unwrap();
    log::set_max_level(log::LevelFilter::Debug);
    let Some((device, queue)) = device(wgpu::InstanceFlags::VALIDATION) else { return };
    taken();
    let gpu = Gpu::on(device.clone(), queue.clone()).unwrap();
    if std::env::var_os("WGPU_DROPOUT_ALL").is_some() {
        // Every kernel in every form.
        let report = verify::gpu(&gpu, &Options::quick(3), &mut |_| {}).unwrap();
        assert!(report.passed(), "{report}");
    }
    let gpu = train(gpu);
    let checks = verify::contract(&mut Device::Gpu(Box::new(gpu))).unwrap();
    assert!(checks.iter().all(Check::passed), "{checks:?}");
    let said = taken();
    assert!(said.is_empty(), "{} messages, the first: {}", said.len(), said[0]);

    drop((device, queue));

    // Control, with a fault that this crate cannot be made to commit: naga's debug information
    // names WGSL as the source language by a number unknown to the layer.
    let Some((device, queue)) =
        self::device(wgpu::InstanceFlags::VALIDATION | wgpu::InstanceFlags::DEBUG)
    else {
        return;
    };
    let mut gpu = Gpu::on(device, queue).unwrap();
    gpu.read_mask(Mask::new(Rate::keep(0.5).unwrap(), Key { seed: 1, layer: 2, step: 3 }), 9, 9)
        .unwrap();
    let said = taken();
    assert!(said.iter().any(|line| line.contains("source language")), "{said:?}");
}

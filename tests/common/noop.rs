//! Devices of wgpu's noop backend, which validates everything and computes nothing.
#![allow(dead_code)]

use wgpu::{DeviceType, Features, Limits};

/// Opens a device with exactly these features and limits.
pub fn pretend(
    features: Features,
    limits: &Limits,
    kind: DeviceType,
) -> (wgpu::Device, wgpu::Queue) {
    let noop = wgpu::NoopBackendOptions {
        features: Some(features),
        limits: Some(limits.clone()),
        device_type: Some(kind),
        ..wgpu::NoopBackendOptions::enabled()
    };
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: wgpu::Backends::NOOP,
        backend_options: wgpu::BackendOptions { noop, ..Default::default() },
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::NOOP));
    let descriptor = wgpu::DeviceDescriptor {
        required_features: features,
        required_limits: limits.clone(),
        ..Default::default()
    };
    pollster::block_on(adapters[0].request_device(&descriptor)).unwrap()
}

/// Returns true if a device refuses to make a pipeline of a shader.
pub fn refuses(device: &wgpu::Device, wgsl: &str) -> bool {
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    let source = wgpu::ShaderSource::Wgsl(wgsl.into());
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source });
    drop(device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: None,
        compilation_options: Default::default(),
        cache: None,
    }));
    pollster::block_on(scope.pop()).is_some()
}

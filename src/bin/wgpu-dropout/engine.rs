//! The device that a command runs on, and what it reports about it when done.

use crate::args::Common;
use crate::failure::Failure;
use crate::output;
use crate::trials;
use serde_json::{Map, Value, json};
use wgpu_dropout::gpu::{Gpu, Tuning};
use wgpu_dropout::{Backend, Device, DeviceChoice, Error, wgpu};

/// What names the tile where the command line does not.
const TILE: &str = "WGPU_DROPOUT_TILE";

/// Opens a device, its tiles chosen as is asked for.
pub fn open(choice: &DeviceChoice, tile: Option<Tuning>) -> wgpu_dropout::Result<Device> {
    let tuning = match (tile, std::env::var(TILE)) {
        (Some(tuning), _) => tuning,
        (None, Ok(name)) if !name.is_empty() => {
            name.parse().map_err(|error| Error::Invalid { what: format!("{TILE}: {error}") })?
        }
        (None, _) => Tuning::Auto,
    };
    Device::with_gpu(choice, |adapter| Gpu::tuned_by(adapter, tuning, trials::kept_or_new))
}

/// A device in words: its name, and whether it is software that stands in for a GPU.
pub fn describe(device: &Device) -> String {
    match device {
        Device::Cpu(cpu) => format!("{} backend", cpu.name()),
        Device::Gpu(gpu) => {
            format!("{} ({}{})", gpu.name(), gpu.info().backend, software(gpu.info()))
        }
    }
}

/// Said of adapters that run on a CPU.
pub fn software(info: &wgpu::AdapterInfo) -> &'static str {
    if info.device_type == wgpu::DeviceType::Cpu { ", software" } else { "" }
}

/// The programming interface that a device is reached through.
pub fn interface(device: &Device) -> String {
    match device {
        Device::Cpu(_) => "cpu".to_owned(),
        Device::Gpu(gpu) => gpu.info().backend.to_string(),
    }
}

/// Ends a command: an object for machines or a line for people, which goes to stderr where stdout
/// holds the result itself.
pub fn finish(
    common: &Common,
    device: &Device,
    what: &str,
    more: Map<String, Value>,
    stdout_taken: bool,
) -> Result<(), Failure> {
    if !common.json {
        let line = format!("{what}, on {}", describe(device));
        if !stdout_taken {
            return output::line(&line);
        }
        output::note(&line);
        return Ok(());
    }
    let counts = device.counts();
    let mut object = json!({
        "adapter": device.name(),
        "backend": interface(device),
        "dispatches": counts.dispatches,
        "submits": counts.submits,
        "bytes_read": counts.bytes_read,
    });
    if let Some(object) = object.as_object_mut() {
        object.extend(more);
    }
    output::json(&object)
}

//! The device that a command runs on, and the report at the end of the command.

use crate::args::Common;
use crate::failure::Failure;
use crate::output;
use crate::trials;
use serde_json::{Map, Value, json};
use wgpu_dropout::gpu::{Gpu, Tuning};
use wgpu_dropout::{Backend, Device, DeviceChoice, Error, wgpu};

/// Environment variable that names the tile if the command line does not.
const TILE: &str = "WGPU_DROPOUT_TILE";

/// Opens a device and chooses its tiles as requested.
pub fn open(choice: &DeviceChoice, tile: Option<Tuning>) -> wgpu_dropout::Result<Device> {
    let tuning = match (tile, std::env::var_os(TILE)) {
        (Some(tuning), _) => tuning,
        (None, Some(name)) if !name.is_empty() => name
            .to_string_lossy()
            .parse()
            .map_err(|error| Error::Invalid { what: format!("{TILE}: {error}") })?,
        (None, _) => Tuning::Auto,
    };
    Device::with_gpu(choice, |adapter| Gpu::tuned_by(adapter, tuning, trials::kept_or_new))
}

/// Describes a device: its name, its interface, and whether it is a software adapter.
pub fn describe(device: &Device) -> String {
    match device {
        Device::Cpu(cpu) => format!("{} backend", cpu.name()),
        Device::Gpu(gpu) => {
            format!("{} ({}{})", gpu.name(), gpu.info().backend, software(gpu.info()))
        }
    }
}

/// Returns `, software` for an adapter that runs on a CPU, and an empty string for all others.
pub fn software(info: &wgpu::AdapterInfo) -> &'static str {
    if info.device_type == wgpu::DeviceType::Cpu { ", software" } else { "" }
}

/// Returns the name of the programming interface through which a device is reached.
pub fn interface(device: &Device) -> String {
    match device {
        Device::Cpu(_) => "cpu".to_owned(),
        Device::Gpu(gpu) => gpu.info().backend.to_string(),
    }
}

/// Ends a command with a JSON object or with a line for people.
pub fn finish(
    common: &Common,
    device: &Device,
    what: &str,
    more: Map<String, Value>,
) -> Result<(), Failure> {
    if !common.json {
        return output::line(&format!("{what}, on {}", describe(device)));
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

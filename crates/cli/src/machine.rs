//! Descriptions of the machine and its devices.

use crate::engine;
use serde_json::{Value, json};
use wgpu_dropout::{Counts, Device, wgpu};

/// Description of the machine.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Version of this crate.
    pub version: &'static str,
    /// Versions of wgpu and, if known, of the compiler.
    pub built: &'static str,
    /// Model name of the processor, or its architecture if the name is not available.
    pub cpu: String,
    /// Number of threads that this process can run at once.
    pub threads: usize,
    /// Name of the operating system.
    pub system: &'static str,
}

impl Machine {
    /// Describes this machine.
    pub fn here() -> Self {
        let known = std::fs::read_to_string("/proc/cpuinfo").ok();
        let model = known
            .as_deref()
            .and_then(|text| text.lines().find_map(|line| line.strip_prefix("model name")));
        let model =
            model.and_then(|line| line.split_once(':')).map(|(_, model)| model.trim().to_owned());
        Self {
            version: env!("CARGO_PKG_VERSION"),
            built: env!("BUILT_WITH"),
            cpu: model.unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            system: std::env::consts::OS,
        }
    }
}

/// Description of a device that work ran on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// `GPU` or `CPU`.
    pub kind: &'static str,
    /// Device name as listed by `devices`.
    pub name: String,
    /// Programming interface through which the device is reached.
    pub interface: String,
    /// The driver with its version; empty for the CPU backend.
    pub driver: String,
    /// True if the device is a software adapter.
    pub software: bool,
    /// Short description, as in the tables of `bench`.
    pub label: String,
}

impl Place {
    /// Describes a device.
    pub fn of(device: &Device) -> Self {
        let (kind, driver, software) = match device {
            Device::Cpu(_) => ("CPU", String::new(), false),
            Device::Gpu(gpu) => {
                let info = gpu.info();
                let driver = format!("{} {}", info.driver, info.driver_info).trim().to_owned();
                ("GPU", driver, info.device_type == wgpu::DeviceType::Cpu)
            }
        };
        Self {
            kind,
            name: device.name(),
            interface: engine::interface(device),
            driver,
            software,
            label: engine::describe(device),
        }
    }

    /// Returns the full description in one line.
    pub fn line(&self) -> String {
        match (self.kind, self.software) {
            ("CPU", _) => "CPU backend of this crate".to_owned(),
            (_, software) => {
                let software = if software { ", a software adapter" } else { "" };
                format!("{}, {}, driver {}{software}", self.name, self.interface, self.driver)
            }
        }
    }

    /// Returns the device and its counts as JSON.
    pub fn json(&self, counts: &Counts) -> Value {
        json!({
            "adapter": self.name,
            "backend": self.interface,
            "driver": self.driver,
            "software": self.software,
            "dispatches": counts.dispatches,
            "submits": counts.submits,
            "bytes_read": counts.bytes_read,
        })
    }
}

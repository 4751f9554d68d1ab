//! The machine and its devices, in words.

use crate::engine;
use serde_json::{Value, json};
use wgpu_dropout::{Counts, Device, wgpu};

/// The machine.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Of this crate.
    pub version: &'static str,
    /// What it was built with: wgpu, and the compiler where that is known.
    pub built: &'static str,
    /// The processor's own name, or its architecture where that cannot be had.
    pub cpu: String,
    /// Threads that this process may run at once.
    pub threads: usize,
    /// The operating system.
    pub system: &'static str,
}

impl Machine {
    /// This machine.
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

/// A device that work ran on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// `GPU` or `CPU`.
    pub kind: &'static str,
    /// The name that `devices` lists.
    pub name: String,
    /// What the device is reached through.
    pub interface: String,
    /// The driver with its version; empty for the CPU backend.
    pub driver: String,
    /// Whether it is software that stands in for a GPU.
    pub software: bool,
    /// All in a few words, as the tables of `bench` say it.
    pub label: String,
}

impl Place {
    /// The place that a device is.
    pub fn of(device: &Device) -> Self {
        let (kind, driver, software) = match device {
            Device::Cpu(_) => ("CPU", String::new(), false),
            Device::Gpu(gpu) => {
                let info = gpu.info();
                let driver = format!("{} {}", info.driver, info.driver_info).trim().to_owned();
                ("GPU", driver, info.device_type == wgpu::DeviceType::Cpu)
            }
        };
        let (name, interface, label) =
            (device.name(), engine::interface(device), engine::describe(device));
        Self { kind, name, interface, driver, software, label }
    }

    /// The whole of it in a line.
    pub fn line(&self) -> String {
        match (self.kind, self.software) {
            ("CPU", _) => "CPU backend of this crate".to_owned(),
            (_, software) => {
                let software = if software { ", a software adapter" } else { "" };
                format!("{}, {}, driver {}{software}", self.name, self.interface, self.driver)
            }
        }
    }

    /// The device and what it did, for machines.
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

//! A line of the result: one kernel, one shape, one device.

use super::measure::Timing;
use super::work::{Bound, Entry};
use crate::engine;
use serde_json::{Value, json};
use wgpu_dropout::Device;

/// Where a kernel ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The device's name.
    pub adapter: String,
    /// `cpu`, or what the adapter is reached through.
    pub backend: String,
    /// The device in words.
    pub label: String,
}

impl Place {
    /// The place that a device is.
    pub fn of(device: &Device) -> Self {
        Self { adapter: device.name(), backend: engine::interface(device), label: engine::describe(device) }
    }
}

/// One kernel's time, and what it comes to.
#[derive(Debug, Clone)]
pub struct Row {
    /// What was called.
    pub entry: Entry,
    /// Where.
    pub place: Place,
    /// How long a call takes.
    pub timing: Timing,
    /// The kernel that does as little as can be done.
    pub ceiling: &'static str,
    /// How long the ceiling takes over as many bytes or operations, in seconds.
    pub ceiling_s: f64,
}

impl Row {
    /// The rows of one race, whose first entry is the ceiling of all.
    pub fn of_race(entries: &[Entry], timings: &[Timing], place: &Place) -> Vec<Self> {
        let Some((ceiling, ceiling_timing)) = entries.iter().zip(timings).next() else { return Vec::new() };
        let row = |(entry, timing): (&Entry, &Timing)| Self {
            entry: entry.clone(),
            place: place.clone(),
            timing: *timing,
            ceiling: ceiling.kernel,
            ceiling_s: ceiling_timing.median * entry.amount() as f64 / ceiling.amount() as f64,
        };
        entries.iter().zip(timings).map(row).collect()
    }

    /// Whether this is the ceiling itself.
    pub fn is_ceiling(&self) -> bool {
        self.entry.kernel == self.ceiling
    }

    /// The share of the ceiling's speed: 1 is as fast.
    pub fn ratio(&self) -> f64 {
        self.ceiling_s / self.timing.median
    }

    /// 10⁹ bytes a second.
    pub fn gb_per_s(&self) -> f64 {
        self.entry.bytes as f64 / self.timing.median * 1e-9
    }

    /// 10⁹ operations a second.
    pub fn gflop_per_s(&self) -> f64 {
        self.entry.flops as f64 / self.timing.median * 1e-9
    }

    /// Speed in the unit of what limits the kernel.
    pub fn speed(&self) -> String {
        match self.entry.bound {
            Bound::Bytes => format!("{:.2} GB/s", self.gb_per_s()),
            Bound::Flops => format!("{:.2} GFLOP/s", self.gflop_per_s()),
        }
    }

    /// The row for machines.
    pub fn json(&self) -> Value {
        json!({
            "kernel": self.entry.kernel,
            "backend": self.place.backend,
            "adapter": self.place.adapter,
            "dtype": "f32",
            "shape": self.entry.shape,
            "median_s": self.timing.median,
            "spread": self.timing.spread,
            "bytes": self.entry.bytes,
            "flops": self.entry.flops,
            "gb_per_s": self.gb_per_s(),
            "gflop_per_s": self.gflop_per_s(),
            "ceiling": self.ceiling,
            "ceiling_s": self.ceiling_s,
            "ratio_to_ceiling": self.ratio(),
        })
    }
}

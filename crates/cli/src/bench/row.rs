//! A row of the results: one kernel with one shape on one device.

use super::measure::Timing;
use super::statistics::Quartiles;
use super::step::PerStep;
use super::work::{Bound, Entry};
use crate::machine::Place;
use serde_json::{Value, json};

/// Time of one kernel, and the figures derived from it.
#[derive(Debug, Clone)]
pub struct Row {
    /// The kernel.
    pub entry: Entry,
    /// The device.
    pub place: Place,
    /// Time of a call.
    pub timing: Timing,
    /// Name of the ceiling: the kernel that does the least possible work.
    pub ceiling: &'static str,
    /// Time of the ceiling for the same number of bytes or operations, in seconds.
    pub ceiling_s: f64,
    /// Work of the device per training step.
    pub per_step: Option<PerStep>,
}

impl Row {
    /// Returns the rows of one race, whose first entry is the ceiling of all. For `matmul`, the
    /// device's arithmetic peak is the ceiling if it is among the rows `before`.
    pub fn of_race(
        entries: &[Entry],
        timings: &[Timing],
        place: &Place,
        before: &[Self],
    ) -> Vec<Self> {
        let Some((first, first_timing)) = entries.iter().zip(timings).next() else {
            return Vec::new();
        };
        let peak =
            before.iter().rfind(|row| row.entry.kernel == "multiply_add" && row.place == *place);
        let row = |(entry, timing): (&Entry, &Timing)| {
            let above = peak.filter(|_| entry.kernel == "matmul");
            let (ceiling, seconds) = above
                .map_or((first, first_timing.seconds.median), |peak| (&peak.entry, peak.seconds()));
            Self {
                entry: entry.clone(),
                place: place.clone(),
                timing: *timing,
                ceiling: ceiling.kernel,
                ceiling_s: seconds * entry.amount() as f64 / ceiling.amount() as f64,
                per_step: None,
            }
        };
        entries.iter().zip(timings).map(row).collect()
    }

    /// Returns a key that is equal for rows of the same measurement on different devices.
    pub fn subject(&self) -> (&'static str, &[usize], &'static str) {
        // For a product it must not contain the ceiling: only a GPU has a peak above the product.
        let ceiling = if self.entry.kernel == "matmul" { "" } else { self.ceiling };
        (self.entry.kernel, &self.entry.shape, ceiling)
    }

    /// Returns true if this row is the ceiling itself.
    pub fn is_ceiling(&self) -> bool {
        self.entry.kernel == self.ceiling
    }

    /// Returns the median time of a call.
    pub fn seconds(&self) -> f64 {
        self.timing.seconds.median
    }

    /// Returns the speed as a fraction of the ceiling's.
    pub fn ratio(&self) -> f64 {
        self.ceiling_s / self.seconds()
    }

    /// Formats that fraction; empty for the ceiling itself.
    pub fn of_ceiling(&self) -> String {
        match self.ceiling {
            _ if self.is_ceiling() => String::new(),
            "linear_forward_plain" => format!("{:.2} of plain layer", self.ratio()),
            ceiling => format!("{:.2} of {ceiling}", self.ratio()),
        }
    }

    /// Returns the time that dropout adds to its layer, in percent, if the layer was timed in turns
    /// with and without it.
    pub fn cost(&self) -> Option<Quartiles> {
        let against_plain =
            self.entry.kernel == "linear_forward" && self.ceiling == "linear_forward_plain";
        against_plain.then(|| self.timing.relative.map(|ratio| 100.0 * (ratio - 1.0)))
    }

    /// Returns the throughput in 10⁹ bytes per second.
    pub fn gb_per_s(&self) -> f64 {
        self.entry.bytes as f64 / self.seconds() * 1e-9
    }

    /// Returns the throughput in 10⁹ operations per second.
    pub fn gflop_per_s(&self) -> f64 {
        self.entry.flops as f64 / self.seconds() * 1e-9
    }

    /// Formats the speed in the unit of the resource that limits the kernel.
    pub fn speed(&self) -> String {
        match self.entry.bound {
            Bound::Bytes => format!("{:.2} GB/s", self.gb_per_s()),
            Bound::Flops => format!("{:.2} GFLOP/s", self.gflop_per_s()),
        }
    }

    /// Returns the row as JSON.
    pub fn json(&self) -> Value {
        let mut object = json!({
            "kernel": self.entry.kernel,
            "backend": self.place.interface,
            "adapter": self.place.name,
            "dtype": self.entry.dtype,
            "shape": self.entry.shape,
            "median_s": self.seconds(),
            "spread": self.timing.seconds.spread(),
            "bytes": self.entry.bytes,
            "flops": self.entry.flops,
            "gb_per_s": self.gb_per_s(),
            "gflop_per_s": self.gflop_per_s(),
            "ceiling": self.ceiling,
            "ceiling_s": self.ceiling_s,
            "ratio_to_ceiling": self.ratio(),
        });
        if let Some(cost) = self.cost() {
            object["cost_percent"] = json!(cost.median);
            object["cost_percent_quartiles"] = json!([cost.low, cost.high]);
        }
        if let Some(per_step) = &self.per_step {
            object["start_s"] = json!(per_step.start);
            for (what, count) in per_step.each() {
                object[format!("{what}_per_step")] = json!(count);
            }
        }
        object
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::bench::{elementwise, layer};
    use wgpu_dropout::Counts;

    /// Returns a device for tests.
    pub fn place(kind: &'static str) -> Place {
        let name = format!("{kind} name");
        let interface = "vulkan".to_owned();
        let driver = String::new();
        Place { kind, name, interface, driver, software: false, label: format!("{kind} label") }
    }

    /// Returns the timing of a kernel whose time never varies.
    pub fn steady(seconds: f64, relative: f64) -> Timing {
        let same = |value| Quartiles { low: value, median: value, high: value };
        Timing { seconds: same(seconds), wall: seconds, relative: same(relative) }
    }

    #[test]
    fn a_ceiling_s_time_is_that_of_as_many_bytes() {
        let timings = [steady(1e-3, 1.0), steady(2e-3, 2.0), steady(4e-3, 4.0)];
        let rows = Row::of_race(&elementwise::entries(1 << 20), &timings, &place("GPU"), &[]);
        assert_eq!([rows[0].ratio(), rows[1].ratio(), rows[2].ratio()], [1.0, 0.5, 0.5]);
        assert!(
            rows[0].is_ceiling()
                && rows.iter().all(|row| row.ceiling == "copy" && row.cost().is_none())
        );
        assert!((rows[1].gb_per_s() - 8.0 * 1.048_576 / 2.0).abs() < 1e-12);
    }

    #[test]
    fn a_product_s_ceiling_is_its_own_device_s_peak() {
        let peak =
            Entry { kernel: "multiply_add", flops: 1000, ..layer::entries([1, 1, 1])[0].clone() };
        let before = Row::of_race(&[peak], &[steady(1.0, 1.0)], &place("GPU"), &[]);
        let race = |kind| {
            Row::of_race(
                &layer::entries([1, 10, 25])[..2],
                &[steady(2.0, 1.0), steady(4.0, 2.0)],
                &place(kind),
                &before,
            )
        };
        let (gpu, cpu) = (race("GPU"), race("CPU"));
        assert_eq!((gpu[0].ceiling, gpu[0].ceiling_s, gpu[0].ratio()), ("multiply_add", 0.5, 0.25));
        assert_eq!((gpu[1].ceiling, gpu[1].ratio()), ("matmul", 0.5));
        assert_eq!((cpu[0].ceiling, cpu[0].ratio()), ("matmul", 1.0));
    }

    #[test]
    fn the_cost_of_dropout_is_what_it_adds_to_the_layer_without_it() {
        let rows = Row::of_race(
            &layer::cost_entries([2, 3, 4]),
            &[steady(9.0, 1.0), steady(7.0, 1.25)],
            &place("CPU"),
            &[],
        );
        assert_eq!((rows[0].cost(), rows[1].cost().map(|cost| cost.median)), (None, Some(25.0)));
        assert_eq!(rows[1].json()["cost_percent_quartiles"], json!([25.0, 25.0]));
    }

    #[test]
    fn counts_are_given_for_each_step() {
        let counts =
            Counts { dispatches: 34, submits: 2, objects: 1, mask_bytes: 0, bytes_read: 16 };
        let mut rows =
            Row::of_race(&layer::cost_entries([2, 3, 4]), &[steady(1.0, 1.0)], &place("CPU"), &[]);
        rows[0].per_step = Some(PerStep { steps: 2, counts, start: 0.25 });
        let json = rows[0].json();
        let members = ["dispatches", "submits", "objects", "mask_bytes", "bytes_read"]
            .map(|what| json[format!("{what}_per_step")].clone());
        assert_eq!(members, [17.0, 1.0, 0.5, 0.0, 8.0].map(Value::from));
        assert_eq!(json["start_s"], 0.25);
    }
}

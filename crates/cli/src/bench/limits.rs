//! Omission of races that would take too long on a device, or more memory than is available.

use super::plan::Race;
use super::row::Row;
use super::work::{Bound, Entry};
use crate::machine::Place;
use std::time::Duration;

/// Returns the reason to leave a race out on a device; `rows` are those measured so far.
pub fn reason(race: &Race, place: &Place, rows: &[Row], call: Duration) -> Option<String> {
    let entries = race.entries();
    let slowest =
        entries.iter().filter_map(|entry| expected(entry, place, rows)).fold(0.0, f64::max);
    if slowest > call.as_secs_f64() {
        return Some(format!(
            "one call would take about {slowest:.1} s, more than {:.0} s",
            call.as_secs_f64()
        ));
    }
    let needed = memory(&entries);
    // Other GPUs have memory of their own and report an error themselves if it is exhausted.
    let available = available().filter(|_| place.kind == "CPU" || place.software)?;
    let mib = |bytes: u64| bytes >> 20;
    (needed > available).then(|| {
        format!("it needs about {} MiB, and {} MiB are available", mib(needed), mib(available))
    })
}

/// Returns the seconds of a call at the highest speed measured on the device, if any was.
fn expected(entry: &Entry, place: &Place, rows: &[Row]) -> Option<f64> {
    let alike = rows.iter().filter(|row| row.place == *place && row.entry.bound == entry.bound);
    let fastest = alike.map(|row| row.entry.amount() as f64 / row.seconds()).fold(0.0, f64::max);
    (fastest > 0.0).then(|| (entry.amount() * entry.per_call as u64) as f64 / fastest)
}

/// Returns the bytes of all tensors of a race, doubled for the copies of their values that are on
/// the way to the device.
fn memory(entries: &[Entry]) -> u64 {
    let tensors = entries.iter().map(|entry| entry.bytes).max().unwrap_or(0);
    let other = entries.iter().any(|entry| entry.bound == Bound::Flops);
    // A layer's gradients exist at the same time as the tensors of its forward pass.
    2 * tensors * if other { 2 } else { 1 }
}

/// Returns the available bytes of main memory; `None` if the system does not report them.
fn available() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::elementwise;
    use crate::bench::row::tests::{place, steady};

    #[test]
    fn what_would_take_too_long_at_the_speed_seen_is_left_out() {
        let seen = |kind| {
            Row::of_race(
                &elementwise::entries(1 << 20)[..1],
                &[steady(0.1, 1.0)],
                &place(kind),
                &[],
            )
        };
        let ask = |elements, rows: &[Row]| {
            reason(&Race::Elementwise(elements), &place("GPU"), rows, Duration::from_secs(1))
        };
        // With its backward pass, dropout moves twice the bytes of a copy: 0.8 s and 1.6 s.
        assert_eq!(ask(1 << 22, &seen("GPU")), None);
        assert_eq!(
            ask(1 << 23, &seen("GPU")).unwrap(),
            "one call would take about 1.6 s, more than 1 s"
        );
        assert_eq!(ask(1 << 23, &seen("CPU")), None, "another device's speed");
        assert_eq!(ask(1 << 23, &[]), None, "no speed yet");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_would_not_fit_in_memory_is_left_out_where_the_device_has_none_of_its_own() {
        let huge = Race::Elementwise(1 << 50);
        let software = Place { software: true, ..place("GPU") };
        assert!(reason(&huge, &place("CPU"), &[], Duration::MAX).unwrap().contains("MiB"));
        assert!(reason(&huge, &software, &[], Duration::MAX).is_some());
        assert_eq!(reason(&huge, &place("GPU"), &[], Duration::MAX), None);
        assert_eq!(reason(&Race::Elementwise(1024), &place("CPU"), &[], Duration::MAX), None);
    }
}

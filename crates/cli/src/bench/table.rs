//! The results as text: the devices side by side, and every figure with its unit.

use super::Results;
use super::row::Row;
use super::step::PerStep;
use crate::machine::Place;

const HEADS: [&str; 8] =
    ["kernel", "shape", "on", "median", "spread", "wall clock", "speed", "of ceiling"];

/// Formats the rows as a table, followed by the cost of dropout and the counts of a training step.
pub fn table(results: &Results) -> String {
    let rows = sorted(&results.rows);
    let mut places: Vec<&Place> = Vec::new();
    rows.iter().for_each(|row| {
        if !places.contains(&&row.place) {
            places.push(&row.place)
        }
    });
    let devices: String =
        places.iter().map(|place| format!("{}  {}\n", place.kind, place.line())).collect();
    let lines: Vec<[String; 8]> =
        [HEADS.map(str::to_owned)].into_iter().chain(rows.iter().map(|row| cells(row))).collect();
    let widths: [usize; 8] = std::array::from_fn(|i| {
        lines.iter().map(|cells| cells[i].chars().count()).max().unwrap_or(0)
    });
    let body: String = lines.iter().map(|cells| line(cells, &widths)).collect();
    format!(
        "{devices}\n{body}\nmedian: time per call, by the device's own clock if it has one (for a training step, by the wall clock); \
         spread: interquartile range divided by the median\n{}{}",
        costs(&rows),
        steps(&rows)
    )
}

/// Sorts the rows so that all devices of a kernel and shape are adjacent. Kernels and shapes remain
/// in the order of their first row.
pub fn sorted(rows: &[Row]) -> Vec<&Row> {
    let alike = |a: &Row, b: &Row| a.subject() == b.subject();
    let mut sorted: Vec<&Row> = Vec::with_capacity(rows.len());
    for row in rows {
        let place = sorted
            .iter()
            .rposition(|other| alike(other, row))
            .map_or(sorted.len(), |last| last + 1);
        sorted.insert(place, row);
    }
    sorted
}

fn cells(row: &Row) -> [String; 8] {
    [
        row.entry.kernel.to_owned(),
        row.entry.shape(),
        row.place.kind.to_owned(),
        seconds(row.seconds()),
        format!("{:.1} %", 100.0 * row.timing.seconds.spread()),
        seconds(row.timing.wall),
        row.speed(),
        row.of_ceiling(),
    ]
}

/// Formats a line, with words aligned left and figures aligned right.
fn line(cells: &[String; 8], widths: &[usize; 8]) -> String {
    let [kernel, shape, on, median, spread, wall, speed, ceiling] = cells;
    let [w0, w1, w2, w3, w4, w5, w6, _] = widths;
    let line = format!(
        "{kernel:<w0$}  {shape:<w1$}  {on:<w2$}  {median:>w3$}  {spread:>w4$}  {wall:>w5$}  {speed:>w6$}  {ceiling}"
    );
    line.trim_end().to_owned() + "\n"
}

fn costs(rows: &[&Row]) -> String {
    let lines = rows.iter().filter_map(|row| Some((row, row.cost()?))).map(|(row, cost)| {
        let (shape, on) = (row.entry.shape(), row.place.kind);
        format!(
            "  K = {:<5} {shape:<14}  {on}  {:+6.2} %  ({:+.2} to {:+.2})\n",
            row.entry.shape[1], cost.median, cost.low, cost.high
        )
    });
    let lines: String = lines.collect();
    if lines.is_empty() {
        lines
    } else {
        format!(
            "\ntime that dropout adds to the layer: median and quartiles of the ratios with and without it, each within a round of turns\n{lines}"
        )
    }
}

fn steps(rows: &[&Row]) -> String {
    let told = rows.iter().filter_map(|row| Some((row, row.per_step.as_ref()?)));
    let lines: String = told
        .map(|(row, per_step)| {
            format!("  {}  {}  {}\n", row.entry.shape(), row.place.kind, counted(per_step))
        })
        .collect();
    if lines.is_empty() {
        lines
    } else {
        format!(
            "\ncounts per training step after warm-up, with the losses read once per epoch; the first step also compiles missing pipelines\n{lines}"
        )
    }
}

/// Formats the work of a device per training step.
pub fn counted(per_step: &PerStep) -> String {
    let [dispatches, submits, objects, mask_bytes, bytes_read] =
        per_step.each().map(|(_, count)| count);
    format!(
        "{dispatches} dispatches, {submits} submits, {objects} wgpu objects besides the encoder and its buffer, {mask_bytes} bytes of \
         masks, {bytes_read} bytes read back; plus {} the first time",
        seconds(per_step.start)
    )
}

/// Formats a time with three or four digits and its unit.
pub fn seconds(seconds: f64) -> String {
    match seconds {
        s if s >= 1.0 => format!("{s:.2} s"),
        s if s >= 1e-3 => format!("{:.2} ms", s * 1e3),
        s => format!("{:.1} µs", s * 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::row::tests::{place, steady};
    use crate::bench::{elementwise, layer};

    #[test]
    fn the_devices_stand_side_by_side_with_speed_and_share_of_the_ceiling() {
        let race = |kind, n, seconds| {
            Row::of_race(
                &elementwise::entries(n)[..2],
                &[steady(seconds, 1.0), steady(2.0 * seconds, 2.0)],
                &place(kind),
                &[],
            )
        };
        let rows =
            [race("GPU", 1 << 20, 1e-3), race("CPU", 1 << 20, 4e-3), race("GPU", 1 << 10, 1e-6)]
                .concat();
        let text = table(&Results { rows, ..Results::default() });
        let lines: Vec<Vec<&str>> =
            text.lines().skip(4).map(|line| line.split_whitespace().take(3).collect()).collect();
        let expected = [
            "copy 1024×1024 GPU",
            "copy 1024×1024 CPU",
            "dropout 1024×1024 GPU",
            "dropout 1024×1024 CPU",
            "copy 1×1024 GPU",
        ];
        assert_eq!(lines[..5], expected.map(|line| line.split(' ').collect::<Vec<_>>()), "{text}");
        let dropout = text.lines().find(|line| line.starts_with("dropout")).unwrap();
        assert!(
            dropout.contains("2.00 ms") && dropout.ends_with("4.19 GB/s  0.50 of copy"),
            "{text}"
        );
    }

    #[test]
    fn what_dropout_costs_has_a_line_for_each_inner_size() {
        let rows = Row::of_race(
            &layer::cost_entries([2, 128, 4]),
            &[steady(1.0, 1.0), steady(1.0, 1.015)],
            &place("CPU"),
            &[],
        );
        let text = table(&Results { rows, ..Results::default() });
        let line = text.lines().find(|line| line.contains("K = 128")).unwrap();
        assert!(
            line.contains("2×128×4") && line.ends_with("CPU   +1.50 %  (+1.50 to +1.50)"),
            "{line}"
        );
    }
}

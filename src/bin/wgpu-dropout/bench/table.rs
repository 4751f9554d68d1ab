//! The result for people: a table for each device, every figure with its unit.

use super::row::Row;

const HEADS: [&str; 7] = ["kernel", "shape", "median", "spread", "wall clock", "speed", "of ceiling"];

/// The rows as text.
pub fn table(rows: &[Row]) -> String {
    let mut places = Vec::new();
    for row in rows {
        if !places.contains(&&row.place) {
            places.push(&row.place);
        }
    }
    let cells: Vec<[String; 7]> = rows.iter().map(cells).collect();
    let mut widths = HEADS.map(|head| head.chars().count());
    for cells in &cells {
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for place in places {
        text += &format!("{}\n{}", place.label, line(&HEADS.map(str::to_owned), &widths));
        rows.iter().zip(&cells).filter(|(row, _)| row.place == *place).for_each(|(_, cells)| text += &line(cells, &widths));
        text.push('\n');
    }
    text + "median: of one call, by the device's own clock where it has one; spread: interquartile range over median\n"
}

fn cells(row: &Row) -> [String; 7] {
    let shape = row.entry.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("×");
    let ceiling = if row.is_ceiling() { "".to_owned() } else { format!("{:.2} of {}", row.ratio(), row.ceiling) };
    [
        row.entry.kernel.to_owned(),
        shape,
        seconds(row.timing.median),
        format!("{:.1} %", 100.0 * row.timing.spread),
        seconds(row.timing.wall),
        row.speed(),
        ceiling,
    ]
}

/// Words to the left, figures to the right.
fn line(cells: &[String; 7], widths: &[usize; 7]) -> String {
    let [kernel, shape, median, spread, wall, speed, ceiling] = cells;
    let [w0, w1, w2, w3, w4, w5, _] = widths;
    let line = format!("  {kernel:<w0$}  {shape:<w1$}  {median:>w2$}  {spread:>w3$}  {wall:>w4$}  {speed:>w5$}  {ceiling}");
    line.trim_end().to_owned() + "\n"
}

/// A time with three or four digits and its unit.
fn seconds(seconds: f64) -> String {
    match seconds {
        s if s >= 1.0 => format!("{s:.2} s"),
        s if s >= 1e-3 => format!("{:.2} ms", s * 1e3),
        s => format!("{:.1} µs", s * 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::elementwise::copy;
    use crate::bench::measure::Timing;
    use crate::bench::row::Place;
    use crate::bench::work::Entry;

    #[test]
    fn every_device_has_its_rows_with_speed_and_share_of_the_ceiling() {
        let timing = |median| Timing { median, spread: 0.1, wall: median };
        let entries = [copy(1 << 20), Entry { kernel: "dropout", ..copy(1 << 20) }];
        let place = |name: &str| Place { adapter: name.to_owned(), backend: "vulkan".to_owned(), label: name.to_owned() };
        let mut rows = Row::of_race(&entries, &[timing(1e-3), timing(2e-3)], &place("first"));
        rows.extend(Row::of_race(&entries, &[timing(4e-3), timing(4e-3)], &place("second")));
        let text = table(&rows);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines[0], lines[5]), ("first", "second"));
        assert!(
            lines[3].contains("1024×1024") && lines[3].contains("2.00 ms") && lines[3].ends_with("4.19 GB/s  0.50 of copy"),
            "{text}"
        );
        assert!(lines[8].ends_with("1.00 of copy"), "{text}");
    }
}

//! Figures against a size on a log₂ axis: throughput against the number of elements, and the cost
//! of dropout against the inner size.

use super::row::Row;
use super::statistics::Quartiles;
use crate::failure::Failure;
use crate::report::chart::{Axes, Drawn, INK, paint, picture, plain};
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

/// Line of a picture.
struct Line {
    class: String,
    dashed: bool,
    /// Sizes in order, with the figure at each.
    points: Vec<(usize, Quartiles)>,
}

impl Line {
    /// Creates the line of the points that `point` takes from the rows of one kind of device;
    /// `None` if there are no points.
    fn of(
        rows: &[Row],
        kind: &str,
        dashed: bool,
        point: impl Fn(&Row) -> Option<(usize, Quartiles)>,
    ) -> Option<Self> {
        let mut points: Vec<_> =
            rows.iter().filter(|row| row.place.kind == kind).filter_map(point).collect();
        points.sort_by_key(|(size, _)| *size);
        points.dedup_by_key(|(size, _)| *size);
        (!points.is_empty()).then(|| Self { class: kind.to_lowercase(), dashed, points })
    }
}

/// Kinds of devices that a picture distinguishes.
const KINDS: [&str; 2] = ["GPU", "CPU"];

/// Draws the throughput of dropout against the number of elements, with the copy dashed; `None` if
/// it was not measured.
pub fn throughput(rows: &[Row]) -> Result<Option<String>, Failure> {
    let speed = |kernel: &'static str| {
        move |row: &Row| {
            // Speed is inverse to time, so the lower and upper quartiles swap.
            let Quartiles { low, median, high } = row.timing.seconds;
            let gb = |seconds: f64| row.entry.bytes as f64 / seconds * 1e-9;
            let speed = Quartiles { low: gb(high), median: gb(median), high: gb(low) };
            (row.entry.kernel == kernel).then(|| (row.entry.shape.iter().product(), speed))
        }
    };
    let sizes: Vec<usize> = rows.iter().filter_map(|row| Some(speed("dropout")(row)?.0)).collect();
    let copy = |row: &Row| speed("copy")(row).filter(|(size, _)| sizes.contains(size));
    let lines = KINDS.map(|kind| {
        [Line::of(rows, kind, true, copy), Line::of(rows, kind, false, speed("dropout"))]
    });
    let lines: Vec<Line> = lines.into_iter().flatten().flatten().collect();
    let Some((low, high)) = extent(&lines) else { return Ok(None) };
    let axis = (low / 1.5..high * 1.5).log_scale();
    draw(&lines, axis, ["elements of the tensor", "GB/s"], &plain).map(Some)
}

/// Draws the time that dropout adds to a layer against the inner size K; `None` if it was not
/// measured.
pub fn cost(rows: &[Row]) -> Result<Option<String>, Failure> {
    let point = |row: &Row| Some((row.entry.shape[1], row.cost()?));
    let lines: Vec<Line> =
        KINDS.iter().filter_map(|kind| Line::of(rows, kind, false, point)).collect();
    let Some((low, high)) = extent(&lines) else { return Ok(None) };
    let room = 0.1 * (high.max(1.0) - low.min(0.0));
    let axis = low.min(0.0) - room..high.max(1.0) + room;
    draw(&lines, axis, ["inner size K of the product", "added time (%)"], &|percent| {
        format!("{}", (percent * 100.0).round() / 100.0)
    })
    .map(Some)
}

/// Returns the lowest and the highest quartile of all points; `None` if there are no points.
fn extent(lines: &[Line]) -> Option<(f64, f64)> {
    let all = || lines.iter().flat_map(|line| &line.points).map(|(_, value)| value);
    let low = all().map(|value| value.low).reduce(f64::min)?;
    Some((low, all().map(|value| value.high).fold(low, f64::max)))
}

fn draw<Y>(
    lines: &[Line],
    axis: Y,
    [x, y]: [&str; 2],
    y_label: &dyn Fn(&f64) -> String,
) -> Result<String, Failure>
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let power = |size: usize| (size as f64).log2();
    let sizes = || lines.iter().flat_map(|line| &line.points).map(|(size, _)| power(*size));
    let first = sizes().fold(f64::INFINITY, f64::min);
    let last = sizes().fold(0.0, f64::max);
    let axes =
        Axes { x, y, x_labels: 8, y_labels: 6, x_label: &|power| size_of_power(*power), y_label };
    picture(&format!("{y} against {x}"), |area| -> Drawn {
        let mut chart = axes.frame(area, first - 0.3..last.max(first + 1.0) + 0.3, axis)?;
        for Line { class, dashed, points } in lines {
            let color = paint(class);
            let middle = points.iter().map(|(size, value)| (power(*size), value.median));
            if *dashed {
                chart.draw_series(DashedLineSeries::new(middle, 22, 16, color.stroke_width(6)))?;
                continue;
            }
            chart.draw_series(points.iter().map(|(size, value)| {
                PathElement::new(
                    [(power(*size), value.low), (power(*size), value.high)],
                    color.stroke_width(5),
                )
            }))?;
            chart.draw_series(LineSeries::new(middle.clone(), color.stroke_width(9)))?;
            chart.draw_series(middle.map(|point| Circle::new(point, 13, color.filled())))?;
        }
        let range = chart.x_range();
        if chart.y_range().contains(&0.0) {
            chart.draw_series([PathElement::new(
                [(range.start, 0.0), (range.end, 0.0)],
                INK.stroke_width(3),
            )])?;
        }
        Ok(())
    })
}

/// Formats a power of two in short form, such as 512, 4096, 64Ki or 16Mi; empty for exponents that
/// are not whole.
fn size_of_power(power: f64) -> String {
    match power {
        power if power.fract() != 0.0 => String::new(),
        power if power >= 30.0 => format!("{}Gi", (power - 30.0).exp2()),
        power if power >= 20.0 => format!("{}Mi", (power - 20.0).exp2()),
        power if power >= 13.0 => format!("{}Ki", (power - 10.0).exp2()),
        power => format!("{}", power.exp2()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_short() {
        assert_eq!(
            [7.0, 10.0, 12.0, 16.0, 24.0, 31.0, 7.5].map(size_of_power),
            ["128", "1024", "4096", "64Ki", "16Mi", "2Gi", ""]
        );
    }
}

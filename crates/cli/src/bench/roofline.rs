//! The roofline of a device: each kernel's speed against its arithmetic intensity, its number of
//! operations per byte.
//!
//! The roof is `min(intensity · bandwidth, peak)`, with the measured bandwidth of a copy as its
//! slope and the measured arithmetic peak as its flat part. Source: Williams, Waterman and
//! Patterson, "Roofline", CACM 52 (2009).

use super::row::Row;
use crate::failure::Failure;
use crate::machine::Place;
use crate::report::chart::{Axes, Drawn, INK, SIZE, paint, picture, plain};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Height of a label.
const FONT: u32 = 62;
/// Distance between the baselines of two labels.
const LEADING: i32 = 70;

/// Roof of a device.
pub struct Roof<'a> {
    /// Copy of the largest tensors.
    copy: &'a Row,
    /// The `multiply_add` probe or, without one, the fastest product.
    peak: &'a Row,
}

impl<'a> Roof<'a> {
    /// Returns the roof of a device; `None` unless both its parts were measured.
    pub fn of(rows: &'a [Row], place: &Place) -> Option<Self> {
        let here = || rows.iter().filter(|row| row.place == *place);
        let copies = || here().filter(|row| row.entry.kernel == "copy");
        let largest = copies().map(|row| row.entry.bytes).max()?;
        let copy = copies()
            .filter(|row| row.entry.bytes == largest)
            .min_by(|a, b| a.seconds().total_cmp(&b.seconds()))?;
        let fastest = |kernel: &str| {
            let rows = here().filter(|row| row.entry.kernel == kernel);
            rows.max_by(|a, b| a.gflop_per_s().total_cmp(&b.gflop_per_s()))
        };
        Some(Self { copy, peak: fastest("multiply_add").or_else(|| fastest("matmul"))? })
    }

    /// Describes both parts in words.
    pub fn words(&self) -> String {
        format!(
            "{} {:.1} GB/s, {} {:.1} GFLOP/s",
            self.copy.entry.kernel,
            self.copy.gb_per_s(),
            self.peak.entry.kernel,
            self.peak.gflop_per_s()
        )
    }

    fn at(&self, intensity: f64) -> f64 {
        (intensity * self.copy.gb_per_s()).min(self.peak.gflop_per_s())
    }
}

/// Kernel in the picture.
struct Point<'a> {
    kernel: &'a str,
    /// Operations per byte.
    intensity: f64,
    gflop_per_s: f64,
}

/// Returns each kernel at its largest measured size.
fn points<'a>(rows: &'a [Row], place: &Place) -> Vec<Point<'a>> {
    let mut largest: Vec<&Row> = Vec::new();
    for row in rows.iter().filter(|row| {
        row.place == *place && row.entry.flops > 0 && row.entry.kernel != "multiply_add"
    }) {
        match largest.iter_mut().find(|other| other.entry.kernel == row.entry.kernel) {
            Some(other) if other.entry.amount() >= row.entry.amount() => {}
            Some(other) => *other = row,
            None => largest.push(row),
        }
    }
    let point = |row: &&'a Row| Point {
        kernel: row.entry.kernel,
        intensity: row.entry.flops as f64 / row.entry.bytes as f64,
        gflop_per_s: row.gflop_per_s(),
    };
    largest.iter().map(point).collect()
}

/// Draws the roofline of a device.
pub fn draw(rows: &[Row], place: &Place, roof: &Roof<'_>) -> Result<String, Failure> {
    let points = points(rows, place);
    let intensities = || points.iter().map(|point| point.intensity);
    let speeds = || points.iter().map(|point| point.gflop_per_s);
    let x = intensities().fold(0.1, f64::min) / 2.0..intensities().fold(100.0, f64::max) * 3.0;
    let lowest = speeds().fold(roof.at(x.start), f64::min);
    let y = lowest / 2.0..speeds().fold(roof.peak.gflop_per_s(), f64::max) * 3.0;
    let axes = Axes {
        x: "arithmetic intensity (FLOP/byte)",
        y: "GFLOP/s",
        x_labels: 6,
        y_labels: 6,
        x_label: &plain,
        y_label: &plain,
    };
    picture(&format!("roofline of the {}", place.kind), |area| -> Drawn {
        let mut chart = axes.frame(area, x.clone().log_scale(), y.log_scale())?;
        let ridge = roof.peak.gflop_per_s() / roof.copy.gb_per_s();
        let corners = [x.start, ridge, x.end].map(|intensity| (intensity, roof.at(intensity)));
        chart.draw_series(LineSeries::new(corners, INK.stroke_width(7)))?;

        let flat = chart.backend_coord(&corners[2]);
        let pixels: Vec<(i32, i32)> = points
            .iter()
            .map(|point| chart.backend_coord(&(point.intensity, point.gflop_per_s)))
            .collect();
        // Labels go in two columns in the middle of the picture, where there is room, under the
        // roof.
        let is_left = |pixel: &(i32, i32)| pixel.0 < SIZE.0 as i32 / 2;
        let left = 70
            + pixels.iter().filter(|pixel| is_left(pixel)).map(|pixel| pixel.0).max().unwrap_or(0);
        let right = -70
            + pixels.iter().filter(|pixel| !is_left(pixel)).map(|pixel| pixel.0).min().unwrap_or(0);
        let wanted: Vec<i32> = pixels.iter().map(|pixel| pixel.1).collect();
        let top = flat.1 + LEADING;
        let bottom = SIZE.1 as i32 - 240;
        let leading = leading(pixels.len(), bottom - top);
        let heights = apart(&wanted, leading, top, bottom);
        let text = |size, horizontal| {
            ("sans-serif", size).into_font().color(&INK).pos(Pos::new(horizontal, VPos::Center))
        };
        let small = FONT * leading as u32 / LEADING as u32;
        for (pixel, height) in pixels.iter().zip(&heights) {
            let end = if is_left(pixel) { left } else { right };
            area.draw(&PathElement::new([*pixel, (end, *height)], INK.mix(0.35).stroke_width(3)))?;
        }
        for ((point, pixel), height) in points.iter().zip(&pixels).zip(&heights) {
            let (end, side) =
                if is_left(pixel) { (left + 8, HPos::Left) } else { (right - 8, HPos::Right) };
            area.draw(&Circle::new(*pixel, 15, paint(&place.kind.to_lowercase()).filled()))?;
            area.draw(&Text::new(point.kernel, (end, *height), text(small, side)))?;
        }
        // The labels of the roof go above it, where there is nothing else.
        let below = (x.start * 1.5).min(ridge);
        let slope = chart.backend_coord(&(below, roof.at(below)));
        area.draw(&PathElement::new(
            [(slope.0, flat.1 - 15), slope],
            INK.mix(0.35).stroke_width(3),
        ))?;
        let copy = format!("copy {:.1} GB/s", roof.copy.gb_per_s());
        area.draw(&Text::new(copy, (slope.0 - 40, flat.1 - 50), text(FONT, HPos::Left)))?;
        let peak = format!("{} {:.0} GFLOP/s", roof.peak.entry.kernel, roof.peak.gflop_per_s());
        area.draw(&Text::new(peak, (flat.0 - 10, flat.1 - 50), text(FONT, HPos::Right)))?;
        Ok(())
    })
}

/// Returns the distance between the baselines of `labels` labels such that they fit `room`, at most
/// [`LEADING`]: no label is then above the roof or below the picture.
fn leading(labels: usize, room: i32) -> i32 {
    (room / (labels as i32 - 1).max(1)).clamp(1, LEADING)
}

/// Returns heights near the wanted ones, at least `leading` apart and, as far as there is room,
/// between `top` and `bottom`.
fn apart(wanted: &[i32], leading: i32, top: i32, bottom: i32) -> Vec<i32> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by_key(|&i| wanted[i]);
    let mut heights = wanted.to_vec();
    let mut free = top;
    for &i in &order {
        heights[i] = heights[i].max(free);
        free = heights[i] + leading;
    }
    let mut free = bottom;
    for &i in order.iter().rev() {
        heights[i] = heights[i].min(free);
        free = heights[i] - leading;
    }
    heights
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::row::tests::{place, steady};
    use crate::bench::{Bound, Entry};

    #[test]
    fn labels_keep_their_distance_and_their_order() {
        assert_eq!(apart(&[100, 500], 70, 0, 1000), [100, 500]);
        assert_eq!(apart(&[500, 100, 510, 505], 70, 0, 1000), [500, 100, 640, 570]);
        assert_eq!(apart(&[990, 995, 20], 70, 50, 1000), [930, 1000, 50]);
        // Labels that fit only if they are closer together.
        assert_eq!(
            [leading(0, 700), leading(1, 700), leading(11, 700), leading(15, 700)],
            [70, 70, 70, 50]
        );
        let heights = apart(&[0; 15], leading(15, 700), 100, 800);
        assert_eq!((heights.iter().min(), heights.iter().max()), (Some(&100), Some(&800)));
    }

    #[test]
    fn the_roof_is_the_largest_copy_and_the_highest_peak_of_its_own_device() {
        let entry = |kernel, bytes, flops| Entry {
            kernel,
            shape: vec![1],
            dtype: "f32",
            bytes,
            flops,
            bound: Bound::Bytes,
            per_call: 1,
        };
        let row = |kernel, bytes, flops, kind| {
            Row::of_race(&[entry(kernel, bytes, flops)], &[steady(1e-9, 1.0)], &place(kind), &[])
        };
        let rows = [
            row("copy", 10, 0, "GPU"),
            row("copy", 8, 0, "GPU"),
            row("matmul", 9, 500, "GPU"),
            row("multiply_add", 9, 400, "GPU"),
            row("matmul", 9, 700, "CPU"),
        ]
        .concat();
        let roof = Roof::of(&rows, &place("GPU")).unwrap();
        assert_eq!(
            [roof.at(1.0), roof.at(40.0), roof.at(1e6)].map(f64::round),
            [10.0, 400.0, 400.0]
        );
        assert!(Roof::of(&rows, &place("CPU")).is_none(), "a slope was not measured");
        let kernels: Vec<&str> =
            points(&rows, &place("GPU")).iter().map(|point| point.kernel).collect();
        assert_eq!(kernels, ["matmul"]);
    }
}

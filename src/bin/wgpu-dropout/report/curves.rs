//! Loss and error against the epoch, drawn by plotters and coloured by the page's style sheet.
//!
//! Plotters knows fixed colours alone. So each thing is drawn in a colour that stands for a name, and the finished picture has
//! these replaced by the names' custom properties, which differ between light and dark.

use crate::demo::compare::{MODES, Run, called};
use crate::failure::Failure;
use crate::train::session::Report;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;
use wgpu_dropout::Mode;

/// Units of a picture: four to a point, since plotters rounds to whole ones.
const SIZE: (u32, u32) = (1760, 1240);
const FONT: u32 = 76;

/// What has a colour, by the place of its stand-in.
const NAMES: [&str; 5] = ["ink", "grid", "none", "vanilla", "inverted"];
const INK: RGBColor = RGBColor(1, 2, 0);
const GRID: RGBColor = RGBColor(1, 2, 1);

fn paint(mode: Mode) -> RGBColor {
    RGBColor(
        1,
        2,
        match mode {
            Mode::None => 2,
            Mode::Vanilla => 3,
            Mode::Inverted => 4,
        },
    )
}

/// A run's value in an epoch, on rows trained on or not.
type Value = fn(&Report) -> f64;

/// Loss of both sets, on a logarithmic axis.
pub fn loss(runs: &[&Run]) -> Result<String, Failure> {
    let values: [Value; 2] = [|report| report.train.loss, |report| report.test.loss];
    let (low, high) = extent(runs, &values, 0);
    // A loss of 0 has no place on the axis.
    let axis = (low.max(1e-6) / 1.2..high.max(1e-5) * 1.2).log_scale();
    draw(runs, &values, axis, "loss (nats)", &|value| format!("{value}"))
}

/// Error of both sets. The first epochs' errors lie far above all later ones: the axis ends where the rest can be told apart.
pub fn error(runs: &[&Run]) -> Result<String, Failure> {
    let values: [Value; 2] = [|report| report.train.error, |report| report.test.error];
    let epochs = runs.iter().map(|run| run.reports.len()).max().unwrap_or(0);
    let (_, high) = extent(runs, &values, epochs / 5);
    draw(runs, &values, 0.0..high.max(1.0) * 1.1, "error (%)", &|value| format!("{value}"))
}

/// The lowest and the highest value after so many epochs.
fn extent(runs: &[&Run], values: &[Value], after: usize) -> (f64, f64) {
    let reports = runs.iter().flat_map(|run| run.reports.iter().skip(after));
    let all = reports.flat_map(|report| values.iter().map(move |value| value(report)));
    all.fold((f64::INFINITY, 0.0), |(low, high): (f64, f64), value| (low.min(value), high.max(value)))
}

fn draw<Y>(runs: &[&Run], values: &[Value; 2], axis: Y, unit: &str, tick: &dyn Fn(&f64) -> String) -> Result<String, Failure>
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let mut svg = String::new();
    let drawn = plot(&mut svg, runs, values, axis, unit, tick);
    drawn.map_err(|error| Failure::Run(format!("the report's curves: {error}")))?;
    Ok(themed(&svg, unit))
}

fn plot<Y>(
    svg: &mut String,
    runs: &[&Run],
    [train, test]: &[Value; 2],
    axis: Y,
    unit: &str,
    tick: &dyn Fn(&f64) -> String,
) -> Result<(), Box<dyn std::error::Error>>
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let epochs = runs.iter().map(|run| run.reports.len()).max().unwrap_or(0).max(2);
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let mut chart = ChartBuilder::on(&area)
        .margin(24)
        .margin_right(48)
        .x_label_area_size(170)
        .y_label_area_size(250)
        .build_cartesian_2d(1.0..epochs as f64, axis)?;
    let high = chart.y_range().end;
    let font = ("sans-serif", FONT).into_font().color(&INK);
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID.stroke_width(3))
        .axis_style(INK.stroke_width(4))
        .label_style(font.clone())
        .axis_desc_style(font)
        .x_labels(epochs.min(10))
        .y_labels(6)
        .x_label_formatter(&|epoch| format!("{epoch:.0}"))
        .y_label_formatter(tick)
        .x_desc("epoch")
        .y_desc(unit)
        .draw()?;
    for run in runs {
        let color = paint(run.mode);
        let points = |value: Value| {
            let points: Vec<_> = run.reports.iter().map(|report| (f64::from(report.epoch), value(report))).collect();
            below(&points, high)
        };
        chart.draw_series(DashedLineSeries::new(points(*train), 22, 16, color.stroke_width(7)))?;
        chart.draw_series(LineSeries::new(points(*test), color.stroke_width(9)))?;
    }
    area.present()?;
    Ok(())
}

/// The part of a falling line that lies below `high`, from where it comes in.
fn below(points: &[(f64, f64)], high: f64) -> Vec<(f64, f64)> {
    let first = points.iter().rposition(|&(_, y)| y > high).map_or(0, |last_above| last_above + 1);
    let entry = first.checked_sub(1).and_then(|above| {
        let (&(x0, y0), &(x1, y1)) = (points.get(above)?, points.get(first)?);
        Some((x0 + (x1 - x0) * (y0 - high) / (y0 - y1), high))
    });
    entry.into_iter().chain(points[first..].iter().copied()).collect()
}

/// The picture with names for its colours, as wide as its place.
fn themed(svg: &str, unit: &str) -> String {
    let (width, height) = SIZE;
    // Plotters' own first line fixes the size.
    let body = svg.split_once('\n').map_or("", |(_, body)| body);
    let mut picture = format!("<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{unit} against epoch\">\n{body}");
    for (place, name) in NAMES.iter().enumerate() {
        for what in ["stroke", "fill"] {
            picture = picture.replace(&format!("{what}=\"#0102{place:02X}\""), &format!("style=\"{what}:var(--{name})\""));
        }
    }
    picture + "\n"
}

/// What the lines mean, for all pictures.
pub fn legend() -> String {
    let line = |class: &str| {
        format!(
            "<svg viewBox=\"0 0 36 12\" class=\"key\" aria-hidden=\"true\"><path d=\"M2 6H34\" style=\"stroke:var(--{class})\"/></svg>"
        )
    };
    let modes = MODES.map(|mode| format!("<span>{}{}</span>\n", line(&mode.to_string()), called(mode))).concat();
    format!("<p class=\"legend\">{modes}<span>{}test</span>\n<span class=\"dashed\">{}train</span></p>\n", line("ink"), line("ink"))
}

#[cfg(test)]
mod tests {
    use super::below;

    #[test]
    fn a_line_comes_in_where_it_crosses_the_end_of_the_axis() {
        let line = [(1.0, 9.0), (2.0, 7.0), (3.0, 3.0), (4.0, 2.0)];
        assert_eq!(below(&line, 5.0), [(2.5, 5.0), (3.0, 3.0), (4.0, 2.0)]);
        assert_eq!(below(&line, 10.0), line);
        assert_eq!(below(&line, 1.0), []);
    }
}

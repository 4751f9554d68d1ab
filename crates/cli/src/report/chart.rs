//! Parts shared by the plots: their size, axes and legend, and colors from the page's style sheet.
//!
//! Plotters supports only fixed colors. So each item is drawn in a color that stands for a name.
//! In the finished picture, these colors are replaced by the names' custom properties, which differ
//! between light and dark.

use super::escape;
use crate::failure::Failure;
use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

/// Width and height of a picture in units. There are four units to a point, since plotters rounds
/// to whole units.
pub const SIZE: (u32, u32) = (1760, 1240);
/// Font size of the axes, in units.
pub const FONT: u32 = 76;

/// Names that have a color, by the index of their stand-in.
const NAMES: [&str; 16] = [
    "ink", "grid", "none", "vanilla", "inverted", "gpu", "cpu", "line-1", "line-2", "line-3",
    "line-4", "line-5", "line-6", "line-7", "line-8", "line-9",
];
/// Stand-in for the color of text and axes.
pub const INK: RGBColor = RGBColor(1, 2, 0);
/// Stand-in for the color of grid lines.
const GRID: RGBColor = RGBColor(1, 2, 1);

/// Returns the stand-in for a name's color; an unknown name gets ink's.
pub fn paint(name: &str) -> RGBColor {
    RGBColor(1, 2, NAMES.iter().position(|known| *known == name).unwrap_or(0) as u8)
}

pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub type Drawn = Result<(), Box<dyn std::error::Error>>;
type Chart<'a, X, Y> = ChartContext<
    'a,
    SVGBackend<'a>,
    Cartesian2d<<X as AsRangedCoord>::CoordDescType, <Y as AsRangedCoord>::CoordDescType>,
>;

/// Draws a picture. `what` describes it to people who cannot see it.
///
/// # Errors
///
/// If plotters cannot draw it.
pub fn picture(what: &str, draw: impl FnOnce(&Area<'_>) -> Drawn) -> Result<String, Failure> {
    let mut svg = String::new();
    let drawn = {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        draw(&area).and_then(|()| Ok(area.present()?))
    };
    drawn.map_err(|error| Failure::Run(format!("the report's plots: {error}")))?;
    Ok(themed(&svg, what))
}

/// Replaces a picture's stand-in colors by custom properties and its fixed size by a view box, so
/// that it fills its container.
fn themed(svg: &str, what: &str) -> String {
    let (width, height) = SIZE;
    // The first line of plotters' output fixes the size.
    let body = svg.split_once('\n').map_or("", |(_, body)| body);
    let mut picture = format!(
        "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\">\n{body}",
        escape(what)
    );
    for (place, name) in NAMES.iter().enumerate() {
        for what in ["stroke", "fill"] {
            picture = picture.replace(
                &format!("{what}=\"#0102{place:02X}\""),
                &format!("style=\"{what}:var(--{name})\""),
            );
        }
    }
    picture + "\n"
}

/// Axes of a plot.
pub struct Axes<'a> {
    /// Label of the x axis, with its unit.
    pub x: &'a str,
    /// Label of the y axis, with its unit.
    pub y: &'a str,
    /// Approximate number of values written along the x axis.
    pub x_labels: usize,
    /// Approximate number of values written along the y axis.
    pub y_labels: usize,
    /// Formats a value of the x axis.
    pub x_label: &'a dyn Fn(&f64) -> String,
    /// Formats a value of the y axis.
    pub y_label: &'a dyn Fn(&f64) -> String,
}

impl Axes<'_> {
    /// Draws the axes and returns the empty plot between them.
    pub fn frame<'a, X, Y>(
        &self,
        area: &Area<'a>,
        x: X,
        y: Y,
    ) -> Result<Chart<'a, X, Y>, Box<dyn std::error::Error>>
    where
        X: AsRangedCoord<Value = f64>,
        X::CoordDescType: ValueFormatter<f64>,
        Y: AsRangedCoord<Value = f64>,
        Y::CoordDescType: ValueFormatter<f64>,
    {
        let mut chart = ChartBuilder::on(area)
            .margin(24)
            // Half of the last label extends beyond the axis.
            .margin_right(110)
            .x_label_area_size(170)
            .y_label_area_size(250)
            .build_cartesian_2d(x, y)?;
        let font = ("sans-serif", FONT).into_font().color(&INK);
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID.stroke_width(3))
            .axis_style(INK.stroke_width(4))
            .label_style(font.clone())
            .axis_desc_style(font)
            .x_labels(self.x_labels)
            .y_labels(self.y_labels)
            .x_label_formatter(self.x_label)
            .y_label_formatter(self.y_label)
            .x_desc(self.x)
            .y_desc(self.y)
            .draw()?;
        Ok(chart)
    }
}

/// Returns a legend of lines, each given by its style class, true if it is dashed, and its name.
pub fn legend<'a>(lines: impl IntoIterator<Item = (&'a str, bool, &'a str)>) -> String {
    let items = lines.into_iter().map(|(class, dashed, name)| {
        let dashed = if dashed { " class=\"dashed\"" } else { "" };
        let key = "<svg viewBox=\"0 0 36 12\" class=\"key\" aria-hidden=\"true\">";
        format!("<span{dashed}>{key}<path d=\"M2 6H34\" style=\"stroke:var(--{class})\"/></svg>{}</span>\n", escape(name))
    });
    format!("<p class=\"legend\">{}</p>\n", items.collect::<String>())
}

/// Formats a value on a logarithmic axis, in thousands (`k`) from 10,000 on.
pub fn plain(value: &f64) -> String {
    match *value {
        value if value >= 1e4 => format!("{}k", value / 1e3),
        value => format!("{value}"),
    }
}

/// Returns the part of a falling line that lies below `high`, starting at the point where it
/// crosses `high`.
pub fn below(points: &[(f64, f64)], high: f64) -> Vec<(f64, f64)> {
    let first = points.iter().rposition(|&(_, y)| y > high).map_or(0, |last_above| last_above + 1);
    let entry = first.checked_sub(1).and_then(|above| {
        let (&(x0, y0), &(x1, y1)) = (points.get(above)?, points.get(first)?);
        Some((x0 + (x1 - x0) * (y0 - high) / (y0 - y1), high))
    });
    entry.into_iter().chain(points[first..].iter().copied()).collect()
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

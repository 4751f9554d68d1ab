//! What the plots share: their size, axes and legend, and colours that the page's style sheet
//! decides.
//!
//! Plotters knows fixed colours alone. So each thing is drawn in a colour that stands for a name,
//! and the finished picture has these replaced by the names' custom properties, which differ
//! between light and dark.

use super::escape;
use crate::failure::Failure;
use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

/// Units of a picture: four to a point, since plotters rounds to whole ones.
pub const SIZE: (u32, u32) = (1760, 1240);
pub const FONT: u32 = 76;

/// What has a colour, by the place of its stand-in.
const NAMES: [&str; 16] = [
    "ink", "grid", "none", "vanilla", "inverted", "gpu", "cpu", "line-1", "line-2", "line-3",
    "line-4", "line-5", "line-6", "line-7", "line-8", "line-9",
];
pub const INK: RGBColor = RGBColor(1, 2, 0);
const GRID: RGBColor = RGBColor(1, 2, 1);

/// The stand-in for a name's colour; ink's for any other.
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

/// A picture; `what` describes it to those who cannot see it.
pub fn picture(what: &str, draw: impl FnOnce(&Area<'_>) -> Drawn) -> Result<String, Failure> {
    let mut svg = String::new();
    let drawn = {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        draw(&area).and_then(|()| Ok(area.present()?))
    };
    drawn.map_err(|error| Failure::Run(format!("the report's plots: {error}")))?;
    Ok(themed(&svg, what))
}

/// The picture with names for its colours, as wide as its place.
fn themed(svg: &str, what: &str) -> String {
    let (width, height) = SIZE;
    // Plotters' own first line fixes the size.
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

/// The axes of a plot.
pub struct Axes<'a> {
    /// What they show, with its unit.
    pub x: &'a str,
    pub y: &'a str,
    /// About how many values are written along them, and how.
    pub x_labels: usize,
    pub y_labels: usize,
    pub x_label: &'a dyn Fn(&f64) -> String,
    pub y_label: &'a dyn Fn(&f64) -> String,
}

impl Axes<'_> {
    /// An empty plot between these axes.
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
            // Half of the last label lies beyond the axis.
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

/// What lines mean: the class of each, whether it is dashed, and its name.
pub fn legend<'a>(lines: impl IntoIterator<Item = (&'a str, bool, &'a str)>) -> String {
    let items = lines.into_iter().map(|(class, dashed, name)| {
        let dashed = if dashed { " class=\"dashed\"" } else { "" };
        let key = "<svg viewBox=\"0 0 36 12\" class=\"key\" aria-hidden=\"true\">";
        format!("<span{dashed}>{key}<path d=\"M2 6H34\" style=\"stroke:var(--{class})\"/></svg>{}</span>\n", escape(name))
    });
    format!("<p class=\"legend\">{}</p>\n", items.collect::<String>())
}

/// A value on a logarithmic axis: plain as long as it is short.
pub fn plain(value: &f64) -> String {
    match *value {
        value if value >= 1e4 => format!("{}k", value / 1e3),
        value => format!("{value}"),
    }
}

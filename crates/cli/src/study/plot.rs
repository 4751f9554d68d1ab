//! Lines with bands: the mean over seeds, and one standard deviation on either side.

use super::results::Points;
use crate::failure::Failure;
use crate::report::chart::{Axes, Drawn, below, legend, paint, picture, plain};
use crate::report::figure;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

/// Style classes of the lines, in order.
const CLASSES: [&str; 9] =
    ["line-1", "line-2", "line-3", "line-4", "line-5", "line-6", "line-7", "line-8", "line-9"];

/// Line of a plot.
#[derive(Debug, Clone)]
pub struct Line {
    /// Name in the legend.
    pub name: String,
    /// True if the line is dashed: for training rows, or anything else shown only for comparison.
    pub dashed: bool,
    /// True if its points are marked.
    pub marked: bool,
    /// Points, in order of x.
    pub points: Points,
}

impl Line {
    /// Creates a solid line with marked points.
    pub fn new(name: impl Into<String>, points: Points) -> Self {
        Self { name: name.into(), dashed: false, marked: true, points }
    }

    /// Removes the marks at its points, for a level to compare with.
    pub fn bare(self) -> Self {
        Self { marked: false, ..self }
    }

    /// Creates a dashed line in the color of the solid line before it.
    pub fn dashed(name: impl Into<String>, points: Points) -> Self {
        Self { dashed: true, ..Self::new(name, points) }
    }
}

/// Plot of lines.
#[derive(Debug)]
pub struct Plot<'a> {
    /// Title above the picture.
    pub title: &'a str,
    /// Label of the x axis, with its unit.
    pub x: &'a str,
    /// Label of the y axis, with its unit.
    pub y: &'a str,
    /// True if the x axis is logarithmic.
    pub log: bool,
    /// True if the lines fall from far above the range of interest. The y axis then fits the last
    /// four fifths of the x range, so that the lines can be distinguished there.
    pub falling: bool,
    /// Lines to draw.
    pub lines: Vec<Line>,
}

impl Plot<'_> {
    /// Draws the picture with its title and legend; empty if there are no finite points.
    pub fn draw(&self) -> Result<String, Failure> {
        let points =
            || self.lines.iter().flat_map(|line| &line.points).filter(|(_, y)| y.mean.is_finite());
        let xs = || points().map(|(x, _)| *x);
        let (Some(first), Some(last)) = (xs().reduce(f64::min), xs().reduce(f64::max)) else {
            return Ok(String::new());
        };
        let considered_from = if self.falling { first + 0.2 * (last - first) } else { first };
        let considered = points().filter(|(x, _)| *x >= considered_from);
        let last = if last > first { last } else { first + 1.0 };
        let mut low = f64::INFINITY;
        let mut high = f64::NEG_INFINITY;
        for (_, y) in considered {
            (low, high) = (low.min(y.mean - y.deviation), high.max(y.mean + y.deviation));
        }
        let room = 0.08 * (high - low).max(1e-9);
        let low = if low >= 0.0 && low < 0.5 * high { 0.0 } else { low - room };
        let y = low..high + room;
        let svg = if self.log {
            self.draw_on((first / 1.1..last * 1.1).log_scale(), y)?
        } else {
            self.draw_on(first..last, y)?
        };
        let solid = self.classes().zip(&self.lines).filter(|(_, line)| !line.dashed);
        let solid = solid.map(|(class, line)| (class, false, line.name.as_str()));
        // A dashed line has the color of its solid line, so one entry stands for all dashed lines.
        let dashed = self
            .lines
            .iter()
            .find(|line| line.dashed)
            .map(|line| ("ink", true, line.name.as_str()));
        let keys =
            legend(solid.chain(dashed)).replacen("class=\"legend\"", "class=\"legend inside\"", 1);
        Ok(figure(self.title, &(keys + &svg)))
    }

    /// Returns the style class of each line. A dashed line takes the color of the line before it.
    fn classes(&self) -> impl Iterator<Item = &'static str> {
        self.lines.iter().scan(0usize, |count, line| {
            *count += usize::from(!line.dashed || *count == 0);
            Some(CLASSES[(*count - 1) % CLASSES.len()])
        })
    }

    fn draw_on<X>(&self, x: X, y: std::ops::Range<f64>) -> Result<String, Failure>
    where
        X: AsRangedCoord<Value = f64>,
        X::CoordDescType: ValueFormatter<f64>,
    {
        let low = y.start;
        let high = y.end;
        let digits = (2.0 - (high - low).log10().ceil()).clamp(0.0, 6.0) as i32;
        let rounded =
            |value: &f64| format!("{}", (value * 10f64.powi(digits)).round() / 10f64.powi(digits));
        let x_label = |value: &f64| plain(&((value * 1e3).round() / 1e3));
        let axes = Axes {
            x: self.x,
            y: self.y,
            x_labels: 8,
            y_labels: 6,
            x_label: &x_label,
            y_label: &rounded,
        };
        picture(&format!("{}: {} against {}", self.title, self.y, self.x), |area| -> Drawn {
            let mut chart = axes.frame(area, x, y.clone())?;
            for (class, line) in self.classes().zip(&self.lines) {
                let color = paint(class);
                let points: Vec<_> =
                    line.points.iter().filter(|(_, y)| y.mean.is_finite()).collect();
                if !line.dashed && points.iter().any(|(_, y)| y.deviation > 0.0) {
                    let edge = |side: f64| {
                        points
                            .iter()
                            .map(move |(x, y)| (*x, (y.mean + side * y.deviation).clamp(low, high)))
                    };
                    let band: Vec<_> = edge(1.0).chain(edge(-1.0).rev()).collect();
                    chart.draw_series([Polygon::new(band, color.mix(0.18).filled())])?;
                }
                let mean: Vec<_> = points.iter().map(|(x, y)| (*x, y.mean)).collect();
                let mean = if self.falling { below(&mean, high) } else { mean };
                if line.dashed {
                    chart.draw_series(DashedLineSeries::new(
                        mean,
                        22,
                        16,
                        color.stroke_width(7),
                    ))?;
                } else {
                    chart.draw_series(LineSeries::new(mean.clone(), color.stroke_width(9)))?;
                    // Each point of a line over arms is a run of its own and is marked; a
                    // learning curve has too many points.
                    if line.marked && !self.falling {
                        chart.draw_series(
                            mean.iter().map(|point| Circle::new(*point, 13, color.filled())),
                        )?;
                    }
                }
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::spread::Spread;

    #[test]
    fn a_line_of_one_point_is_drawn() {
        for falling in [false, true] {
            let lines = vec![Line::new("one", vec![(1.0, Spread::of([2.0]))])];
            let plot = Plot { title: "t", x: "x", y: "y", log: false, falling, lines };
            assert!(plot.draw().unwrap().contains("<svg"));
        }
    }
}

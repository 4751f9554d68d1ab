//! Lines with bands: the mean over seeds, and a standard deviation on both sides.

use super::chart::{Axes, Drawn, legend, paint, picture, plain};
use super::{curves, figure};
use crate::failure::Failure;
use crate::study::Points;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

/// The classes of the lines, in order.
const CLASSES: [&str; 9] =
    ["line-1", "line-2", "line-3", "line-4", "line-5", "line-6", "line-7", "line-8", "line-9"];

/// One line.
#[derive(Debug, Clone)]
pub struct Line {
    /// In the legend.
    pub name: String,
    /// Rows that were trained on, or what else is only there to compare with.
    pub dashed: bool,
    /// Whether its points are marked.
    pub marked: bool,
    /// In order.
    pub points: Points,
}

impl Line {
    /// A line as it stands.
    pub fn new(name: impl Into<String>, points: Points) -> Self {
        Self { name: name.into(), dashed: false, marked: true, points }
    }

    /// The same without marks at its points: a level to compare with.
    pub fn bare(self) -> Self {
        Self { marked: false, ..self }
    }

    /// A line in the colour of the line before it, dashed.
    pub fn dashed(name: impl Into<String>, points: Points) -> Self {
        Self { dashed: true, ..Self::new(name, points) }
    }
}

/// A picture of lines.
#[derive(Debug)]
pub struct Plot<'a> {
    /// Above it.
    pub title: &'a str,
    /// The axes, with units.
    pub x: &'a str,
    pub y: &'a str,
    /// Whether x is logarithmic.
    pub log: bool,
    /// Whether the lines fall from far above what matters: then the axis ends where the rest can
    /// be told apart.
    pub falling: bool,
    /// What is drawn.
    pub lines: Vec<Line>,
}

impl Plot<'_> {
    /// The picture with its title and legend; nothing where there is no point.
    pub fn draw(&self) -> Result<String, Failure> {
        let points =
            || self.lines.iter().flat_map(|line| &line.points).filter(|(_, y)| y.mean.is_finite());
        let xs = || points().map(|(x, _)| *x);
        let (Some(first), Some(last)) = (xs().reduce(f64::min), xs().reduce(f64::max)) else {
            return Ok(String::new());
        };
        let last = if last > first { last } else { first + 1.0 };
        let considered =
            points().filter(|(x, _)| !self.falling || *x >= first + 0.2 * (last - first));
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for (_, y) in considered {
            (low, high) = (low.min(y.mean - y.deviation), high.max(y.mean + y.deviation));
        }
        let room = 0.08 * (high - low).max(1e-9);
        let low = if low >= 0.0 && low < 0.5 * high { 0.0 } else { low - room };
        let y = low..high + room;
        let svg = match self.log {
            true => self.draw_on((first / 1.1..last * 1.1).log_scale(), y)?,
            false => self.draw_on(first..last, y)?,
        };
        let solid = self.classes().zip(&self.lines).filter(|(_, line)| !line.dashed);
        let solid = solid.map(|(class, line)| (class, false, line.name.as_str()));
        // Dashed lines have the colours of the solid ones, and mean the same by it.
        let dashed = self
            .lines
            .iter()
            .find(|line| line.dashed)
            .map(|line| ("ink", true, line.name.as_str()));
        let keys =
            legend(solid.chain(dashed)).replacen("class=\"legend\"", "class=\"legend inside\"", 1);
        Ok(figure(self.title, &(keys + &svg)))
    }

    /// A dashed line takes the colour of the one before it.
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
        let (low, high) = (y.start, y.end);
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
                let mean = if self.falling { curves::below(&mean, high) } else { mean };
                match line.dashed {
                    true => drop(chart.draw_series(DashedLineSeries::new(
                        mean,
                        22,
                        16,
                        color.stroke_width(7),
                    ))?),
                    false => {
                        chart.draw_series(LineSeries::new(mean.clone(), color.stroke_width(9)))?;
                        // Every point of a short line was run; a curve has too many to mark.
                        if line.marked && !self.falling {
                            chart.draw_series(
                                mean.iter().map(|point| Circle::new(*point, 13, color.filled())),
                            )?;
                        }
                    }
                }
            }
            Ok(())
        })
    }
}

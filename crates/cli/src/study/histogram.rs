//! Histograms: counts of values in equal bins of a range that starts at 0.

use crate::failure::Failure;
use crate::report::chart::{Axes, Drawn, legend, paint, picture, plain};
use crate::report::figure;
use plotters::prelude::*;

/// Style classes of the groups and, after them, of the marks.
const CLASSES: [&str; 6] = ["line-2", "line-1", "line-3", "line-4", "line-5", "line-6"];

/// Histogram with marks at single values.
#[derive(Debug)]
pub struct Histogram<'a> {
    /// Title above the picture.
    pub title: &'a str,
    /// Label of the x axis, with its unit.
    pub x: &'a str,
    /// Label of the y axis, with its unit.
    pub y: &'a str,
    /// End of the range of values, which starts at 0.
    pub end: f64,
    /// Counts in equal bins of the range, with the name of each group; groups are drawn over one
    /// another.
    pub groups: Vec<(String, Vec<f64>)>,
    /// Single values to mark, with their names.
    pub marks: Vec<(String, f64)>,
}

impl Histogram<'_> {
    /// Draws the picture with its title and legend; empty if all counts are 0.
    pub fn draw(&self) -> Result<String, Failure> {
        let most = self.groups.iter().flat_map(|(_, counts)| counts).copied().fold(0.0, f64::max);
        if most == 0.0 {
            return Ok(String::new());
        }
        let label = |value: &f64| plain(&((value * 1e3).round() / 1e3));
        let axes = Axes {
            x: self.x,
            y: self.y,
            x_labels: 6,
            y_labels: 5,
            x_label: &label,
            y_label: &label,
        };
        let svg = picture(&format!("{}: {} by {}", self.title, self.y, self.x), |area| -> Drawn {
            let mut chart = axes.frame(area, 0.0..self.end, 0.0..1.08 * most)?;
            for (class, (_, counts)) in CLASSES.iter().zip(&self.groups) {
                let width = self.end / counts.len() as f64;
                let bar = |(i, &count): (usize, &f64)| {
                    let left = i as f64 * width;
                    Rectangle::new(
                        [(left, 0.0), (left + width, count)],
                        paint(class).mix(0.55).filled(),
                    )
                };
                chart.draw_series(counts.iter().enumerate().map(bar))?;
            }
            for (class, (_, value)) in CLASSES.iter().skip(self.groups.len()).zip(&self.marks) {
                chart.draw_series([PathElement::new(
                    [(*value, 0.0), (*value, 1.08 * most)],
                    paint(class).stroke_width(8),
                )])?;
            }
            Ok(())
        })?;
        let names =
            self.groups.iter().map(|(name, _)| name).chain(self.marks.iter().map(|(name, _)| name));
        let keys =
            legend(CLASSES.iter().zip(names).map(|(class, name)| (*class, false, name.as_str())));
        Ok(figure(
            self.title,
            &(keys.replacen("class=\"legend\"", "class=\"legend inside\"", 1) + &svg),
        ))
    }
}

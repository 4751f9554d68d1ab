//! Curves of loss and error against the epoch.

use super::compare::{MODES, Run, called};
use crate::failure::Failure;
use crate::report::chart::{self, Axes, Drawn, below, paint, picture};
use crate::train::session::Report;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

/// Function that takes a value, of training or test rows, from an epoch's report.
type Value = fn(&Report) -> f64;

/// Draws the loss on training and test rows, on a logarithmic axis.
pub fn loss(runs: &[&Run]) -> Result<String, Failure> {
    let values: [Value; 2] = [|report| report.train.loss, |report| report.test.loss];
    let (low, high) = extent(runs, &values, 0);
    // A logarithmic axis has no 0.
    let axis = (low.max(1e-6) / 1.2..high.max(1e-5) * 1.2).log_scale();
    draw(runs, &values, axis, "loss (nats)", &|value| format!("{value}"))
}

/// Draws the error on training and test rows. The first epochs' errors lie far above all later
/// ones, so the axis fits the epochs after the first fifth.
pub fn error(runs: &[&Run]) -> Result<String, Failure> {
    let values: [Value; 2] = [|report| report.train.error, |report| report.test.error];
    let epochs = runs.iter().map(|run| run.reports.len()).max().unwrap_or(0);
    let (_, high) = extent(runs, &values, epochs / 5);
    draw(runs, &values, 0.0..high.max(1.0) * 1.1, "error (%)", &|value| format!("{value}"))
}

/// Returns the lowest and the highest value after the first `after` epochs.
fn extent(runs: &[&Run], values: &[Value], after: usize) -> (f64, f64) {
    let reports = runs.iter().flat_map(|run| run.reports.iter().skip(after));
    let all = reports.flat_map(|report| values.iter().map(move |value| value(report)));
    all.fold((f64::INFINITY, 0.0), |(low, high): (f64, f64), value| {
        (low.min(value), high.max(value))
    })
}

fn draw<Y>(
    runs: &[&Run],
    [train, test]: &[Value; 2],
    axis: Y,
    unit: &str,
    tick: &dyn Fn(&f64) -> String,
) -> Result<String, Failure>
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let epochs = runs.iter().map(|run| run.reports.len()).max().unwrap_or(0).max(2);
    let axes = Axes {
        x: "epoch",
        y: unit,
        x_labels: epochs.min(10),
        y_labels: 6,
        x_label: &|epoch| format!("{epoch:.0}"),
        y_label: tick,
    };
    picture(&format!("{unit} against epoch"), |area| -> Drawn {
        let mut chart = axes.frame(area, 1.0..epochs as f64, axis)?;
        let high = chart.y_range().end;
        for run in runs {
            let color = paint(&run.mode.to_string());
            let points = |value: Value| {
                let points: Vec<_> = run
                    .reports
                    .iter()
                    .map(|report| (f64::from(report.epoch), value(report)))
                    .collect();
                below(&points, high)
            };
            chart.draw_series(DashedLineSeries::new(
                points(*train),
                22,
                16,
                color.stroke_width(7),
            ))?;
            chart.draw_series(LineSeries::new(points(*test), color.stroke_width(9)))?;
        }
        Ok(())
    })
}

/// Returns the legend for all pictures.
pub fn legend() -> String {
    let modes = MODES.map(|mode| (mode.to_string(), called(mode)));
    let modes = modes.iter().map(|(class, name)| (class.as_str(), false, *name));
    chart::legend(modes.chain([("ink", false, "test"), ("ink", true, "train")]))
}

//! Throughput as bars, each in front of its ceiling.

use super::row::Row;

/// Width of a picture, in units of its view box.
const WIDTH: f64 = 440.0;
/// Height of a bar and the line of text above it.
const STEP: f64 = 50.0;

/// Draws a bar for each row of the given kernels, which come with the names to show. `speed` gives
/// the bar's length; the pale bar behind it is the ceiling's.
pub fn draw(rows: &[Row], kernels: &[(&str, &str)], speed: fn(&Row) -> f64) -> String {
    let named = |row: &Row| {
        kernels.iter().find(|(kernel, _)| *kernel == row.entry.kernel).map(|(_, name)| *name)
    };
    let shown: Vec<(&Row, &str)> = rows.iter().filter_map(|row| Some((row, named(row)?))).collect();
    let most = shown
        .iter()
        .map(|(row, _)| speed(row).max(speed(row) / row.ratio()))
        .fold(f64::MIN_POSITIVE, f64::max);
    let bars = shown.iter().enumerate().map(|(i, (row, name))| {
        let top = STEP * i as f64;
        let value = speed(row);
        let text = top + 15.0;
        let bar = top + 22.0;
        let kind = row.place.kind;
        let rect = |class: &str, speed: f64| {
            let width = (WIDTH * speed / most).max(1.0);
            format!(
                "<rect x=\"0\" y=\"{bar}\" width=\"{width:.1}\" height=\"16\" class=\"{class}\"/>\n"
            )
        };
        let words = format!(
            "<text x=\"0\" y=\"{text}\">{kind} {name}</text>\n\
             <text x=\"{WIDTH}\" y=\"{text}\" text-anchor=\"end\">{value:.2}{}{}</text>\n",
            if row.is_ceiling() { "" } else { ", " },
            row.of_ceiling()
        );
        words + &rect("ceiling", value / row.ratio()) + &rect(&kind.to_lowercase(), value)
    });
    let bars = bars.collect::<String>();
    let height = STEP * shown.len() as f64;
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"throughput\" class=\"bars\">\n{bars}</svg>\n"
    )
}

//! A figure over seeds: mean and standard deviation.

/// Mean and standard deviation of values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// Mean; NaN if there are no values.
    pub mean: f64,
    /// Sample standard deviation, with divisor `count − 1`; 0 for a single value.
    pub deviation: f64,
    /// Number of values.
    pub count: usize,
}

impl Spread {
    /// Computes the spread of values.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.into_iter().collect();
        let count = values.len();
        let mean = values.iter().sum::<f64>() / count as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = if count > 1 { (squares / (count - 1) as f64).sqrt() } else { 0.0 };
        Self { mean, deviation, count }
    }

    /// Returns the standard error of the mean.
    pub fn standard_error(&self) -> f64 {
        self.deviation / (self.count.max(1) as f64).sqrt()
    }

    /// Formats mean and deviation with `digits` digits after the point, such as `1.25 ± 0.04`. With
    /// 0 digits, formats the mean in scientific notation, such as `2.4e-8`.
    pub fn shown(&self, digits: usize) -> String {
        match self.count {
            // The figure was not measured, or the training diverged.
            _ if self.mean.is_nan() => "–".to_owned(),
            _ if digits == 0 => format!("{:.1e}", self.mean),
            1 => format!("{:.digits$}", self.mean),
            _ => format!("{:.digits$} ± {:.digits$}", self.mean, self.deviation),
        }
    }
}

/// Formats a number to three decimals, or in scientific notation if it is tiny or huge.
pub fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if (0.01..1000.0).contains(&size) => format!("{}", (value * 1000.0).round() / 1000.0),
        _ => format!("{value:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deviations_are_those_of_a_sample() {
        let spread = Spread::of([1.0, 2.0, 3.0, 6.0]);
        assert_eq!((spread.mean, spread.count), (3.0, 4));
        assert!((spread.deviation - (14.0f64 / 3.0).sqrt()).abs() < 1e-12);
        assert!((spread.standard_error() - spread.deviation / 2.0).abs() < 1e-12);
        assert_eq!(spread.shown(1), "3.0 ± 2.2");
        assert_eq!(Spread::of([2.5]).shown(2), "2.50");
        assert_eq!(Spread::of([3e-8, 1e-8]).shown(0), "2.0e-8");
        assert_eq!(Spread::of([f64::NAN, 1.0]).shown(2), "–");
        let none = Spread::of([]);
        assert!(none.mean.is_nan() && none.count == 0);
    }
}

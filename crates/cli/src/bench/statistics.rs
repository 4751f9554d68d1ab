//! Medians and quartiles: summaries of repeated measurements that resist disturbances.

/// The three quartiles of some measurements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quartiles {
    /// A quarter of the measurements lies below.
    pub low: f64,
    /// Half of the measurements lie below.
    pub median: f64,
    /// Three quarters of the measurements lie below.
    pub high: f64,
}

impl Quartiles {
    /// Computes the quartiles of values in any order, with linear interpolation between neighbors
    /// (Hyndman and Fan 1996, definition 7, NumPy's default); NaN if there are no values.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        Self {
            low: quantile(&sorted, 0.25),
            median: quantile(&sorted, 0.5),
            high: quantile(&sorted, 0.75),
        }
    }

    /// Returns the interquartile range as a fraction of the median.
    pub fn spread(&self) -> f64 {
        (self.high - self.low) / self.median
    }

    /// Returns the quartiles of the measurements after a monotonically increasing function.
    pub fn map(self, rising: impl Fn(f64) -> f64) -> Self {
        Self { low: rising(self.low), median: rising(self.median), high: rising(self.high) }
    }
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * sorted.len().saturating_sub(1) as f64;
    let at = |place: f64| sorted.get(place as usize).copied().unwrap_or(f64::NAN);
    let (low, high) = (at(place.floor()), at(place.ceil()));
    low + (high - low) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::Quartiles;

    #[test]
    fn quartiles_are_those_that_a_hand_computes() {
        assert_eq!(
            Quartiles::of([4.0, 1.0, 3.0, 2.0]),
            Quartiles { low: 1.75, median: 2.5, high: 3.25 }
        );
        assert_eq!(
            Quartiles::of([50.0, 10.0, 40.0, 20.0, 30.0]),
            Quartiles { low: 20.0, median: 30.0, high: 40.0 }
        );
        assert_eq!(Quartiles::of([7.0]), Quartiles { low: 7.0, median: 7.0, high: 7.0 });
        // One disturbed measurement of seven moves no quartile.
        assert_eq!(
            Quartiles::of([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 1e9]),
            Quartiles { low: 2.5, median: 4.0, high: 5.5 }
        );
        assert!(Quartiles::of([]).median.is_nan());
    }

    #[test]
    fn the_spread_is_the_interquartile_range_over_the_median() {
        assert_eq!(Quartiles::of([4.0, 1.0, 3.0, 2.0]).spread(), 0.6);
        assert_eq!(
            Quartiles::of([4.0, 1.0, 3.0, 2.0]).map(|value| 100.0 * (value - 1.0)).high,
            225.0
        );
    }
}

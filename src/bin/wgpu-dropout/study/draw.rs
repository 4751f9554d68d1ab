//! Smaller training sets.

use wgpu_dropout::data::{Samples, Values};
use wgpu_dropout::init;

/// The shuffle that draws the rows: no training gets to this epoch.
const DRAW: u32 = u32::MAX;

/// So many rows, drawn by a seed; all of them in their own order where that is how many there are.
pub fn drawn(samples: &Samples, rows: usize, seed: u64) -> Samples {
    if rows >= samples.rows {
        return samples.clone();
    }
    let order = init::shuffle(seed, DRAW, samples.rows as u32);
    let chosen = || order[..rows].iter().map(|&row| row as usize);
    let cols = samples.cols;
    let values = match &samples.values {
        Values::Bytes(all) => Values::Bytes(chosen().flat_map(|row| &all[row * cols..][..cols]).copied().collect()),
        Values::Floats(all) => Values::Floats(chosen().flat_map(|row| &all[row * cols..][..cols]).copied().collect()),
    };
    Samples { values, rows, labels: chosen().map(|row| samples.labels[row]).collect(), ..*samples }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wgpu_dropout::data::DataSet;

    #[test]
    fn rows_are_drawn_by_the_seed_without_repetition() {
        let data = DataSet::digits().unwrap().train;
        let (a, b) = (drawn(&data, 100, 1), drawn(&data, 100, 2));
        assert_eq!((a.rows, a.labels.len(), a.values.len()), (100, 100, 6400));
        assert_ne!(a, b);
        assert_eq!(drawn(&data, 100, 1), a);
        assert_eq!(drawn(&data, 5000, 1), data);
        // A larger draw begins with the smaller one.
        assert_eq!(drawn(&data, 200, 1).labels[..100], a.labels);
    }
}

//! Selection of the training rows: smaller training sets, and small data sets divided anew.

use wgpu_dropout::data::{DataSet, Samples, Values};
use wgpu_dropout::init;

/// Epoch number of the shuffle that draws the rows. No training reaches it.
const DRAW: u32 = u32::MAX;

/// Number of test rows at which one row is a tenth of a point of error.
const ENOUGH: usize = 1000;

/// Returns `rows` rows drawn by a seed, or all of them in their own order if there are no more.
pub fn drawn(samples: &Samples, rows: usize, seed: u64) -> Samples {
    if rows < samples.rows {
        chosen(samples, &init::shuffle(seed, DRAW, samples.rows as u32)[..rows])
    } else {
        samples.clone()
    }
}

/// Divides a data set anew if it has so few test rows that errors differ by chance alone. A quarter
/// of all its rows, always the same ones, is for training; the others are for testing. Returns
/// `None` if there are enough test rows, if there are fewer than four rows in all, or if the two
/// sets cannot be joined.
pub fn divided(data: &DataSet) -> Option<DataSet> {
    let all =
        joined(&data.train, &data.test).filter(|all| data.test.rows < ENOUGH && all.rows >= 4)?;
    let order = init::shuffle(0, DRAW, all.rows as u32);
    let (few, others) = order.split_at(all.rows / 4);
    Some(DataSet { train: chosen(&all, few), test: chosen(&all, others), ..data.clone() })
}

/// Concatenates the rows of both; `None` if their values differ in type or unit.
fn joined(train: &Samples, test: &Samples) -> Option<Samples> {
    let values = match (&train.values, &test.values) {
        (Values::Bytes(a), Values::Bytes(b)) => Values::Bytes([&a[..], b].concat()),
        (Values::Floats(a), Values::Floats(b)) => Values::Floats([&a[..], b].concat()),
        _ => return None,
    };
    let labels = [&train.labels[..], &test.labels].concat();
    (train.unit == test.unit).then_some(Samples { values, rows: labels.len(), labels, ..*train })
}

fn chosen(samples: &Samples, rows: &[u32]) -> Samples {
    let rows = || rows.iter().map(|&row| row as usize);
    let cols = samples.cols;
    let values = match &samples.values {
        Values::Bytes(all) => {
            Values::Bytes(rows().flat_map(|row| &all[row * cols..][..cols]).copied().collect())
        }
        Values::Floats(all) => {
            Values::Floats(rows().flat_map(|row| &all[row * cols..][..cols]).copied().collect())
        }
    };
    let labels: Vec<u32> = rows().map(|row| samples.labels[row]).collect();
    Samples { values, rows: labels.len(), labels, ..*samples }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_drawn_by_the_seed_without_repetition() {
        let data = DataSet::digits().unwrap().train;
        let a = drawn(&data, 100, 1);
        let b = drawn(&data, 100, 2);
        assert_eq!((a.rows, a.labels.len(), a.values.len()), (100, 100, 6400));
        assert_ne!(a, b);
        assert_eq!(drawn(&data, 100, 1), a);
        assert_eq!(drawn(&data, 5000, 1), data);
        // A larger draw begins with the smaller one.
        assert_eq!(drawn(&data, 200, 1).labels[..100], a.labels);
    }

    #[test]
    fn few_rows_are_divided_anew_and_none_is_lost() {
        let digits = DataSet::digits().unwrap();
        let data = divided(&digits).unwrap();
        assert_eq!((data.train.rows, data.test.rows), (449, 1348));
        let rows = |data: &DataSet| {
            let of = |samples: &Samples| {
                let features = samples.features_f32();
                let row = |row: usize| {
                    (
                        samples.labels[row],
                        features[row * 64..][..64].iter().map(|f| f.to_bits()).collect(),
                    )
                };
                (0..samples.rows).map(row).collect::<Vec<(u32, Vec<u32>)>>()
            };
            let mut rows = [of(&data.train), of(&data.test)].concat();
            rows.sort();
            rows
        };
        assert_eq!(rows(&data), rows(&digits));
        let enough = DataSet { test: Samples { rows: ENOUGH, ..digits.test.clone() }, ..digits };
        assert_eq!(divided(&enough), None);
    }
}

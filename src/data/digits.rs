//! The compiled-in digits: 1,797 handwritten images of 8×8 pixels, with values from 0 to 16.

use std::path::Path;

use super::{DataSet, Samples, Values, csv};
use crate::Result;

static PACKED: &[u8] = include_bytes!("../../data/digits.csv.gz");

pub(super) fn open() -> Result<DataSet> {
    let path = Path::new("digits");
    let [train, test] = csv::read(path, PACKED)?.map(|samples| Samples {
        values: match samples.values {
            Values::Floats(values) => Values::Bytes(values.into_iter().map(|v| v as u8).collect()),
            bytes => bytes,
        },
        unit: 1.0 / 16.0,
        ..samples
    });
    DataSet::new(path, train, test)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fifth_row_is_a_test_row() {
        let digits = open().unwrap();
        assert_eq!((digits.name.as_str(), digits.classes), ("digits", 10));
        assert_eq!((digits.train.rows, digits.train.cols), (1438, 64));
        assert_eq!((digits.test.rows, digits.test.cols), (359, 64));
        assert_eq!(
            digits.train.labels[..8],
            [0, 1, 2, 3, 5, 6, 7, 8],
            "the fifth row, a 4, is a test row"
        );
        assert_eq!(digits.test.labels[..2], [4, 9]);
    }

    #[test]
    fn pixels_are_bytes_and_features_lie_between_0_and_1() {
        let digits = open().unwrap();
        let Values::Bytes(pixels) = &digits.train.values else { panic!("not bytes") };
        assert_eq!(pixels[..10], [0, 0, 5, 13, 9, 1, 0, 0, 0, 0]);
        assert_eq!(pixels.iter().max(), Some(&16));
        let features = digits.train.features_f32();
        assert_eq!(features[..4], [0.0, 0.0, 0.3125, 0.8125]);
        assert!(features.iter().all(|f| (0.0..=1.0).contains(f)));
    }
}

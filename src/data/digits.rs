//! The compiled-in digits: 1,797 handwritten images of 8×8 pixels, with values from 0 to 16.

use super::{DataSet, Samples, Values};
use crate::{Error, Result, Unit};
use flate2::bufread::GzDecoder;
use std::io::Read;
use std::path::Path;

static PACKED: &[u8] = include_bytes!("../../data/digits.csv.gz");

/// Name of the choice of the test rows.
pub(super) const SPLIT: &str = "bundled";

/// Number of pixels of an image.
const PIXELS: usize = 64;

/// Returns true for a test row: every fifth one, because the file is ordered by writer.
pub(super) fn is_test_row(row: usize) -> bool {
    row % 5 == 4
}

/// Reads the bundled rows.
pub(super) fn open() -> Result<DataSet> {
    let path = Path::new("digits");
    let unusable = |what: String| Error::Data { path: "digits".to_owned(), what };
    let mut text = String::new();
    GzDecoder::new(PACKED)
        .read_to_string(&mut text)
        .map_err(|error| unusable(error.to_string()))?;
    let mut parts: [(Vec<u8>, Vec<u32>); 2] = Default::default();
    for (row, line) in text.lines().enumerate() {
        let (pixels, labels) = &mut parts[usize::from(is_test_row(row))];
        let numbers: Option<Vec<u8>> = line.split(',').map(|number| number.parse().ok()).collect();
        match numbers.as_deref().and_then(<[u8]>::split_last) {
            Some((&label, row)) if row.len() == PIXELS => {
                pixels.extend(row);
                labels.push(u32::from(label));
            }
            _ => return Err(unusable(format!("row {row} is not 64 pixels and a digit"))),
        }
    }
    let [train, test] = parts.map(|(pixels, labels)| Samples {
        rows: labels.len(),
        values: Values::Bytes(pixels),
        unit: Unit::Sixteenth,
        cols: PIXELS,
        labels,
    });
    DataSet::new(path, SPLIT, train, test)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fifth_row_is_a_test_row() {
        let digits = open().unwrap();
        assert_eq!((digits.name.as_str(), digits.classes.len()), ("digits", 10));
        assert_eq!((digits.train.rows, digits.train.cols), (1438, 64));
        assert_eq!((digits.test.rows, digits.test.cols), (359, 64));
        assert_eq!(
            digits.train.labels[..8],
            [0, 1, 2, 3, 5, 6, 7, 8],
            "the fifth row, a 4, is a test row"
        );
        assert_eq!(digits.test.labels[..2], [4, 9]);
        let all = digits.all();
        assert_eq!(
            (all.rows, &all.labels[..12]),
            (1797, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1][..])
        );
        assert_eq!(all.features_f32()[4 * 64..5 * 64], digits.test.features_f32()[..64]);
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

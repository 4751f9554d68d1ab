//! Data sets: rows of features, each with a class, split into training and test rows.
//!
//! The bundled digits are compiled in. The command line's package, `wgpu-dropout-cli`, reads
//! folders of IDX files and CSV files.

mod digits;

use crate::{Error, Result, Unit};
use std::path::Path;

/// Largest class that a label may name. It is far beyond any real data set, yet small enough that a
/// misread column is noticed before a network with that many outputs is created.
pub const MAX_LABEL: u32 = 65_535;

/// Features as their file holds them, row-major. Bytes stay bytes until a batch is gathered.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Bytes, as in IDX files and in the digits.
    Bytes(Vec<u8>),
    /// Finite floats, as in CSV files.
    Floats(Vec<f32>),
}

impl Values {
    /// Returns the number of values.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(values) => values.len(),
            Self::Floats(values) => values.len(),
        }
    }

    /// Returns true if there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the values as floats.
    fn floats(&self) -> Vec<f32> {
        match self {
            Self::Bytes(values) => values.iter().map(|&value| f32::from(value)).collect(),
            Self::Floats(values) => values.clone(),
        }
    }
}

/// One of a data set's two parts: a matrix of features and a label for each row.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples {
    /// Features, `rows × cols`.
    pub values: Values,
    /// Factor that turns a value into a feature.
    pub unit: Unit,
    /// Number of samples.
    pub rows: usize,
    /// Number of features per sample.
    pub cols: usize,
    /// Class of each row, counted from 0.
    pub labels: Vec<u32>,
}

impl Samples {
    /// Returns true if there are no samples.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Returns the features as the network sees them: every value times [`unit`](Self::unit).
    pub fn features_f32(&self) -> Vec<f32> {
        let unit = self.unit.factor();
        let mut features = self.values.floats();
        features.iter_mut().for_each(|value| *value *= unit);
        features
    }
}

/// Training samples and test samples of one problem.
#[derive(Debug, Clone, PartialEq)]
pub struct DataSet {
    /// `digits`, or the name of the folder or file.
    pub name: String,
    /// Samples to train on.
    pub train: Samples,
    /// Samples to test with.
    pub test: Samples,
    /// Name of each class, in the order of the labels: `0`, `1`, … unless the file names its
    /// classes.
    pub classes: Vec<String>,
    /// How the test rows were chosen, as a saved network tells it, for example `bundled`.
    pub split: String,
}

impl DataSet {
    /// Returns the bundled digits: 1,438 training and 359 test images of 8×8 pixels.
    ///
    /// # Errors
    /// None: the data is part of the library.
    pub fn digits() -> Result<Self> {
        digits::open()
    }

    /// Joins two parts whose rows a reader has checked, with classes named after their numbers.
    /// `path` is for errors; its last part is the data set's name. `split` is how the test rows
    /// were chosen.
    ///
    /// # Errors
    /// [`Error::Data`] for a part without rows or features, or parts with different features.
    pub fn new(path: &Path, split: &str, train: Samples, test: Samples) -> Result<Self> {
        let refuse = |what: String| Err(Error::Data { path: path.display().to_string(), what });
        for (part, samples) in [("training", &train), ("test", &test)] {
            if samples.is_empty() {
                return refuse(format!("the {part} set has no rows: at least 1 is needed"));
            }
            if samples.cols == 0 {
                return refuse(format!("the {part} set has no features: at least 1 is needed"));
            }
        }
        if train.cols != test.cols {
            return refuse(format!(
                "{} features in the training set, {} in the test set",
                train.cols, test.cols
            ));
        }
        let largest = train.labels.iter().chain(&test.labels).max().copied().unwrap_or(0);
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Ok(Self {
            name,
            train,
            test,
            classes: numbers(largest as usize + 1),
            split: split.to_owned(),
        })
    }

    /// Returns the rows of both parts: those of the digits in the order of their file, those of
    /// other sets with the test rows at the end.
    pub fn all(&self) -> Samples {
        let Self { train, test, .. } = self;
        let bundled = self.split == digits::SPLIT;
        let is_test = |row| bundled && digits::is_test_row(row);
        let values = match (&train.values, &test.values) {
            (Values::Bytes(one), Values::Bytes(other)) => {
                Values::Bytes(merged([one, other], train.cols, is_test))
            }
            (one, other) => {
                Values::Floats(merged([&one.floats(), &other.floats()], train.cols, is_test))
            }
        };
        Samples {
            values,
            unit: train.unit,
            rows: train.rows + test.rows,
            cols: train.cols,
            labels: merged([&train.labels, &test.labels], 1, is_test),
        }
    }
}

/// Merges rows of `width` elements: row by row, the next of the second part if `is_second`, else
/// the next of the first. When a part ends, the rest of the other follows.
fn merged<T: Copy>(parts: [&[T]; 2], width: usize, is_second: impl Fn(usize) -> bool) -> Vec<T> {
    let [mut first, mut second] = parts.map(|part| part.chunks(width.max(1)));
    let mut all = Vec::with_capacity(parts[0].len() + parts[1].len());
    for row in 0.. {
        let next = if is_second(row) { second.next() } else { first.next() };
        match next.or_else(|| first.next()).or_else(|| second.next()) {
            Some(row) => all.extend_from_slice(row),
            None => break,
        }
    }
    all
}

/// Returns the names of classes that have none: their numbers, from 0.
pub fn numbers(classes: usize) -> Vec<String> {
    (0..classes).map(|class| class.to_string()).collect()
}

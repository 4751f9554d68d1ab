//! Data sets: rows of features, each with a class, split into training and test rows.
//!
//! `digits` is compiled in; a folder of IDX files ([MNIST's format](https://yann.lecun.com/exdb/mnist/)) and a CSV file are
//! read from disk, plain or packed by gzip. Every reader checks a file against what it claims
//! before it is believed: what cannot be used is an [`Error::Data`] that names the place.

mod csv;
mod digits;
mod idx;

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::{Error, Result, file};

/// The largest class that a label may name: far beyond any real data set, small enough that a
/// misread column is noticed before a network with as many outputs is made.
pub const MAX_LABEL: u32 = 65_535;

/// Features as their file holds them, row-major: a byte stays a byte until a batch is gathered.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Bytes, as in IDX files and in the digits.
    Bytes(Vec<u8>),
    /// Finite floats, as in CSV files.
    Floats(Vec<f32>),
}

impl Values {
    /// The number of values.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(values) => values.len(),
            Self::Floats(values) => values.len(),
        }
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One of a data set's two parts: a matrix of features and a label for each row.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples {
    /// The features, `rows × cols`.
    pub values: Values,
    /// What a value is multiplied by to become a feature.
    pub unit: f32,
    /// The number of samples.
    pub rows: usize,
    /// The number of features of a sample.
    pub cols: usize,
    /// The class of each row, counted from 0.
    pub labels: Vec<u32>,
}

impl Samples {
    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The features as the network sees them: every value times [`unit`](Self::unit).
    pub fn features_f32(&self) -> Vec<f32> {
        match &self.values {
            Values::Bytes(values) => values.iter().map(|&v| f32::from(v) * self.unit).collect(),
            Values::Floats(values) => values.iter().map(|&v| v * self.unit).collect(),
        }
    }
}

/// Samples to train on, samples to test with, and what they have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct DataSet {
    /// `digits`, or the name of the folder or file.
    pub name: String,
    /// What a network is trained on.
    pub train: Samples,
    /// What it is tested with.
    pub test: Samples,
    /// One more than the largest label of both.
    pub classes: usize,
}

impl DataSet {
    /// The bundled digits: 1,438 training and 359 test images of 8×8 pixels.
    ///
    /// # Errors
    /// None in a library as it was built.
    pub fn digits() -> Result<Self> {
        digits::open()
    }

    /// Opens `digits`, a folder of IDX files, or a `.csv` or `.csv.gz` file. A folder that is
    /// itself called `digits` is `./digits`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a source of another kind, [`Error::File`] for one that cannot be
    /// opened, and [`Error::Data`] for contents that cannot be used: truncated or corrupt
    /// files, ragged rows, features that are not finite, labels that are not classes, a part of
    /// no rows or no features.
    pub fn open(source: &str) -> Result<Self> {
        let path = Path::new(source);
        let lower = source.to_ascii_lowercase();
        if source == "digits" {
            digits::open()
        } else if path.is_dir() {
            idx::open(path)
        } else if lower.ends_with(".csv") || lower.ends_with(".csv.gz") {
            csv::open(path)
        } else if path.exists() {
            Err(Error::invalid(format!(
                "data `{source}`: expected `digits`, a folder of IDX files, or a .csv or .csv.gz file"
            )))
        } else {
            let what =
                "not found; data is `digits`, a folder of IDX files, or a .csv or .csv.gz file";
            Err(Error::File { path: source.to_owned(), what: what.to_owned() })
        }
    }

    /// Joins two parts whose rows a reader has checked.
    fn new(path: &Path, train: Samples, test: Samples) -> Result<Self> {
        let refuse = |what: String| Err(file::refused(path.display(), what));
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
        Ok(Self { name, train, test, classes: largest as usize + 1 })
    }
}

/// What `input` holds, unpacked where it starts as gzip does.
fn unpacked<'a>(input: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut input = BufReader::new(input);
    let packed = input.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    Ok(if packed { Box::new(MultiGzDecoder::new(input)) } else { Box::new(input) })
}

/// What the system, or the unpacking of a gzip stream, said while a file was read.
fn unreadable(path: &Path, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            file::refused(path.display(), "truncated: its gzip stream ends too early")
        }
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            file::refused(path.display(), format!("corrupt gzip stream: {error}"))
        }
        _ => file::failed(path, error),
    }
}

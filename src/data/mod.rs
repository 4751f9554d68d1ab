//! Data sets: rows of features, each with a class, split into training and test rows.
//!
//! `digits` is compiled in. Folders of IDX files ([MNIST's
//! format](https://yann.lecun.com/exdb/mnist/)) and CSV files are read from disk, plain or packed
//! by gzip. Every reader checks a file against its own claims before it relies on them. Unusable
//! contents are an [`Error::Data`] that names the place.

mod csv;
mod digits;
mod idx;

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::{Error, Result, file};

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
}

/// One of a data set's two parts: a matrix of features and a label for each row.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples {
    /// Features, `rows × cols`.
    pub values: Values,
    /// Factor that turns a value into a feature.
    pub unit: f32,
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
        match &self.values {
            Values::Bytes(values) => values.iter().map(|&v| f32::from(v) * self.unit).collect(),
            Values::Floats(values) => values.iter().map(|&v| v * self.unit).collect(),
        }
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
    /// One more than the largest label of both parts.
    pub classes: usize,
}

impl DataSet {
    /// Returns the bundled digits: 1,438 training and 359 test images of 8×8 pixels.
    ///
    /// # Errors
    /// None: the data is part of the library.
    pub fn digits() -> Result<Self> {
        digits::open()
    }

    /// Opens `digits`, a folder of IDX files, or a `.csv` or `.csv.gz` file. A folder that is
    /// itself called `digits` must be given as `./digits`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for another kind of source; [`Error::File`] for one that cannot be
    /// opened; [`Error::Data`] for unusable contents: truncated or corrupt files, ragged rows,
    /// features that are not finite, labels that are not classes, a part without rows or features.
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

/// Returns the contents of `input`, unpacked if they start as gzip does.
fn unpacked<'a>(input: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut input = BufReader::new(input);
    let packed = input.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    Ok(if packed { Box::new(MultiGzDecoder::new(input)) } else { Box::new(input) })
}

/// Returns the error for a failed read, or for a failed unpacking of a gzip stream.
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

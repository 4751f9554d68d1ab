//! Readers of data sets: folders of IDX files and CSV files, plain or packed by gzip.
//!
//! Every reader checks a file against its own claims before it relies on them. Unusable contents are
//! an [`Error::Data`] that names the place.

mod csv;
mod idx;

use flate2::bufread::MultiGzDecoder;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use wgpu_dropout::data::{DataSet, MAX_LABEL, Samples, Values};
use wgpu_dropout::{Error, Result, file};

/// Name of the bundled digits.
const DIGITS: &str = "digits";

/// Opens `digits`, a folder of IDX files, or a `.csv` or `.csv.gz` file. A folder that is
/// itself called `digits` must be given as `./digits`.
///
/// # Errors
/// [`Error::Invalid`] for another kind of source; [`Error::File`] for one that cannot be
/// opened; [`Error::Data`] for unusable contents: truncated or corrupt files, ragged rows,
/// features that are not finite, labels that are not classes, a part without rows or features.
pub fn open(source: impl AsRef<Path>) -> Result<DataSet> {
    let path = source.as_ref();
    let lower = path.to_string_lossy().to_ascii_lowercase();
    if path == Path::new(DIGITS) {
        DataSet::digits()
    } else if path.is_dir() {
        idx::open(path)
    } else if lower.ends_with(".csv") || lower.ends_with(".csv.gz") {
        csv::open(path)
    } else if path.exists() {
        Err(Error::Invalid {
            what: format!(
                "data `{}`: expected `digits`, a folder of IDX files, or a .csv or .csv.gz file",
                path.display()
            ),
        })
    } else {
        let what = "not found; data is `digits`, a folder of IDX files, or a .csv or .csv.gz file";
        Err(Error::File { path: path.display().to_string(), what: what.to_owned() })
    }
}

/// Returns the files that [`open`] reads.
pub(crate) fn files(source: &Path) -> Vec<PathBuf> {
    if source == Path::new(DIGITS) {
        Vec::new()
    } else if source.is_dir() {
        idx::files(source)
    } else {
        vec![source.to_owned()]
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

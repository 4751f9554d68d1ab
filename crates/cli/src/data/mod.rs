//! Readers of data: the bundled digits, folders of IDX files, CSV files and NPY arrays.
//!
//! Every reader checks a file against its own claims before it relies on them. Unusable contents
//! are an [`Error::Data`] that names the place.

pub(crate) mod classes;
mod columns;
mod csv;
mod idx;
mod rows;
mod split;
mod text;

use columns::Layout;
pub use columns::{Columns, Header, Label, Separator};
pub(crate) use rows::{Rows, rows};
pub use split::{Draw, Part};

use crate::inputs::{self, Input};
use crate::npy;
use csv::{Table, Wanted};
use flate2::bufread::MultiGzDecoder;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use wgpu_dropout::data::{DataSet, MAX_LABEL, Samples, Values};
use wgpu_dropout::{Error, Result, file};

/// Name of the bundled digits.
const DIGITS: &str = "digits";

/// Bytes at the start of a file that gzip packed.
const GZIP: &[u8] = &[0x1f, 0x8b];

/// Options for data to train on.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Options of CSV files")]
pub struct Options {
    /// Columns of a CSV file.
    #[command(flatten)]
    pub columns: Columns,
    /// Choice of the test rows.
    #[command(flatten)]
    pub draw: Draw,
    /// Test with the rows of this file, and train on all rows of the other
    #[arg(long, value_name = "FILE.csv", conflicts_with_all = ["test_share", "split_seed"])]
    pub test_file: Option<PathBuf>,
}

/// A data set as it was opened.
#[derive(Debug, Clone, PartialEq)]
pub struct Opened {
    /// The data set.
    pub set: DataSet,
    /// Header, label and classes as they were recognized, as lines of a heading; empty for files
    /// that say them themselves.
    pub about: String,
    /// Remarks on the data for the user, a line each.
    pub remarks: Vec<String>,
}

/// Opens data with labels: `digits`, a folder of IDX files, or a CSV file, which may be `-` for
/// stdin. A folder that is itself called `digits` must be given as `./digits`.
///
/// # Errors
/// [`Error::Invalid`] for options that the data cannot have; [`Error::File`] for a file that cannot
/// be opened; [`Error::Data`] for unusable contents: truncated or corrupt files, ragged rows,
/// features that are not finite, labels that are not classes, a part without rows or features, a
/// single class.
pub fn open(source: impl AsRef<Path>, options: &Options) -> Result<Opened> {
    let source = source.as_ref();
    let name = inputs::shown(source);
    let mut opened = match contents(source, &options.columns, Wanted::Labels)? {
        Contents::Parts(set) => {
            let given = options.test_file.as_ref().map(|_| "--test-file");
            if let Some(option) = given.or(options.draw.given()) {
                let what =
                    format!("{option}: {} has training and test rows of its own", name.display());
                return Err(Error::Invalid { what });
            }
            several_classes(&name, &set, None)?;
            Opened { set, about: String::new(), remarks: Vec::new() }
        }
        Contents::Table(table) => split::labeled(&name, table, options)?,
        Contents::Array(_) => {
            let what = format!("{}: an NPY array has no labels", name.display());
            return Err(Error::Invalid { what });
        }
    };
    opened.remarks.extend(classes::remarks(&opened.set));
    Ok(opened)
}

/// Returns an error if all rows have the same class. `layout` says which column was the label.
fn several_classes(path: &Path, set: &DataSet, layout: Option<&Layout>) -> Result<()> {
    let mut labels = set.train.labels.iter().chain(&set.test.labels);
    let Some(first) = labels.next() else { return Ok(()) };
    if labels.any(|label| label != first) {
        return Ok(());
    }
    let class = set.classes.get(*first as usize).map_or("", String::as_str);
    let mut what = format!("one class: every label is `{}`", file::shown(class));
    if let Some(layout) = layout {
        what += &format!(" ({layout}); --label names another column");
    }
    Err(file::refused(path.display(), what))
}

/// Contents of a source.
enum Contents {
    /// Training and test rows in parts of their own.
    Parts(DataSet),
    /// Rows of a CSV file.
    Table(Table),
    /// An array of features without labels.
    Array(npy::Array<Values>),
}

impl Contents {
    fn is_table(&self) -> bool {
        matches!(self, Self::Table(_))
    }
}

/// Reads a source of any kind. A file is an NPY array if it starts as one, else a CSV file: a pipe
/// has no name that could say which.
fn contents(source: &Path, columns: &Columns, wanted: Wanted) -> Result<Contents> {
    const KINDS: &str = "`digits`, a folder of IDX files, or a CSV file";
    let name = &*inputs::shown(source);
    let contents = if source == Path::new(DIGITS) {
        Contents::Parts(DataSet::digits()?)
    } else if source.is_dir() {
        Contents::Parts(idx::open(source)?)
    } else {
        if source != Path::new(inputs::DASH) && !source.exists() {
            let what = format!("not found; data is {KINDS}");
            return Err(Error::File { path: name.display().to_string(), what });
        }
        let mut input = inputs::open(source)?;
        let start = file::take(&mut input, npy::MAGIC.len() as u64)
            .map_err(|error| file::failed(name, &error))?;
        let is_array = start == npy::MAGIC;
        let mut input = io::Cursor::new(start).chain(input);
        if is_array {
            Contents::Array(npy::values_from(name, &mut input)?)
        } else {
            Contents::Table(Table::parse(name, &text::read(name, input)?, columns, wanted)?)
        }
    };
    match columns.given().filter(|_| !contents.is_table()) {
        Some(option) => {
            Err(Error::Invalid { what: format!("{option}: {} is not a CSV file", name.display()) })
        }
        None => Ok(contents),
    }
}

/// Declares the files that [`open`] reads.
pub(crate) fn sources(source: &Path, options: &Options) -> Vec<Input> {
    let test = Input::kept("--test-file", &options.test_file);
    vec![Input::kept("--data", files(source)), test]
}

/// Returns the files of a source.
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
    let packed = input.fill_buf()?.starts_with(GZIP);
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

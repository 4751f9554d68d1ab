//! File access: reads with errors that name the file, and atomic replacement.

mod replace;

pub use replace::{Staged, is_stream, replace, target, write_atomic};

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use crate::{Error, Result};

/// Opens a file for reading.
///
/// # Errors
/// [`Error::File`] if the system refuses.
pub fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|e| failed(path, &e))
}

/// Reads a whole file.
///
/// # Errors
/// [`Error::File`] if the system refuses.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|e| failed(path, &e))
}

/// Reads `most` bytes, or fewer if the input ends. Memory grows with the bytes that arrive, never
/// with a size that a header claims.
///
/// # Errors
/// Those of the input.
pub fn take(input: &mut dyn Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Returns the error for a system failure on a file.
pub fn failed(path: &Path, error: &io::Error) -> Error {
    Error::File { path: path.display().to_string(), what: error.to_string() }
}

/// Returns the error for a file, or a place in it, whose contents cannot be used.
pub fn refused(place: impl Display, what: impl Into<String>) -> Error {
    Error::Data { path: place.to_string(), what: what.into() }
}

/// Returns a piece of a file's text as an error quotes it: on one line, and truncated.
pub fn shown(text: &str) -> String {
    let mut chars = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut short: String = chars.by_ref().take(80).collect();
    short.extend(chars.next().map(|_| '…'));
    short
}

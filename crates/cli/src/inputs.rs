//! Files that a command reads. `-` stands for stdin wherever one file is named.

use std::borrow::Cow;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use wgpu_dropout::{Result, file};

/// Name that stands for stdin or stdout.
pub const DASH: &str = "-";

/// Files that an argument names, declared to [`outputs::check`](crate::outputs::check).
#[derive(Debug)]
pub struct Input {
    /// The argument.
    pub flag: &'static str,
    /// Its files.
    pub paths: Vec<PathBuf>,
    /// The output that may replace them; no other may.
    pub replaced_by: Option<&'static str>,
}

impl Input {
    /// Declares files that no output may replace.
    pub fn kept<P: AsRef<Path>>(flag: &'static str, paths: impl IntoIterator<Item = P>) -> Self {
        let paths = paths.into_iter().map(|path| path.as_ref().to_owned()).collect();
        Self { flag, paths, replaced_by: None }
    }

    /// Lets an output replace the files. They must be read completely before it is written.
    pub fn replaced_by(self, flag: &'static str) -> Self {
        Self { replaced_by: Some(flag), ..self }
    }
}

/// Opens a file, or stdin, for reading.
pub fn open(path: &Path) -> Result<Box<dyn Read>> {
    if path == Path::new(DASH) {
        return Ok(Box::new(io::stdin().lock()));
    }
    Ok(Box::new(file::open(path)?))
}

/// Reads a whole file, or stdin.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    file::take(&mut open(path)?, u64::MAX).map_err(|e| file::failed(&shown(path), &e))
}

/// Returns the name of a file as messages show it.
pub fn shown(path: &Path) -> Cow<'_, Path> {
    if path == Path::new(DASH) { Path::new("stdin").into() } else { path.into() }
}

//! Files and streams that a command writes, as one transaction.
//!
//! A command first [checks](check()) all its outputs against each other and against everything that
//! it reads. After the work it adds their contents to a [`Transaction`], which writes all of them
//! or none. `-` stands for stdout. What a command prints goes to stderr if an output goes to
//! stdout.

mod check;
mod identity;

pub use check::check;

use crate::failure::Failure;
use identity::Identity;
use std::borrow::Cow;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use wgpu_dropout::file::{self, Staged};

/// Contents of outputs, which are all written together.
#[derive(Default)]
pub struct Transaction<'a> {
    files: Vec<(&'a Path, Contents<'a>)>,
    streams: Vec<(&'a Path, Contents<'a>)>,
}

type Contents<'a> = Box<dyn FnOnce(&mut dyn Write) -> io::Result<()> + 'a>;

impl<'a> Transaction<'a> {
    /// Adds an output, whose contents `write` writes.
    pub fn add(
        &mut self,
        path: &'a Path,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()> + 'a,
    ) {
        let outputs = if is_stream(path) { &mut self.streams } else { &mut self.files };
        outputs.push((path, Box::new(write)));
    }

    /// Writes and syncs all new files beside the old ones, then writes streams, and renames the
    /// files in the end. An output that fails leaves all files as they were.
    pub fn write(self) -> Result<(), Failure> {
        let staged: wgpu_dropout::Result<Vec<_>> =
            self.files.into_iter().map(|(path, write)| Staged::write(path, write)).collect();
        let staged = staged?;
        for (path, write) in self.streams {
            if is_stdout(path) {
                to_stdout(write).map_err(|error| match Failure::stdout(&error) {
                    // The command is of no use if its data are lost.
                    Failure::ClosedPipe => Failure::Run(format!("stdout: {error}")),
                    failure => failure,
                })?;
            } else {
                file::write_atomic(path, write)?;
            }
        }
        Ok(file::replace(staged)?)
    }
}

/// Writes one output.
pub fn write(path: &Path, contents: &[u8]) -> Result<(), Failure> {
    let mut outputs = Transaction::default();
    outputs.add(path, |out| out.write_all(contents));
    outputs.write()
}

/// Writes data to stdout.
pub fn to_stdout(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    write(&mut out)?;
    out.flush()
}

/// Returns true if an output goes to stdout: named `-`, `/dev/stdout`, or otherwise.
pub fn is_stdout(path: &Path) -> bool {
    Identity::of_output(path) == Some(Identity::Stdout)
}

/// Returns true if an output goes to stdout, a device or a pipe, which can be written only once.
pub fn is_stream(path: &Path) -> bool {
    is_stdout(path) || file::is_stream(path)
}

/// Returns the name of an output as messages show it.
pub fn shown(path: &Path) -> Cow<'_, str> {
    if is_stdout(path) { "stdout".into() } else { path.to_string_lossy() }
}

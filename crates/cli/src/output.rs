//! Text output. Stdout may be closed before everything is written, and stderr may be missing.

use crate::failure::Failure;
use std::io::{self, Write};
use std::sync::OnceLock;

/// Use of stdout by a command that writes outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Stdout holds data: text goes to stderr.
    Data,
    /// Text reports on outputs that are files: it may be lost, but they are still wanted if the
    /// reader of stdout has left.
    BesideFiles,
}

static ROLE: OnceLock<Role> = OnceLock::new();

/// Sets the use of stdout. A process runs one command, so the first setting holds.
pub fn set(role: Role) {
    let _ = ROLE.set(role);
}

/// Prints text verbatim, to stdout unless that holds data.
pub fn text(text: &str) -> Result<(), Failure> {
    let role = ROLE.get();
    if role == Some(&Role::Data) {
        let _ = io::stderr().write_all(text.as_bytes());
        return Ok(());
    }
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe && role.is_some() => Ok(()),
        written => written.map_err(|error| Failure::stdout(&error)),
    }
}

/// Prints a line as [`text`] does.
pub fn line(line: &str) -> Result<(), Failure> {
    text(&format!("{line}\n"))
}

/// Prints a JSON value on one line, as [`text`] does.
pub fn json(value: &serde_json::Value) -> Result<(), Failure> {
    line(&value.to_string())
}

/// Prints a line to stderr. An error is ignored, since there is nowhere left to report it.
pub fn note(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Prints a remark to stderr: a line about a run that goes on, but may not do what was meant.
pub fn remark(line: &str) {
    note(&format!("note: {line}"));
}

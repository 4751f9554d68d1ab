//! Where text goes: stdout, which may be closed before it is read to its end, and stderr, which may
//! be gone altogether.

use crate::failure::Failure;
use std::io::{self, Write};

/// Prints text to stdout as it stands.
pub fn text(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| Failure::stdout(&error))
}

/// Prints a line to stdout.
pub fn line(line: &str) -> Result<(), Failure> {
    text(&format!("{line}\n"))
}

/// Prints a value for machines, on one line.
pub fn json(value: &serde_json::Value) -> Result<(), Failure> {
    line(&value.to_string())
}

/// Says something on stderr. Nothing is left to be done where that fails.
pub fn note(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

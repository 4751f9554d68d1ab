//! Text output. Stdout may be closed before everything is written, and stderr may be missing.

use crate::failure::Failure;
use std::io::{self, Write};

/// Prints text to stdout verbatim.
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

/// Prints a JSON value to stdout, on one line.
pub fn json(value: &serde_json::Value) -> Result<(), Failure> {
    line(&value.to_string())
}

/// Prints a line to stderr. An error is ignored, since there is nowhere left to report it.
pub fn note(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

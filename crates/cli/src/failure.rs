//! Failures of a command: their messages and their exit statuses.

use crate::{output, usage};
use std::io;
use std::process::ExitCode;

/// Reason why a command did not succeed.
#[derive(Debug)]
pub enum Failure {
    /// The command line is invalid or contradictory.
    Usage(String),
    /// The run failed because of a file, a device or a size.
    Run(String),
    /// The reader of stdout closed it: an early end, not an error.
    ClosedPipe,
}

impl Failure {
    /// Returns a failure of wrong usage.
    pub fn usage(what: impl ToString) -> Self {
        Self::Usage(what.to_string())
    }

    /// Returns the failure for an error of writing to stdout.
    pub fn stdout(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ClosedPipe,
            // The operating system did not report this error: producing the output failed.
            io::ErrorKind::Other => Self::Run(error.to_string()),
            _ => Self::Run(format!("stdout: {error}")),
        }
    }

    /// Prints the error on stderr in one line, adds a line that points to the help for wrong usage,
    /// and returns the exit status.
    pub fn report(&self) -> ExitCode {
        match self {
            Self::Usage(what) => {
                output::note(&format!(
                    "error: {}\nsee `{}`",
                    one_line(what),
                    usage::help_command()
                ));
                ExitCode::from(2)
            }
            Self::Run(what) => {
                output::note(&format!("error: {}", one_line(what)));
                ExitCode::from(1)
            }
            Self::ClosedPipe => ExitCode::SUCCESS,
        }
    }
}

impl From<wgpu_dropout::Error> for Failure {
    fn from(error: wgpu_dropout::Error) -> Self {
        Self::Run(error.to_string())
    }
}

/// Joins the lines of a message: drivers and argument parsers report errors over several lines.
fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

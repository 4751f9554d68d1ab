//! Failures of a command.

use std::io;

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
}

impl From<wgpu_dropout::Error> for Failure {
    fn from(error: wgpu_dropout::Error) -> Self {
        Self::Run(error.to_string())
    }
}

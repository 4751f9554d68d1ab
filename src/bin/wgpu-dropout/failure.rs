//! How a command ends badly, what it says about it, and the exit status that tells which way it
//! was.

use crate::{output, usage};
use std::io;
use std::process::ExitCode;

/// Why a command did not succeed.
#[derive(Debug)]
pub enum Failure {
    /// The command line asks for what cannot be.
    Usage(String),
    /// A file, a device or a size did not play along.
    Run(String),
    /// Whoever read stdout has seen enough: no failure, but an end.
    ClosedPipe,
}

impl Failure {
    /// Wrong usage, in words.
    pub fn usage(what: impl ToString) -> Self {
        Self::Usage(what.to_string())
    }

    /// A failed write to stdout.
    pub fn stdout(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ClosedPipe,
            // No error of the system's, but of what was to be printed.
            io::ErrorKind::Other => Self::Run(error.to_string()),
            _ => Self::Run(format!("stdout: {error}")),
        }
    }

    /// Says what is wrong on stderr, in one line and for wrong usage a second one that helps, and
    /// gives the exit status.
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

/// Drivers and argument parsers explain themselves over several lines.
fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

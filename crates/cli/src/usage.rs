//! Messages of failures, each with its exit status. Wrong usage takes at most two lines, instead of
//! the argument parser's page.

use crate::failure::Failure;
use crate::{Cli, output};
use clap::error::ErrorKind;
use clap::{Arg, Command, CommandFactory};
use std::any::TypeId;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// Prints help or version to stdout, and turns any other message of the parser into a
/// [`Failure::Usage`].
pub fn explain(error: &clap::Error) -> Result<(), Failure> {
    if error.kind() == ErrorKind::InvalidUtf8 {
        let arguments: Vec<_> = std::env::args_os().skip(1).collect();
        return Err(Failure::Usage(not_utf8(&arguments)));
    }
    let text = error.render().to_string();
    if !error.use_stderr() {
        return output::text(&text);
    }
    // The parser's own text consists of paragraphs: the error, possibly a tip, then the usage and a
    // pointer to the help.
    let mut paragraphs = text
        .split("\n\n")
        .map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
    let first = paragraphs.next().unwrap_or_default();
    let what = first.strip_prefix("error: ").unwrap_or(&first).to_owned();
    let tip = paragraphs
        .find_map(|paragraph| paragraph.strip_prefix("tip: ").map(|tip| format!(" ({tip})")));
    Err(Failure::Usage(what + &tip.unwrap_or_default()))
}

/// Names the first argument that is not UTF-8 and is not the name of a file, which need not be.
fn not_utf8(arguments: &[OsString]) -> String {
    let command = Cli::command();
    let options = command.get_subcommands().flat_map(Command::get_arguments);
    let paths: Vec<&str> = options
        .filter(|option| option.get_value_parser().type_id() == TypeId::of::<PathBuf>())
        .filter_map(Arg::get_long)
        .collect();
    let is_path =
        |option: &str| option.strip_prefix("--").is_some_and(|name| paths.contains(&name));
    let mut before = "";
    for (number, argument) in (1..).zip(arguments) {
        if let Some(text) = argument.to_str() {
            before = text;
            continue;
        }
        let text = argument.to_string_lossy();
        let (option, value) = text.split_once('=').unwrap_or((before, &text));
        if !is_path(option) {
            let of = if option.starts_with("--") { format!(" of {option}") } else { String::new() };
            return format!(
                "argument {number}, `{value}`{of}, is not UTF-8; only names of files may be other bytes"
            );
        }
        before = "";
    }
    "an argument is not UTF-8".to_owned()
}

/// Returns the command that prints the help for the current subcommand.
fn help_command() -> String {
    let command = Cli::command();
    let noun = std::env::args_os().skip(1).find_map(|arg| {
        arg.into_string()
            .ok()
            .filter(|arg| command.get_subcommands().any(|noun| noun.get_name() == *arg))
    });
    noun.map_or_else(
        || "wgpu-dropout --help".to_owned(),
        |noun| format!("wgpu-dropout {noun} --help"),
    )
}

/// Prints a failure on stderr in one line, adds a line that points to the help for wrong usage, and
/// returns the exit status.
pub fn report(failure: &Failure) -> ExitCode {
    match failure {
        Failure::Usage(what) => {
            output::note(&format!("error: {}\nsee `{}`", one_line(what), help_command()));
            ExitCode::from(2)
        }
        Failure::Run(what) => {
            output::note(&format!("error: {}", one_line(what)));
            ExitCode::from(1)
        }
        Failure::ClosedPipe => ExitCode::SUCCESS,
    }
}

/// Joins the lines of a message: drivers and argument parsers report errors over several lines.
fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

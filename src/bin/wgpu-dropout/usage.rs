//! Wrong usage in at most two lines, where the argument parser would take a page.

use crate::failure::Failure;
use crate::{Cli, output};
use clap::CommandFactory;

/// What the parser has to say: help and version go to stdout, everything else becomes a
/// [`Failure::Usage`].
pub fn explain(error: &clap::Error) -> Result<(), Failure> {
    let text = error.render().to_string();
    if !error.use_stderr() {
        return output::text(&text);
    }
    // The parser's own text: paragraphs of what was wrong, perhaps a tip, then usage and where help
    // is.
    let mut paragraphs = text
        .split("\n\n")
        .map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
    let first = paragraphs.next().unwrap_or_default();
    let what = first.strip_prefix("error: ").unwrap_or(&first).to_owned();
    let tip = paragraphs
        .find_map(|paragraph| paragraph.strip_prefix("tip: ").map(|tip| format!(" ({tip})")));
    Err(Failure::Usage(what + &tip.unwrap_or_default()))
}

/// The command that prints help for what the user is trying to do.
pub fn help_command() -> String {
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

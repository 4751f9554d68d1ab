//! The command line of [`wgpu_dropout`], as a library: `main.rs` calls [`main`], and the benches
//! time the same calls as the command `bench`.
//!
//! Each command is a module; this file parses the arguments, runs the command, and returns its exit
//! status.
//!
//! The exit status is 0 for success, 1 for a failed run, and 2 for wrong usage. An error is one or
//! two lines on stderr.

mod args;
mod arrays;
mod attention;
mod axes;
pub mod bench;
mod convert;
pub mod data;
mod demo;
mod devices;
mod dropout;
mod engine;
mod failure;
mod fit;
mod inputs;
mod linear;
mod machine;
mod mask;
pub mod npy;
mod output;
mod outputs;
mod pass;
mod predict;
mod progress;
mod quiet;
mod rate;
mod report;
mod scores;
mod site;
mod study;
mod train;
mod trials;
mod usage;
mod verify;

use clap::{Parser, Subcommand};
use failure::Failure;
use std::process::ExitCode;

/// Dropout on the GPU and the CPU, with bit-identical masks on every device.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = false)]
struct Cli {
    #[command(flatten)]
    common: args::Common,
    #[command(subcommand)]
    noun: Noun,
}

#[derive(Debug, Subcommand)]
#[command(arg_required_else_help = false)]
enum Noun {
    /// Run the whole demonstration: check masks, train without and with dropout on GPU and CPU,
    /// time the kernels, write a report
    Demo(demo::Args),
    /// Run experiments on the claims of the papers on dropout, and check whether they hold here:
    /// exit status 0 or 1, and a page with the figures
    Study(study::Args),
    /// Train a network with dropout
    Train(train::Args),
    /// Predict with a saved network
    Predict(predict::Args),
    /// Write a saved network for PyTorch or Burn, or save one of theirs as a network
    Convert(convert::Args),
    /// List adapters with their driver, limits, features and kernels, and give advice if none is
    /// usable
    Devices,
    /// Check that devices draw the contract's masks and compute correct results: a table to paste
    /// into a report, exit status 0 or 1
    Verify(verify::Args),
    /// Time the kernels on GPU and CPU against a copy and a plain matmul
    Bench(bench::Args),
    /// Print the mask drawn from a key
    Mask(mask::Args),
    /// Run a form of dropout on a .npy file, such as y = M·s·x, and its backward pass
    Dropout(dropout::Args),
    /// Run a layer on .npy files: Y = R + M·s·act(X·W + b), and its backward pass
    Linear(linear::Args),
    /// Run attention on .npy files: O = (M·s·softmax(Q·Kᵀ/√D + A))·V, and its backward pass
    Attention(attention::Args),
}

/// Runs the command that the process's arguments name, and returns its exit status.
pub fn main() -> ExitCode {
    quiet::no_display_search();
    let outcome = match Cli::try_parse() {
        Ok(cli) => run(&cli),
        Err(error) => usage::explain(&error),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => usage::report(&failure),
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    match &cli.noun {
        Noun::Demo(args) => demo::run(args, &cli.common),
        Noun::Study(args) => study::run(args, &cli.common),
        Noun::Train(args) => train::run(args, &cli.common),
        Noun::Predict(args) => predict::run(args, &cli.common),
        Noun::Convert(args) => convert::run(args, &cli.common),
        Noun::Devices => devices::run(&cli.common),
        Noun::Verify(args) => verify::run(args, &cli.common),
        Noun::Bench(args) => bench::run(args, &cli.common),
        Noun::Mask(args) => mask::run(args, &cli.common),
        Noun::Dropout(args) => dropout::run(args, &cli.common),
        Noun::Linear(args) => linear::run(args, &cli.common),
        Noun::Attention(args) => attention::run(args, &cli.common),
    }
}

//! Options that `dropout` and `linear` share: the arrays of a forward and a backward pass, and the
//! dropout site.

use crate::inputs::Input;
use crate::site::AppliedSite;
use std::path::PathBuf;

/// Forward and backward pass of a dropout site.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("gradients").multiple(true))]
pub struct Pass {
    /// Input, of any shape: its last axis is the columns, all others together are the rows
    #[arg(long, value_name = "X.npy")]
    pub input: PathBuf,
    /// Write the output to this file
    #[arg(long, value_name = "Y.npy")]
    pub output: Option<PathBuf>,
    /// Write the mask M, bytes 0 and 1 of the output's shape, to this file
    #[arg(long, value_name = "M.npy")]
    pub mask_output: Option<PathBuf>,
    /// Gradient with respect to the output, of the output's shape
    #[arg(long, value_name = "DY.npy", requires = "gradients", conflicts_with = "predict")]
    pub grad_output: Option<PathBuf>,
    /// Write the gradient with respect to the input to this file
    #[arg(
        long,
        value_name = "DX.npy",
        requires = "grad_output",
        conflicts_with = "predict",
        group = "gradients"
    )]
    pub grad_input: Option<PathBuf>,
    #[command(flatten)]
    pub site: AppliedSite,
}

impl Pass {
    /// Returns the outputs, each with the option that names it.
    pub fn outputs(&self) -> [(&'static str, &Option<PathBuf>); 3] {
        [
            ("--output", &self.output),
            ("--mask-output", &self.mask_output),
            ("--grad-input", &self.grad_input),
        ]
    }

    /// Returns the inputs, each with the output that may replace it.
    pub fn inputs(&self) -> [Input; 2] {
        [
            Input::kept("--input", [&self.input]).replaced_by("--output"),
            Input::kept("--grad-output", &self.grad_output).replaced_by("--grad-input"),
        ]
    }
}

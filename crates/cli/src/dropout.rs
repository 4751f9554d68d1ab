//! `dropout`: runs the elementwise kernel on `.npy` files, forward and backward.

use crate::args::Common;
use crate::arrays::{Outputs, Values, check_outputs, read_shaped, show};
use crate::engine;
use crate::failure::Failure;
use crate::inputs::Input;
use crate::npy::{self, Array};
use crate::site::AppliedSite;
use std::path::PathBuf;
use wgpu_dropout::call::{DropoutBroadcast, DropoutCall};
use wgpu_dropout::{AxisMap, Backend, Device, Dropout};

/// Arguments of `dropout`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Input x, any shape: its last axis is the columns, all others together are the rows
    #[arg(long, value_name = "X.npy")]
    input: PathBuf,
    /// Write y = M·s·x to this file
    #[arg(long, value_name = "Y.npy")]
    output: Option<PathBuf>,
    /// Write the mask M, bytes 0 and 1, to this file
    #[arg(long, value_name = "M.npy")]
    mask_output: Option<PathBuf>,
    /// Gradient dy with respect to the output, of the input's shape
    #[arg(long, value_name = "DY.npy", requires = "grad_input", conflicts_with = "predict")]
    grad_output: Option<PathBuf>,
    /// Write dx = M·s·dy to this file
    #[arg(long, value_name = "DX.npy", requires = "grad_output", conflicts_with = "predict")]
    grad_input: Option<PathBuf>,
    /// Axes of the input, from 0, that form the mask's rows, such as `0` or `0,2`: elements that
    /// differ along none of `--row-axes` and `--col-axes` share one draw. Channels of [N, C,
    /// ...]: rows 0, columns 1; whole samples: rows 0
    #[arg(long, value_name = "AXES", value_delimiter = ',')]
    row_axes: Option<Vec<usize>>,
    /// Axes of the input that form the mask's columns
    #[arg(long, value_name = "AXES", value_delimiter = ',')]
    col_axes: Option<Vec<usize>>,
    #[command(flatten)]
    site: AppliedSite,
}

/// Runs `dropout`.
pub fn run(args: &Args, common: &Common) -> Result<(), Failure> {
    let dropout = args.site.dropout(common.seed())?;
    check_outputs(
        common,
        &[
            ("--output", &args.output),
            ("--mask-output", &args.mask_output),
            ("--grad-input", &args.grad_input),
        ],
        &[
            Input::kept("--input", [&args.input]).replaced_by("--output"),
            Input::kept("--grad-output", &args.grad_output).replaced_by("--grad-input"),
        ],
    )?;
    let x = npy::read(&args.input)?;
    let grad_output = args
        .grad_output
        .as_ref()
        .map(|path| read_shaped(path, &x.shape, "the input"))
        .transpose()?;
    let axes = match (&args.row_axes, &args.col_axes) {
        (None, None) => None,
        (rows, cols) => {
            let [rows, cols] = [rows, cols].map(|axes| axes.as_deref().unwrap_or_default());
            Some(AxisMap::new(&x.shape, rows, cols).map_err(Failure::usage)?)
        }
    };
    let mut device = engine::open(&common.device, common.tile)?;
    let outputs = match &mut device {
        Device::Gpu(gpu) => {
            compute(gpu.as_mut(), args, &x, grad_output.as_ref(), axes.as_ref(), dropout)?
        }
        Device::Cpu(cpu) => compute(cpu, args, &x, grad_output.as_ref(), axes.as_ref(), dropout)?,
    };
    let written = outputs.write()?;
    let what = format!("dropout {}, {}: {written}", show(&x.shape), args.site.describe(&dropout));
    engine::finish(common, &device, &what, serde_json::Map::new())
}

fn compute<'a, B: Backend>(
    backend: &mut B,
    args: &'a Args,
    x: &Array,
    grad_output: Option<&Array>,
    axes: Option<&AxisMap>,
    dropout: Dropout,
) -> wgpu_dropout::Result<Outputs<'a>> {
    let (rows, cols) = x.rows_cols();
    let mut outputs = Outputs::default();
    if let Some(path) = &args.output {
        outputs.add(path, &x.shape, Values::Floats(apply(backend, x, axes, dropout)?));
    }
    if let Some(path) = &args.mask_output {
        let mask = match axes {
            Some(axes) => dropout.mask.broadcast(axes)?,
            None => backend.read_mask(dropout.mask, rows, cols)?,
        };
        outputs.add(path, &x.shape, Values::Mask(mask));
    }
    // Dropout is its own backward pass.
    if let (Some(path), Some(dy)) = (&args.grad_input, grad_output) {
        outputs.add(path, &x.shape, Values::Floats(apply(backend, dy, axes, dropout)?));
    }
    Ok(outputs)
}

fn apply<B: Backend>(
    backend: &mut B,
    x: &Array,
    axes: Option<&AxisMap>,
    dropout: Dropout,
) -> wgpu_dropout::Result<Vec<f32>> {
    let (rows, cols) = x.rows_cols();
    let x = backend.tensor(rows, cols, &x.values)?;
    let mut y = backend.zeros(rows, cols)?;
    match axes {
        Some(axes) => backend.run(DropoutBroadcast { x: &x, y: &mut y, axes, dropout })?,
        None => backend.run(DropoutCall { x: &x, y: &mut y, dropout })?,
    }
    backend.read(&y)
}

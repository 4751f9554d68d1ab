//! `linear`: runs a fully connected layer with ReLU and dropout on `.npy` files, forward and
//! backward.

use crate::args::Common;
use crate::arrays::{Outputs, Values, check_outputs, read_shaped, show};
use crate::engine;
use crate::failure::Failure;
use crate::inputs::Input;
use crate::npy::{self, Array};
use crate::site::AppliedSite;
use std::path::PathBuf;
use wgpu_dropout::call::{GradInput, GradWeight, LinearForward};
use wgpu_dropout::{Backend, Device, Dropout, elements};

/// Arguments of `linear`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("gradients").multiple(true))]
pub struct Args {
    /// Input X: its last axis has I elements, all others together are the rows
    #[arg(long, value_name = "X.npy")]
    input: PathBuf,
    /// Weights W [I, O]
    #[arg(long, value_name = "W.npy")]
    weight: PathBuf,
    /// Bias b [O]
    #[arg(long, value_name = "B.npy")]
    bias: Option<PathBuf>,
    /// Apply no ReLU before the dropout
    #[arg(long)]
    no_relu: bool,
    /// Write Y = M·s·relu(X·W + b) to this file; it has the input's shape, with O elements in its
    /// last axis
    #[arg(long, value_name = "Y.npy")]
    output: Option<PathBuf>,
    /// Write the mask M, bytes 0 and 1, to this file
    #[arg(long, value_name = "M.npy")]
    mask_output: Option<PathBuf>,
    /// Gradient dY with respect to the output, of the output's shape
    #[arg(long, value_name = "DY.npy", requires = "gradients", conflicts_with = "predict")]
    grad_output: Option<PathBuf>,
    /// Write dX = dZ·Wᵀ to this file
    #[arg(
        long,
        value_name = "DX.npy",
        requires = "grad_output",
        conflicts_with = "predict",
        group = "gradients"
    )]
    grad_input: Option<PathBuf>,
    /// Write dW = Xᵀ·dZ to this file
    #[arg(
        long,
        value_name = "DW.npy",
        requires = "grad_output",
        conflicts_with = "predict",
        group = "gradients"
    )]
    grad_weight: Option<PathBuf>,
    /// Write db, the sum of dZ over its rows, to this file
    #[arg(
        long,
        value_name = "DB.npy",
        requires = "grad_output",
        conflicts_with = "predict",
        group = "gradients"
    )]
    grad_bias: Option<PathBuf>,
    #[command(flatten)]
    site: AppliedSite,
}

/// Input arrays, read and checked to have matching shapes.
struct Inputs {
    x: Array,
    weight: Array,
    bias: Option<Array>,
    grad_output: Option<Array>,
    output_shape: Vec<usize>,
}

/// Runs `linear`.
pub fn run(args: &Args, common: &Common) -> Result<(), Failure> {
    let dropout = args.site.dropout(common.seed())?;
    check_outputs(
        common,
        &[
            ("--output", &args.output),
            ("--mask-output", &args.mask_output),
            ("--grad-input", &args.grad_input),
            ("--grad-weight", &args.grad_weight),
            ("--grad-bias", &args.grad_bias),
        ],
        &[
            Input::kept("--input", [&args.input]).replaced_by("--output"),
            Input::kept("--weight", [&args.weight]),
            Input::kept("--bias", &args.bias),
            Input::kept("--grad-output", &args.grad_output).replaced_by("--grad-input"),
        ],
    )?;
    let inputs = read(args)?;
    let mut device = engine::open(&common.device, common.tile)?;
    let outputs = match &mut device {
        Device::Gpu(gpu) => compute(gpu.as_mut(), args, &inputs, dropout)?,
        Device::Cpu(cpu) => compute(cpu, args, &inputs, dropout)?,
    };
    let written = outputs.write()?;
    let (x, weight) = (show(&inputs.x.shape), show(&inputs.weight.shape));
    let what = format!("linear {x} × {weight}, {}: {written}", args.site.describe(&dropout));
    engine::finish(common, &device, &what, serde_json::Map::new())
}

fn read(args: &Args) -> Result<Inputs, Failure> {
    let (x, weight) = (npy::read(&args.input)?, npy::read(&args.weight)?);
    let misfit = |path: &PathBuf, array: &Array, wanted: String| {
        Err(Failure::Run(format!(
            "{}: shape {}, expected {wanted}",
            path.display(),
            show(&array.shape)
        )))
    };
    let (inputs, (weight_rows, outputs)) = (x.rows_cols().1, weight.rows_cols());
    if weight.shape.len() > 2 || weight_rows != inputs {
        return misfit(
            &args.weight,
            &weight,
            format!("({inputs}, outputs), since the input {} ends in {inputs}", show(&x.shape)),
        );
    }
    let bias = args.bias.as_deref().map(npy::read).transpose()?;
    if let (Some(path), Some(bias)) = (&args.bias, &bias) {
        if bias.shape.len() > 2 || bias.rows_cols() != (1, outputs) {
            return misfit(
                path,
                bias,
                format!("({outputs},), one for each output of the weight {}", show(&weight.shape)),
            );
        }
    }
    let leading = x.shape.split_last().map_or(&[][..], |(_, leading)| leading);
    let output_shape = [leading, &[outputs]].concat();
    let grad_output = args
        .grad_output
        .as_ref()
        .map(|path| read_shaped(path, &output_shape, "the output"))
        .transpose()?;
    Ok(Inputs { x, weight, bias, grad_output, output_shape })
}

fn compute<'a, B: Backend>(
    backend: &mut B,
    args: &'a Args,
    inputs: &Inputs,
    dropout: Dropout,
) -> wgpu_dropout::Result<Outputs<'a>> {
    let mut outputs = Outputs::default();
    let ((batch, inner), cols) = (inputs.x.rows_cols(), inputs.weight.rows_cols().1);
    // Check the size before anything is allocated.
    elements("output", batch, cols)?;
    let x = backend.tensor(batch, inner, &inputs.x.values)?;
    let weight = backend.tensor(inner, cols, &inputs.weight.values)?;
    let bias =
        inputs.bias.as_ref().map(|bias| backend.tensor(1, cols, &bias.values)).transpose()?;
    let mut y = backend.zeros(batch, cols)?;
    let relu = !args.no_relu;
    backend.run(LinearForward {
        x: &x,
        weight: &weight,
        bias: bias.as_ref(),
        y: &mut y,
        relu,
        dropout,
    })?;
    if let Some(path) = &args.output {
        outputs.add(path, &inputs.output_shape, Values::Floats(backend.read(&y)?));
    }
    if let Some(path) = &args.mask_output {
        outputs.add(
            path,
            &inputs.output_shape,
            Values::Mask(backend.read_mask(dropout.mask, batch, cols)?),
        );
    }
    let Some(grad_output) = &inputs.grad_output else { return Ok(outputs) };
    let grad_output = backend.tensor(batch, cols, &grad_output.values)?;
    let (grad_output, output) = (&grad_output, relu.then_some(&y));
    if let Some(path) = &args.grad_input {
        let mut grad_input = backend.zeros(batch, inner)?;
        backend.run(GradInput {
            grad_output,
            output,
            weight: &weight,
            grad_input: &mut grad_input,
            dropout,
            through: None,
        })?;
        outputs.add(path, &inputs.x.shape, Values::Floats(backend.read(&grad_input)?));
    }
    if args.grad_weight.is_some() || args.grad_bias.is_some() {
        let mut grad_weight = backend.zeros(inner, cols)?;
        let mut grad_bias = backend.zeros(1, cols)?;
        let (dw, db) = (&mut grad_weight, &mut grad_bias);
        backend.run(GradWeight {
            x: &x,
            grad_output,
            output,
            grad_weight: dw,
            grad_bias: db,
            dropout,
        })?;
        if let Some(path) = &args.grad_weight {
            outputs.add(path, &inputs.weight.shape, Values::Floats(backend.read(&grad_weight)?));
        }
        if let Some(path) = &args.grad_bias {
            outputs.add(path, &[cols], Values::Floats(backend.read(&grad_bias)?));
        }
    }
    Ok(outputs)
}

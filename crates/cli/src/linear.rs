//! `linear`: runs a fully connected layer with an activation, dropout and a residual on `.npy`
//! files, forward and backward.

use crate::args::Common;
use crate::arrays::{Outputs, Values, check_outputs, read_shaped, show};
use crate::engine;
use crate::failure::Failure;
use crate::inputs::Input;
use crate::npy::{self, Array};
use crate::pass::Pass;
use std::path::PathBuf;
use wgpu_dropout::call::{
    Activation, ActivationGrad, GradInput, GradWeight, LinearActivation, LinearForward,
};
use wgpu_dropout::{Backend, Device, Dropout, elements};

/// Arguments of `linear`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pass: Pass,
    /// Weights W [I, O], where I is the size of the input's last axis; the output has O instead
    #[arg(long, value_name = "W.npy")]
    weight: PathBuf,
    /// Bias b [O]
    #[arg(long, value_name = "B.npy")]
    bias: Option<PathBuf>,
    /// Activation act before the dropout
    #[arg(
        long,
        value_name = "none|relu|gelu|silu|sigmoid",
        default_value_t = Activation::Relu,
        conflicts_with = "no_relu"
    )]
    activation: Activation,
    /// The same as `--activation none`
    #[arg(long)]
    no_relu: bool,
    /// Residual R of the output's shape, added after the dropout. Its gradient is that of the
    /// output
    #[arg(long, value_name = "R.npy")]
    residual: Option<PathBuf>,
    /// Write the gradient with respect to the weights, dW = Xᵀ·dZ, to this file
    #[arg(
        long,
        value_name = "DW.npy",
        requires = "grad_output",
        conflicts_with = "predict",
        group = "gradients"
    )]
    grad_weight: Option<PathBuf>,
    /// Write the gradient with respect to the bias, the sum of dZ over its rows, to this file
    #[arg(
        long,
        value_name = "DB.npy",
        requires = "grad_output",
        conflicts_with = "predict",
        group = "gradients"
    )]
    grad_bias: Option<PathBuf>,
}

impl Args {
    fn activation(&self) -> Activation {
        if self.no_relu { Activation::None } else { self.activation }
    }
}

/// Input arrays, read and checked to have matching shapes.
struct Inputs {
    x: Array,
    weight: Array,
    bias: Option<Array>,
    residual: Option<Array>,
    grad_output: Option<Array>,
    output_shape: Vec<usize>,
}

/// Runs `linear`.
pub fn run(args: &Args, common: &Common) -> Result<(), Failure> {
    let dropout = args.pass.site.dropout(common.seed())?;
    let gradients = [("--grad-weight", &args.grad_weight), ("--grad-bias", &args.grad_bias)];
    let parameters = [
        Input::kept("--weight", [&args.weight]),
        Input::kept("--bias", &args.bias),
        Input::kept("--residual", &args.residual),
    ];
    check_outputs(
        common,
        &[&args.pass.outputs()[..], &gradients].concat(),
        &args.pass.inputs().into_iter().chain(parameters).collect::<Vec<_>>(),
    )?;
    let inputs = read(args)?;
    let mut device = engine::open(&common.device, common.tile)?;
    args.pass.site.remark();
    let outputs = match &mut device {
        Device::Gpu(gpu) => compute(gpu.as_mut(), args, &inputs, dropout)?,
        Device::Cpu(cpu) => compute(cpu, args, &inputs, dropout)?,
    };
    let written = outputs.write()?;
    let (x, weight) = (show(&inputs.x.shape), show(&inputs.weight.shape));
    let (activation, site) = (args.activation(), args.pass.site.describe(&dropout));
    let residual = if args.residual.is_some() { ", residual" } else { "" };
    let what = format!("linear {x} × {weight}, {activation}, {site}{residual}: {written}");
    engine::finish(common, &device, &what, serde_json::Map::new())
}

fn read(args: &Args) -> Result<Inputs, Failure> {
    let (x, weight) = (npy::read(&args.pass.input)?, npy::read(&args.weight)?);
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
    let of_output = |path: &Option<PathBuf>| {
        path.as_ref().map(|path| read_shaped(path, &output_shape, "the output")).transpose()
    };
    let (residual, grad_output) = (of_output(&args.residual)?, of_output(&args.pass.grad_output)?);
    Ok(Inputs { x, weight, bias, residual, grad_output, output_shape })
}

/// A layer on a backend.
struct Layer<'a, B: Backend> {
    x: &'a B::Tensor<f32>,
    weight: &'a B::Tensor<f32>,
    bias: Option<&'a B::Tensor<f32>>,
    residual: Option<&'a B::Tensor<f32>>,
    activation: Activation,
    dropout: Dropout,
}

impl<B: Backend> Layer<'_, B> {
    /// Returns true if the backward pass needs nothing but the output.
    fn is_plain(&self) -> bool {
        self.residual.is_none() && matches!(self.activation, Activation::None | Activation::Relu)
    }

    /// Computes the output and, if the backward pass needs them, the sums before the activation.
    fn forward(
        self,
        backend: &mut B,
        y: &mut B::Tensor<f32>,
        z: Option<&mut B::Tensor<f32>>,
    ) -> wgpu_dropout::Result<()> {
        let plain = self.is_plain();
        let Self { x, weight, bias, residual, activation, dropout } = self;
        if plain {
            let relu = activation == Activation::Relu;
            return backend.run(LinearForward { x, weight, bias, y, relu, dropout });
        }
        backend.run(LinearActivation { x, weight, bias, residual, z, y, activation, dropout })
    }
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
    let x = &backend.tensor(batch, inner, &inputs.x.values)?;
    let weight = &backend.tensor(inner, cols, &inputs.weight.values)?;
    let of_output = |backend: &mut B, rows: usize, array: &Option<Array>| {
        array.as_ref().map(|array| backend.tensor(rows, cols, &array.values)).transpose()
    };
    let bias = of_output(backend, 1, &inputs.bias)?;
    let residual = of_output(backend, batch, &inputs.residual)?;
    let grad_output = of_output(backend, batch, &inputs.grad_output)?;

    let activation = args.activation();
    let (bias, residual) = (bias.as_ref(), residual.as_ref());
    let layer = Layer { x, weight, bias, residual, activation, dropout };
    let saves_sums = grad_output.is_some() && !layer.is_plain();
    let mut y = backend.zeros(batch, cols)?;
    let mut z = saves_sums.then(|| backend.zeros(batch, cols)).transpose()?;
    layer.forward(backend, &mut y, z.as_mut())?;
    if let Some(path) = &args.pass.output {
        outputs.add(path, &inputs.output_shape, Values::Floats(backend.read(&y)?));
    }
    if let Some(path) = &args.pass.mask_output {
        outputs.add(
            path,
            &inputs.output_shape,
            Values::Mask(backend.read_mask(dropout.mask, batch, cols)?),
        );
    }

    let Some(grad_output) = &grad_output else { return Ok(outputs) };
    let mut grad_z = None;
    if let Some(z) = &z {
        let grad_z = grad_z.insert(backend.zeros(batch, cols)?);
        backend.run(ActivationGrad { grad_output, z, grad_z, activation, dropout })?;
    }
    let (grad_output, output, dropout) = match &grad_z {
        Some(grad_z) => (grad_z, None, Dropout::NONE),
        None => (grad_output, (activation == Activation::Relu).then_some(&y), dropout),
    };
    if let Some(path) = &args.pass.grad_input {
        let mut grad_input = backend.zeros(batch, inner)?;
        backend.run(GradInput {
            grad_output,
            output,
            weight,
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
            x,
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

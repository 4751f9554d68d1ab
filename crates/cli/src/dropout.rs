//! `dropout`: runs a form of elementwise dropout on `.npy` files, forward and backward.

use crate::args::Common;
use crate::arrays::{Outputs, Values, check_outputs, read_shaped, show};
use crate::axes::{Axes, axes};
use crate::engine;
use crate::failure::Failure;
use crate::inputs::{self, Input};
use crate::npy::{self, Array};
use crate::pass::Pass;
use crate::rate::describe_keep;
use std::path::{Path, PathBuf};
use wgpu_dropout::call::{
    AlphaDropoutCall, DropoutBits, DropoutBroadcast, DropoutCall, GaussianDropoutCall,
};
use wgpu_dropout::{AlphaDropout, AxisMap, Backend, Device, Dropout, GaussianDropout, Mode};

/// Arguments of `dropout`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pass: Pass,
    /// Form of dropout: `plain` is y = M·s·x; `alpha` is y = a·x + b where M keeps, else a·α' + b,
    /// for networks of SELUs; `gaussian` is y = x·(1 + σ·n) with normal noise n, and has no mask
    #[arg(long, value_enum, default_value_t)]
    form: Form,
    /// Use this mask, bytes 0 and 1 or booleans of the input's shape, in place of a drawn one. The
    /// rate then sets the scale alone
    #[arg(
        long,
        value_name = "M.npy",
        conflicts_with_all = [
            "predict", "row_axes", "col_axes", "layer", "step", "row_offset", "col_offset",
        ]
    )]
    mask_input: Option<PathBuf>,
    /// Axes of the input that form the mask's rows, such as `0` or `0,-1`, negative ones counted
    /// from the end; empty for none. Elements that differ along none of `--row-axes` and
    /// `--col-axes` share one draw. Channels of [N, C, ...]: rows 0, columns 1; whole samples: rows
    /// 0
    #[arg(long, value_name = "AXES", value_parser = axes, allow_hyphen_values = true)]
    row_axes: Option<Axes>,
    /// Axes of the input that form the mask's columns
    #[arg(long, value_name = "AXES", value_parser = axes, allow_hyphen_values = true)]
    col_axes: Option<Axes>,
}

/// Form of dropout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum Form {
    #[default]
    Plain,
    Alpha,
    Gaussian,
}

/// Form of dropout with everything that its kernel takes besides the input.
enum Kernel {
    Plain(Dropout),
    Broadcast(Dropout, AxisMap),
    Given { mask: Vec<u8>, scale: f32 },
    Alpha(AlphaDropout),
    Gaussian(GaussianDropout),
}

/// Runs `dropout`.
pub fn run(args: &Args, common: &Common) -> Result<(), Failure> {
    args.check()?;
    let mask = Input::kept("--mask-input", &args.mask_input).replaced_by("--mask-output");
    let inputs = args.pass.inputs().into_iter().chain([mask]).collect::<Vec<_>>();
    check_outputs(common, &args.pass.outputs(), &inputs)?;
    let x = npy::read(&args.pass.input)?;
    let grad_output = args
        .pass
        .grad_output
        .as_ref()
        .map(|path| read_shaped(path, &x.shape, "the input"))
        .transpose()?;
    let kernel = args.kernel(common.seed(), &x)?;
    let mut device = engine::open(&common.device, common.tile)?;
    args.pass.site.remark();
    let outputs = match &mut device {
        Device::Gpu(gpu) => compute(gpu.as_mut(), args, &kernel, &x, grad_output.as_ref())?,
        Device::Cpu(cpu) => compute(cpu, args, &kernel, &x, grad_output.as_ref())?,
    };
    let written = outputs.write()?;
    let what = format!("dropout {}, {}: {written}", show(&x.shape), args.describe(&kernel));
    engine::finish(common, &device, &what, serde_json::Map::new())
}

impl Args {
    /// Refuses options that do not go together.
    fn check(&self) -> Result<(), Failure> {
        let mode = self.pass.site.mode;
        let clash = |option: &str, with: &str, why: &str| {
            Err(Failure::Usage(format!("{option} does not go with {with}: {why}")))
        };
        let form = match self.form {
            Form::Plain if self.mask_input.is_some() && mode == Mode::None => {
                return clash("--mask-input", "--mode none", "that mode drops nothing");
            }
            Form::Plain => return Ok(()),
            Form::Alpha => "--form alpha",
            Form::Gaussian => "--form gaussian",
        };
        if self.form == Form::Gaussian && self.pass.mask_output.is_some() {
            return clash("--mask-output", form, "nothing is dropped, so there is no mask");
        }
        [
            ("--mode vanilla", mode == Mode::Vanilla),
            ("--mask-input", self.mask_input.is_some()),
            ("--row-axes", self.row_axes.is_some()),
            ("--col-axes", self.col_axes.is_some()),
        ]
        .into_iter()
        .find(|(_, given)| *given)
        .map_or(Ok(()), |(option, _)| clash(option, form, "it belongs to --form plain"))
    }

    /// Returns the kernel for an input.
    fn kernel(&self, seed: u64, x: &Array) -> Result<Kernel, Failure> {
        let site = &self.pass.site;
        if let Some(path) = &self.mask_input {
            return Ok(Kernel::Given { mask: self.given(path, x)?, scale: site.scale()? });
        }
        match self.form {
            Form::Alpha if site.draws() => Ok(Kernel::Alpha(AlphaDropout::train(site.mask(seed)?))),
            Form::Gaussian if site.draws() => {
                let noise = GaussianDropout::train(site.mask(seed)?);
                Ok(Kernel::Gaussian(noise.map_err(Failure::usage)?))
            }
            _ => {
                let dropout = site.dropout(seed)?;
                Ok(match self.map(x)? {
                    Some(axes) => Kernel::Broadcast(dropout, axes),
                    None => Kernel::Plain(dropout),
                })
            }
        }
    }

    /// Reads the mask that was given for an input.
    fn given(&self, path: &Path, x: &Array) -> Result<Vec<u8>, Failure> {
        let mask = npy::read_mask(path)?;
        if mask.shape == x.shape {
            return Ok(mask.values);
        }
        let path = inputs::shown(path);
        let (path, found, wanted) = (path.display(), show(&mask.shape), show(&x.shape));
        Err(Failure::Run(format!("{path}: shape {found}, expected {wanted}, that of the input")))
    }

    /// Returns the map of the input's axes, if any were named.
    fn map(&self, x: &Array) -> Result<Option<AxisMap>, Failure> {
        if self.row_axes.is_none() && self.col_axes.is_none() {
            return Ok(None);
        }
        let resolve = |option, axes: &Option<Axes>| {
            axes.as_ref().map_or(Ok(Vec::new()), |axes| axes.resolve(option, &x.shape))
        };
        let rows = resolve("--row-axes", &self.row_axes)?;
        let cols = resolve("--col-axes", &self.col_axes)?;
        AxisMap::new(&x.shape, &rows, &cols).map(Some).map_err(Failure::usage)
    }

    /// Describes the form, for example `alpha dropout, keep 0.5`.
    fn describe(&self, kernel: &Kernel) -> String {
        match kernel {
            Kernel::Plain(dropout) | Kernel::Broadcast(dropout, _) => {
                self.pass.site.describe(dropout)
            }
            Kernel::Given { scale, .. } => format!("given mask, multiplied by {scale}"),
            Kernel::Alpha(site) => format!("alpha dropout, {}", describe_keep(site.mask.rate)),
            Kernel::Gaussian(site) => {
                format!("Gaussian dropout, {}", describe_keep(site.mask().rate))
            }
        }
    }
}

fn compute<'a, B: Backend>(
    backend: &mut B,
    args: &'a Args,
    kernel: &Kernel,
    x: &Array,
    grad_output: Option<&Array>,
) -> wgpu_dropout::Result<Outputs<'a>> {
    let (rows, cols) = x.rows_cols();
    let mut outputs = Outputs::default();
    if let Some(path) = &args.pass.output {
        outputs.add(path, &x.shape, Values::Floats(kernel.apply(backend, x)?));
    }
    if let Some(path) = &args.pass.mask_output {
        let mask = kernel.mask(backend, rows, cols)?;
        mask.into_iter().for_each(|mask| outputs.add(path, &x.shape, Values::Mask(mask)));
    }
    if let (Some(path), Some(dy)) = (&args.pass.grad_input, grad_output) {
        let dx = match kernel {
            Kernel::Alpha(site) => Kernel::Plain(site.backward()).apply(backend, dy)?,
            // The other forms are their own backward pass.
            kernel => kernel.apply(backend, dy)?,
        };
        outputs.add(path, &x.shape, Values::Floats(dx));
    }
    Ok(outputs)
}

impl Kernel {
    /// Returns the mask as bytes, if the form has one.
    fn mask<B: Backend>(
        &self,
        backend: &mut B,
        rows: usize,
        cols: usize,
    ) -> wgpu_dropout::Result<Option<Vec<u8>>> {
        match self {
            Self::Plain(Dropout { mask, .. }) | Self::Alpha(AlphaDropout { mask, .. }) => {
                backend.read_mask(*mask, rows, cols).map(Some)
            }
            Self::Broadcast(dropout, axes) => Ok(Some(dropout.mask.broadcast(axes)?)),
            Self::Given { mask, .. } => Ok(Some(mask.clone())),
            Self::Gaussian(_) => Ok(None),
        }
    }

    /// Computes the forward pass of an array.
    fn apply<B: Backend>(&self, backend: &mut B, x: &Array) -> wgpu_dropout::Result<Vec<f32>> {
        let (rows, cols) = x.rows_cols();
        let x = &backend.tensor(rows, cols, &x.values)?;
        let mut y = backend.zeros(rows, cols)?;
        let out = &mut y;
        match self {
            Self::Plain(dropout) => backend.run(DropoutCall { x, y: out, dropout: *dropout }),
            Self::Broadcast(dropout, axes) => {
                backend.run(DropoutBroadcast { x, y: out, axes, dropout: *dropout })
            }
            Self::Given { mask, scale } => {
                let bits = &backend.tensor(rows, cols.div_ceil(32), &packed(mask, cols))?;
                backend.run(DropoutBits { x, bits, y: out, scale: *scale })
            }
            Self::Alpha(dropout) => backend.run(AlphaDropoutCall { x, y: out, dropout: *dropout }),
            Self::Gaussian(dropout) => {
                backend.run(GaussianDropoutCall { x, y: out, dropout: *dropout })
            }
        }?;
        backend.read(&y)
    }
}

/// Packs bytes 0 and 1 into bits: element (r, c) is bit `c % 32` of word `c / 32` of row r.
fn packed(bytes: &[u8], cols: usize) -> Vec<u32> {
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, &bit| word << 1 | u32::from(bit));
    bytes.chunks(cols.max(1)).flat_map(|row| row.chunks(32).map(word)).collect()
}

#[cfg(test)]
mod tests {
    use super::packed;
    use wgpu_dropout::mask::bits_to_bytes;

    #[test]
    fn bits_unpack_to_the_bytes_that_were_packed() {
        for (rows, cols) in [(1, 1), (3, 31), (2, 32), (2, 33), (5, 65), (0, 7), (4, 0)] {
            let bytes: Vec<u8> = (0..rows * cols).map(|i| u8::from(i * i % 7 < 3)).collect();
            let words = packed(&bytes, cols);
            assert_eq!(bits_to_bytes(&words, rows, cols).unwrap(), bytes, "{rows}×{cols}");
        }
    }
}
